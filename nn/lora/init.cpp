// Starting a model's adapters; see init.hpp. Always in two steps: all factors, then all adapters,
// so that what fails has changed nothing.
#include <xgrad/nn/lora/init.hpp>

#include <algorithm>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/lora/slot.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

struct Candidate {
  Slot* slot;
  Adapter* adapter;
};

std::vector<Candidate> candidates_of(const char* method, Module& model, const std::string& name,
                                     Reference mode, bool skip_embeddings) {
  std::vector<Candidate> candidates;
  bool any = false;
  for (Slot* slot : slots(model)) {
    Adapter* adapter = slot->find(name);
    if (!adapter) continue;
    any = true;
    const bool looks_up = adapter->base.looks_up();
    if (looks_up && skip_embeddings) continue;
    require(!looks_up, method, ": \"", adapter->layer,
            "\" is an embedding, which has no such start; skip_embeddings leaves it as it is");
    adapter->check_start(mode);
    candidates.push_back({slot, adapter});
  }
  require(any, method, ": no adapter is called \"", name, "\"");
  return candidates;
}

/// make(adapter), with the layer in the text of what it throws.
template <class Make>
auto naming_layer(const Adapter& adapter, const Make& make) {
  try {
    return make();
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(concat_text("lora: \"", adapter.layer, "\": ", error.what()));
  }
}

template <class Make>
void start(const char* method, Module& model, const StartOptions& options, const Make& make) {
  const std::vector<Candidate> candidates =
      candidates_of(method, model, options.name, options.mode, options.skip_embeddings);
  std::vector<Factors> factors;
  for (const auto& [slot, adapter] : candidates)
    factors.push_back(naming_layer(*adapter, [&, a = adapter] { return make(*a); }));
  for (std::size_t i = 0; i < candidates.size(); ++i)
    candidates[i].adapter->start_from(factors[i].A, factors[i].B, options.mode);
}

/// The model with nothing to train, without the adapters that are to start, and in evaluation mode
/// unless `training`; as it was when this goes.
class Estimation {
 public:
  Estimation(Module& model, const std::vector<Candidate>& candidates, bool training) {
    for (const Tensor& parameter : model.parameters()) {
      parameters_.push_back({parameter, parameter.grad(), parameter.requires_grad()});
      parameters_.back().tensor.set_grad({});
      parameters_.back().tensor.requires_grad_(false);
    }
    for (const auto& [name, module] : model.named_modules())
      modes_.emplace_back(module, module->is_training());
    for (const auto& [slot, adapter] : candidates) {
      active_.emplace_back(slot, slot->active);
      std::erase_if(slot->active, [a = adapter](const auto& item) { return item.adapter == a; });
    }
    model.train(training);
  }
  ~Estimation() {
    for (auto& [slot, active] : active_) slot->active = active;
    for (auto& [module, mode] : modes_) module->train(mode);  // parents come before their children
    for (auto& [tensor, grad, wanted] : parameters_) {
      tensor.requires_grad_(wanted);
      tensor.set_grad(grad);
    }
  }
  Estimation(const Estimation&) = delete;

 private:
  struct Kept {
    Tensor tensor, grad;
    bool wanted;
  };
  std::vector<Kept> parameters_;
  std::vector<std::pair<Module*, bool>> modes_;
  std::vector<std::pair<Slot*, std::vector<Slot::Active>>> active_;
};

/// visit(i, gradient) for each candidate, of the sum over the batches. Of `at_once` candidates the
/// gradients exist at the same time, each summed where it arises: no second copy.
template <class Visit>
void for_each_gradient(const std::vector<Candidate>& candidates, std::size_t at_once,
                       std::size_t batches, const std::function<Tensor(std::size_t)>& loss_of_batch,
                       const Visit& visit) {
  for (std::size_t begin = 0; begin < candidates.size(); begin += at_once) {
    const std::size_t end = std::min(candidates.size(), begin + at_once);
    std::vector<Tensor> weights;
    for (std::size_t i = begin; i < end; ++i) {
      weights.push_back(candidates[i].adapter->weight());
      weights.back().requires_grad_();
    }
    for (std::size_t k = 0; k < batches; ++k) {
      Tape tape;
      const Tensor loss = loss_of_batch(k);
      require(loss.defined() && loss.size() == 1, "LoraGa: the loss of batch ", k,
              loss.defined() ? " must have one element" : " is undefined");
      if (loss.requires_grad()) tape.backward(loss);
    }
    for (std::size_t i = begin; i < end; ++i) {
      Tensor& weight = weights[i - begin];
      const Tensor gradient = weight.grad();
      weight.zero_grad();
      weight.requires_grad_(false);
      require(gradient.defined(), "LoraGa: \"", candidates[i].adapter->layer,
              "\": no loss depends on this layer's weight");
      visit(i, gradient);
    }
  }
}

}  // namespace

void pissa(Module& model, const StartOptions& options) {
  start("PiSSA", model, options, [&](const Adapter& adapter) {
    return pissa_factors(adapter.weight(), adapter.rank, adapter.scale(), options.svd);
  });
}

void olora(Module& model, const StartOptions& options) {
  start("OLoRA", model, options,
        [&](const Adapter& adapter) { return olora_factors(adapter.weight(), adapter.rank); });
}

std::vector<GaReport> lora_ga(Module& model,
                              const std::function<Tensor(std::size_t)>& loss_of_batch,
                              const LoraGaOptions& options) {
  require(options.batches >= 1, "LoraGa: needs at least 1 batch");
  const std::vector<Candidate> candidates =
      candidates_of("LoraGa", model, options.name, options.mode, options.skip_embeddings);
  std::vector<Factors> factors(candidates.size());
  std::vector<GaReport> reports(candidates.size());
  const auto find_start = [&](std::size_t i, const Tensor& gradient) {
    const Adapter& adapter = *candidates[i].adapter;
    const double s = adapter.scale();
    GaStart start = naming_layer(adapter, [&] {
      const double kappa =
          ga_kappa(options.scale, adapter.weight(), adapter.rank, s, options.gamma, options.svd);
      reports[i] = {adapter.layer, kappa, s * s * kappa * kappa, 0, true};
      return lora_ga_factors(gradient, adapter.rank, kappa, options.svd);
    });
    reports[i].alignment = start.alignment();
    reports[i].has_rank = start.has_rank();
    factors[i] = std::move(start.factors);
  };
  {
    const Estimation estimation(model, candidates, options.training);
    for_each_gradient(candidates,
                      options.layers_at_once ? options.layers_at_once : candidates.size(),
                      options.batches, loss_of_batch, find_start);
  }
  for (std::size_t i = 0; i < candidates.size(); ++i)
    candidates[i].adapter->start_from(factors[i].A, factors[i].B, options.mode);
  return reports;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
