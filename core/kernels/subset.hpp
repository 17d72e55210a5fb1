// Independent events, given that exactly k of them happen: with what probability each is among
// them. Where the odds come from, and the tape: nn/topk/grad_topk.cpp.
#pragma once

#include <cstddef>
#include <span>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// Events with log-odds z (n), and 0 < k < n. Whatever is added to all of z, y is the same, but the
/// probability that k happen by themselves must be well above the smallest number: make their mean
/// number about k.
///
/// The row is halved until pieces have at most `leaf` events; a piece of s takes O(s min(s, k))
/// time and memory, joining pieces O(n k) time and O(n log k) memory in all. leaf = n is the
/// fastest while its (n + 1)(k + 1) numbers stay in the cache.
struct Subset {
  std::span<const real> z;
  std::size_t k, leaf;
};

/// How large a leaf should be.
std::size_t subset_leaf(std::size_t n, std::size_t k);

/// y_i, the probability that i is among the k; returns the logarithm of the probability that k
/// happen.
double subset_inclusion(const Subset& events, real* y);

/// dx = J g, where J_ij = P(i and j) - y_i y_j is the derivative of y_i by z_j: symmetric, so this
/// is the gradient too. y is what subset_inclusion gave.
void subset_covariance(const Subset& events, const real* y, const real* g, real* dx);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
