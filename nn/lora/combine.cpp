// Several adapters as one; see combine.hpp.
#include <xgrad/nn/lora/combine.hpp>

#include <algorithm>

#include <xgrad/core/pause.hpp>
#include <xgrad/nn/lora/slot.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

struct Factors {
  std::vector<Tensor> A, B;  // to be stacked: (r_i, in) and (out, r_i)
};

Factors stack(const Slot& slot, const std::vector<Weighted>& names) {
  Factors stacked;
  const auto add = [&](const Tensor& A, const Tensor& B, double factor) {
    stacked.A.push_back(A * static_cast<real>(factor));
    stacked.B.push_back(B);
  };
  for (const auto& [name, weight] : names) {
    const Adapter* adapter = slot.find(name);
    if (!adapter) continue;
    require(!adapter->magnitude.defined(), "lora: \"", adapter->layer, "\": adapter \"", name,
            "\" is DoRA, and cannot be combined");
    const double factor = weight * adapter->scale();
    add(adapter->A, adapter->B, factor);
    if (const ReferenceFactors* start = adapter->reference()) add(start->A, start->B, -factor);
  }
  return stacked;
}

/// The dotted name as a regular expression.
std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) text += c == '.' ? std::string("\\.") : std::string(1, c);
  return text;
}

}  // namespace

std::vector<Adapter*> combine(Module& model, const std::vector<Weighted>& names,
                              const std::string& name) {
  const Pause pause;
  require_known(model, names);
  Options options{.alpha = 1, .name = name};
  std::vector<Target> targets;
  std::vector<Factors> factors;
  for (const Slot* slot : slots(model)) {
    Factors stacked = stack(*slot, names);
    if (stacked.A.empty()) continue;
    targets.push_back({slot->adapters.front()->layer, &slot->base});
    factors.push_back({{concat(stacked.A, 0)}, {concat(stacked.B, 1)}});
  }
  std::vector<std::string> layers;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    layers.push_back(targets[i].name);
    const std::size_t rank = factors[i].A.front().size(0);
    options.rank_pattern.emplace_back(escaped(layers.back()), rank);
    options.alpha_pattern.emplace_back(escaped(layers.back()), static_cast<double>(rank));
  }
  options.targets = layers;
  // A name may be the end of another, so the longer one comes first.
  const auto longer = [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); };
  std::stable_sort(options.rank_pattern.begin(), options.rank_pattern.end(), longer);
  std::stable_sort(options.alpha_pattern.begin(), options.alpha_pattern.end(), longer);
  const std::vector<Adapter*> result = place(model, options, targets);
  for (std::size_t i = 0; i < result.size(); ++i) {
    std::copy_n(factors[i].A.front().data(), result[i]->A.size(), result[i]->A.mutable_data());
    std::copy_n(factors[i].B.front().data(), result[i]->B.size(), result[i]->B.mutable_data());
  }
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
