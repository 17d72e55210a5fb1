// Several adapters as one.
#pragma once

#include <string>

#include <xgrad/nn/lora/attach.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Attaches the adapter `name` whose update is the weighted sum of others', exactly: with w_i and
/// s_i their weights and scales, A' = rows w_i s_i A_i, B' = columns B_i, scale 1. Its rank is the
/// sum of theirs (twice that of one which counts from factors of its own, see start_from), which
/// may exceed the layer's sizes. PEFT's combination "cat". It waits for activate(). Throws
/// std::invalid_argument for unknown names, for a name that is taken, and for DoRA, whose updates
/// have no such sum; std::logic_error while merged.
std::vector<Adapter*> combine(Module& model, const std::vector<Weighted>& names,
                              const std::string& name);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
