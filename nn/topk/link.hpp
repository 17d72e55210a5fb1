// Links: increasing functions f from 0 to 1, of which a threshold makes a smooth top-k operator.
// The operator is threshold.hpp; a link knows one row, and nothing of the tape.
#pragma once

#include <cmath>
#include <limits>

#include <xgrad/core/kernels/boundary.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// log f and its derivative f'/f at one number.
struct LogLink {
  double value, slope;
};

// A link is a struct of static functions:
//   name          of the operator that it makes, for errors and the tape;
//   values(z, y)  y_i = f(z_i); y may be z;
//   slopes(z, w)  w_i = f'(z_i)/s, and returns s > 0: a factor that keeps the sum of w from
//                 underflowing, if one is needed;
//   solve(row)    the threshold t with sum_i f(v_i - t) = k.
// and for losses
//   excess(z)     the sum over i of A(z_i) - max(z_i, 0), A' = f, A(-inf) = 0;
//   at_one        the limit of z - A(z) as z grows: the cost R(1) of a whole choice;
//   logarithm(z)  log f(z) and f'(z)/f(z).
// z_i is -inf where no score takes part, and +-inf throughout for k = n and k = 0: f is 1 or 0
// there, and f' 0.

/// f(z) = 1/(1 + e^-z). Smooth; at k = 1 not softmax. Equal to entropic optimal transport, Xie et
/// al. 2020 (2002.06504). Solved by Newton's method on a difference of logarithms, which has a root
/// even where the sum is flat: 5 passes at most, O(n).
struct SigmoidLink {
  static constexpr const char* name = "SigmoidTopK";
  static void values(std::span<const real> z, real* y);
  static double slopes(std::span<const real> z, real* w);
  static double solve(const kernels::Boundary& row);
  static double excess(std::span<const real> z);
  static constexpr double at_one = 0;
  static LogLink logarithm(double z);
};

/// f(z) = min(1, e^z): softmax at k = 1, and k softmax wherever that exceeds 1 nowhere. Scores at
/// the cap have no gradient. O(n), a few passes. Su's essay 10373.
struct MinExpLink {
  static constexpr const char* name = "MinExpTopK";
  static void values(std::span<const real> z, real* y);
  static double slopes(std::span<const real> z, real* w);
  static double solve(const kernels::Boundary& row);
  static double excess(std::span<const real> z);
  static constexpr double at_one = -1;
  static LogLink logarithm(double z);
};

/// Laplace's distribution function: f(z) = e^z/2 below 0, 1 - e^-z/2 above. In closed form between
/// any two scores, once differentiable, a gradient for all. Su's essay 10373; Struski et al. 2025,
/// LapSum (2503.06242).
struct LaplaceLink {
  static constexpr const char* name = "LaplaceTopK";
  static void values(std::span<const real> z, real* y);
  static double slopes(std::span<const real> z, real* w);
  static double solve(const kernels::Boundary& row);
  static double excess(std::span<const real> z);
  static constexpr double at_one = 0;
  static LogLink logarithm(double z);
};

/// f(z) = clip(z, 0, 1)^R, R = 1, 2 or 3: the mask in [0, 1]^n with sum k that is best for
/// <y, x/tau> - sum y^p/p, p = 1 + 1/R. Exact zeros and ones, and where the boundary's gap is tau
/// or more the hard mask with gradient 0: an early choice may stay. Sander et al. 2023
/// (2302.01425).
template <int R>
struct ClipPowLink {
  static_assert(R >= 1 && R <= 3);
  static constexpr const char* name = R == 1   ? "SparseTopK<1>"
                                      : R == 2 ? "SparseTopK<2>"
                                               : "SparseTopK<3>";
  static void values(std::span<const real> z, real* y);
  static double slopes(std::span<const real> z, real* w);
  static double solve(const kernels::Boundary& row);
  static double excess(std::span<const real> z);
  static constexpr double at_one = double(R) / (R + 1);
  static LogLink logarithm(double z);
};

/// A link from two functions of one number, as a user would write them:
///
///     struct CauchyLink : PointwiseLink<CauchyLink> {
///       static constexpr const char* name = "CauchyTopK";
///       static double value(double z) { return 0.5 + std::atan(z) / pi; }
///       static double slope(double z) { return 1 / (pi * (1 + z * z)); }
///     };
///
/// value is increasing, from 0 to 1. The threshold is found by Newton's method between bounds that
/// close in on it; each of its steps calls both functions n times.
template <class F>
struct PointwiseLink {
  static void values(std::span<const real> z, real* y) {
    for (std::size_t i = 0; i < z.size(); ++i)
      y[i] = std::isinf(z[i]) ? real(z[i] > 0) : static_cast<real>(F::value(double(z[i])));
  }
  static double slopes(std::span<const real> z, real* w) {
    for (std::size_t i = 0; i < z.size(); ++i)
      w[i] = std::isinf(z[i]) ? 0 : static_cast<real>(F::slope(double(z[i])));
    return 1;
  }
  static double solve(const kernels::Boundary& row);
};

/// The root of a decreasing function between bounds that may be anything: f(t) gives {value,
/// derivative}.
template <class Function>
double decreasing_root(const Function& f, double start) {
  constexpr double eps = 4 * std::numeric_limits<double>::epsilon();
  double low = -std::numeric_limits<double>::infinity(), high = -low, t = start;
  for (int i = 0, reach = 0; i < 200; ++i) {
    const auto [value, derivative] = f(t);
    if (value == 0) return t;
    (value > 0 ? low : high) = t;
    double next = t - value / derivative;
    const double stride = std::ldexp(1.0, ++reach);
    if (std::isinf(high)) {
      if (!(next > low && next < low + stride)) next = low + stride;
    } else if (std::isinf(low)) {
      if (!(next < high && next > high - stride)) next = high - stride;
    } else if (!(next > low && next < high) || i % 8 == 7) {
      next = low + (high - low) / 2;
    }
    if (std::abs(next - t) <= eps * std::max(1.0, std::abs(t))) return next;
    t = next;
  }
  return t;
}

template <class F>
double PointwiseLink<F>::solve(const kernels::Boundary& row) {
  return decreasing_root(
      [&](double t) {
        struct {
          double value, derivative;
        } sum{-row.k, 0};
        for (const real v : row.v) {
          if (std::isinf(v)) continue;
          sum.value += F::value(v - t);
          sum.derivative -= F::slope(v - t);
        }
        return sum;
      },
      row.next / 2);
}

}  // namespace xgrad::inline XGRAD_PRECISION
