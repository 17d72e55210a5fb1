// The standard normal distribution in vector registers: what GELU is made of.
// Random normal numbers are not here but in core/random.hpp.
#pragma once

#include <array>

#include <xsimd/xsimd.hpp>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

struct Normal {
  xsimd::batch<real> distribution, density;
};

/// Phi(x) and phi(x) from one exponential. Relative errors are a few units of the last place near 0
/// and grow with x^2 in the tails, where x^2 / 2 is rounded: 4e-6 at x = -12 in float. Bound by
/// arithmetic: exp, one division and a polynomial.
///
/// With u = |x| the tail is Phi(-u) = e^(-u^2 / 2) R(u), where R falls as slowly as 1/u. In
/// t = 1 / (1 + u/4) it is t times a polynomial, here the one of least relative error for
/// t from 1 to where the tail underflows (Remez's exchange): 5e-8 in float, 3e-16 in double.
inline Normal normal(const xsimd::batch<real>& x) {
  using Batch = xsimd::batch<real>;
#ifdef XGRAD_DOUBLE
  constexpr std::array coefficients{
      0.0997355700964227512,  0.0997355703341918562,  0.0935020909374437594,
      0.081035237151615564,   0.063502811587952011,   0.0432466109528377898,
      0.0234250293944278751,  0.00679790885995503429, -0.000147373262542384365,
      -0.0215977848739901554, 0.0520133337328917107,  -0.166662850117600275,
      0.377068903320552026,   -0.652181089826503315,  0.88194472539387787,
      -0.891862294153266611,  0.649649248768591442,   -0.33021734422930431,
      0.111498911940762527,   -0.0225672438865220713, 0.00208002787820703361};
#else
  constexpr std::array coefficients{0.09980262919f, 0.09843328839f, 0.1043182408f,
                                    0.03077337967f, 0.2066615595f,  -0.2126953587f,
                                    0.3020286054f,  -0.1556129496f, 0.0262905797f};
#endif
  const Batch u = min(Batch(40), abs(x));  // further out all is 0 or 1; in this order NaN stays
  const Batch e = exp(real(-0.5) * u * u);
  const Batch t = real(1) / fma(u, Batch(real(0.25)), Batch(1));
  Batch polynomial(coefficients.back());
  for (std::size_t k = coefficients.size() - 1; k-- > 0;)
    polynomial = fma(polynomial, t, Batch(coefficients[k]));
  const Batch tail = e * (t * polynomial);
  constexpr real scale = real(0.398942280401432678);  // 1 / sqrt(2 pi)
  return {select(x > Batch(0), real(1) - tail, tail), scale * e};
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
