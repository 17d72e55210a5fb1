// Sums and extrema along one axis, on plain memory.
// Which axes, keepdims and derivatives: ops/reduce.cpp.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// y[o, j] = sum over i of x[o, i, j]. x (outer, n, inner), y (outer, inner). 0 where n = 0.
void sum(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y);
/// The same for the largest and smallest. NaN wins; -inf and inf where n = 0.
void max(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y);
void min(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
