// Adapters written into the weights; see merge.hpp.
#include <xgrad/nn/lora/merge.hpp>

#include <xgrad/nn/lora/slot.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

std::size_t merge(Module& model, MergeOptions options) {
  std::vector<Slot*> open = slots(model);
  std::erase_if(open, [](const Slot* slot) { return slot->merged() || slot->active.empty(); });
  for (const Slot* slot : open) slot->merged_weight();  // all are finite, or none is replaced
  for (Slot* slot : open) slot->merge(options.keep_base);
  return open.size();
}

std::size_t unmerge(Module& model) {
  std::vector<Slot*> merged = slots(model);
  std::erase_if(merged, [](const Slot* slot) { return !slot->merged(); });
  for (const Slot* slot : merged) slot->check_merged();
  for (Slot* slot : merged) slot->unmerge();
  return merged.size();
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
