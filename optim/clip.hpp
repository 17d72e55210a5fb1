// Clipping: keeps one bad batch from throwing the parameters far away.
// Called between backward and step; it changes gradients in place and nothing else.
#pragma once

#include <span>

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Scales the gradients, if need be, so that together they are no longer than `max_norm`: with
/// n = sqrt(sum of all g^2), each g <- g min(1, max_norm / (n + 1e-6)). Returns n, the norm before;
/// with an infinite max_norm that is all it does. Parameters without a gradient do not count. n is
/// summed in double and does not depend on the number of threads. As in PyTorch, a NaN among the
/// gradients makes all of them NaN, and an infinity makes the finite ones 0 and itself NaN: look at
/// the result before step() if that may occur. Throws std::invalid_argument unless max_norm >= 0.
/// Pascanu et al. 2013 (1211.5063), algorithm 1.
real clip_grad_norm(std::span<const Tensor> parameters, real max_norm);

/// Limits each element of the gradients to [-limit, limit]; NaN stays NaN.
/// Throws std::invalid_argument unless limit >= 0.
void clip_grad_value(std::span<const Tensor> parameters, real limit);

}  // namespace xgrad::inline XGRAD_PRECISION
