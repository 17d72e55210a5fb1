// One row of scores, seen from where a mask of k ones would end: what soft top-k operators start
// from. What they make of it is in nn/topk and kernels/subset.cpp.
#pragma once

#include <cstddef>
#include <span>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

inline constexpr std::size_t npos = static_cast<std::size_t>(-1);
/// How many scores of a row take part, -inf being none; `npos` if one is NaN or +inf.
std::size_t count_finite(const real* x, std::size_t n);

/// The count-th largest number of a row, 1 <= count <= n, none of them NaN. Of equal numbers each
/// counts.
real select_largest(const real* x, std::size_t n, std::size_t count);

/// Scores as v = (x - c)/tau with c the count-th largest, `count` being k rounded up. First
/// subtracted, then divided, so that differences near the boundary are exact, and cut to +-1e30, so
/// that they can be subtracted once more; -inf stays, and takes no part.
///
/// The top are the `count` largest, the rest the others: `above` of the top are > 0, the rest of it
/// 0, and of the rest may be 0 too.
struct Boundary {
  std::span<const real> v;
  double k;            ///< 0 < k < finite
  std::size_t finite;  ///< how many take part
  std::size_t count;   ///< the size of the top
  std::size_t above;   ///< how many v > 0
  std::size_t equal;   ///< how many v = 0
  real next;           ///< the largest of the rest; -1e30 if there is none

  double top_zeros() const { return static_cast<double>(count - above); }
  double rest_zeros() const { return static_cast<double>(above + equal - count); }
};
Boundary find_boundary(const real* x, std::size_t n, std::size_t finite, double k, real tau,
                       real* v);

/// z = v - threshold. z may be v.
void shift(const real* v, std::size_t n, double threshold, real* z);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
