// Adapters written into the weights: merge and unmerge.
#pragma once

#include <xgrad/nn/lora/adapter.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

struct MergeOptions {
  /// Keep a copy of each weight, so that unmerge() restores it bit for bit. Without, unmerge()
  /// subtracts: some elements differ in the last place then. DoRA keeps its weights anyway, since
  /// they cannot be had back from rows scaled by 0.
  bool keep_base = false;
};

/// Writes the active adapters' updates into the weights, so that the layers cost what they cost
/// without; outputs are the same to rounding. Returns how many layers changed: 0 if they are merged
/// already. While merged, a layer that is_training() under a tape throws std::logic_error, as does
/// the first use after a weight or factor was changed, and whatever else changes adapters. Throws
/// std::runtime_error if a weight would not be finite; nothing has changed then.
std::size_t merge(Module& model, MergeOptions options = {});

/// Takes the updates off again. Returns how many layers changed.
std::size_t unmerge(Module& model);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
