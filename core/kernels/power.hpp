// Powers in vector registers, right in the corners where xsimd's are not.
// Bound by arithmetic: a logarithm and an exponential, but for the exponents that need neither.
#pragma once

#include <limits>

#include <xsimd/xsimd.hpp>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// x^y: 1 for y = 0 whatever x is; for x = 0 (of either sign) 0 or, for y < 0, infinity; NaN for
/// x < 0 unless y is an integer. Relative error about |y log x| units of the last place.
inline xsimd::batch<real> power(const xsimd::batch<real>& x, const xsimd::batch<real>& y) {
  using Batch = xsimd::batch<real>;
  const Batch infinity(std::numeric_limits<real>::infinity());
  const Batch of_zero = select(y < Batch(0), infinity, select(y > Batch(0), Batch(0), y));
  return select(y == Batch(0), Batch(1), select(x == Batch(0), of_zero, pow(x, y)));
}

inline xsimd::batch<real> power(const xsimd::batch<real>& x, real y) {
  if (y == 0) return xsimd::batch<real>(1);
  if (y == 1) return x;
  if (y == 2) return x * x;
  if (y == 3) return x * x * x;
  if (y == -1) return real(1) / x;
  if (y == real(0.5)) return sqrt(x);
  if (y == real(-0.5)) return real(1) / sqrt(x);
  return power(x, xsimd::batch<real>(y));
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
