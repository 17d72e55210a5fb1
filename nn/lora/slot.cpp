// The adapters of a layer together; see slot.hpp.
#include <xgrad/nn/lora/slot.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/pause.hpp>
#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

Tensor Slot::operator()(const Tensor& plain, const InputRows& x) const {
  if (merged()) {
    check_merged();
    require<std::logic_error>(!is_training() || !Tape::current(), "lora: \"",
                              active.front().adapter->layer,
                              "\": adapters are merged; unmerge() before training");
    return plain;
  }
  Tensor y = plain;
  for (const auto& [adapter, weight] : active) {
    const Tensor gain = adapter->gain(plain, x);
    y = y + (weight == 1 ? gain : gain * static_cast<real>(weight));
  }
  return y;
}

Tensor Slot::merged_weight() const {
  const Pause pause;
  Tensor W = base.stored_weight();
  for (const auto& [adapter, weight] : active) {
    const Tensor update = adapter->update() * static_cast<real>(weight);
    W = W + (base.looks_up() ? transpose(update) : update);
  }
  require<std::runtime_error>(
      std::all_of(W.data(), W.data() + W.size(), [](real w) { return std::isfinite(w); }),
      "lora: \"", active.front().adapter->layer, "\": the merged weight would not be finite");
  return W;
}

void Slot::merge(bool keep_base) {
  const Tensor merged = merged_weight();
  Tensor W = base.stored_weight();
  // DoRA's V is scaled by m/c, which may be 0: W cannot be had back from that.
  for (const auto& item : active) keep_base |= item.adapter->magnitude.defined();
  if (keep_base) kept_ = W.clone();
  std::copy_n(merged.data(), merged.size(), W.mutable_data());
  merged_.emplace_back(W, true, nullptr);
  for (const auto& item : active)
    for (const Tensor& parameter : item.adapter->parameters())
      merged_.emplace_back(parameter, true, nullptr);
}

void Slot::unmerge() {
  check_merged();
  const Pause pause;
  merged_.clear();
  Tensor W = base.stored_weight();
  if (kept_.defined()) {
    std::copy_n(kept_.data(), kept_.size(), W.mutable_data());
    kept_ = {};
    return;
  }
  for (std::size_t i = active.size(); i-- > 0;) {
    const Tensor update = active[i].adapter->update() * static_cast<real>(active[i].weight);
    W.mutable_array() -= (base.looks_up() ? transpose(update) : update).array();
  }
}

void Slot::check_merged() const {
  for (const Saved& part : merged_)
    require<std::logic_error>(!part.changed(), "lora: \"", active.front().adapter->layer,
                              "\": ", &part == &merged_.front() ? "the weight" : "an adapter",
                              " was changed while merged; unmerge() before that");
}

Adapter* Slot::find(const std::string& name) const {
  const auto found = std::find_if(adapters.begin(), adapters.end(),
                                  [&](const auto& adapter) { return adapter->name == name; });
  return found == adapters.end() ? nullptr : found->get();
}

std::vector<Slot*> slots(Module& model) {
  std::vector<Slot*> result;
  for (const auto& [name, module] : model.named_modules())
    if (auto* slot = dynamic_cast<Slot*>(module)) result.push_back(slot);
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
