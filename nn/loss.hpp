// Losses composed of operations. cross_entropy, which is fused, is in core/ops.hpp.
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// mean((prediction - target)^2) over all elements. Both of one shape -> ().
Tensor mse_loss(const Tensor& prediction, const Tensor& target);
/// mean(|prediction - target|) over all elements. Both of one shape -> ().
Tensor l1_loss(const Tensor& prediction, const Tensor& target);

}  // namespace xgrad::inline XGRAD_PRECISION
