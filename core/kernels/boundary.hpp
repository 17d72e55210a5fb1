// One row of scores, seen from where a mask of k ones would end: what soft top-k operators start
// from. What they make of it is in nn/topk and kernels/subset.cpp.
#pragma once

#include <cstddef>
#include <span>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// How many scores of a row take part, -inf being none; `npos` if one is NaN or +inf.
std::size_t count_finite(const real* x, std::size_t n);
inline constexpr std::size_t npos = static_cast<std::size_t>(-1);

/// Scores as v = (x - c)/tau with c the T-th largest, T = k rounded up: first subtracted, then
/// divided, so that differences near the boundary are exact, and cut to +-1e30, so that they can be
/// subtracted once more. The T largest are >= 0, the rest <= 0; -inf takes no part.
struct Boundary {
  std::span<const real> top, rest;  ///< v, in no particular order
  real next;                        ///< the largest of the rest; -1e30 if there is none
  double k;                         ///< 0 < k < n
  double c;                         ///< 0 <= in top, in units of x
};

/// Reads a row with `finite` finite scores; `scratch` (n) holds what the result points to.
Boundary find_boundary(const real* x, std::size_t n, std::size_t finite, double k, real tau,
                       real* scratch);

/// z = (x - c)/tau - threshold, in the order of x; -inf where x is. z may be x.
void shift(const real* x, std::size_t n, double c, real tau, double threshold, real* z);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
