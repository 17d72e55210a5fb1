// Links; see link.hpp. Each solver works on v, which is 0 at the k-th largest score, so that the
// threshold lies within logarithms of k and n of the gap between 0 and row.next.
#include <xgrad/nn/topk/link.hpp>

#include <algorithm>
#include <array>

#include <xgrad/core/kernels/long_sum.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

namespace row = kernels::row;
using kernels::Boundary;
using row::Batch;
using row::long_sums;
using Span = std::span<const real>;

constexpr real none = -std::numeric_limits<real>::infinity();  // exp makes 0 of it
constexpr double infinity = std::numeric_limits<double>::infinity();

template <class F>
void each(Span z, real* y, const F& f) {
  row::walk(z.size(),
            [&](auto part, std::size_t i) { part.store(y + i, f(part.load(z.data() + i))); });
}

Batch batch(double x) { return Batch(static_cast<real>(x)); }
Batch magnitude(const Batch& z) { return xsimd::max(z, -z); }

/// Slopes that fall off as e^-|z|: w = shape(e^-|z|) e^(m - |z|) with m the least |z|; returns
/// e^-m.
template <class Shape>
double exponential_slope(Span z, real* w, const Shape& shape) {
  constexpr real highest = std::numeric_limits<real>::infinity();
  const real least = row::fold(
      z.size(), highest,
      [&](auto part, std::size_t i) { return magnitude(part.load(z.data() + i, highest)); },
      [](const auto& a, const auto& b) {
        using std::min;
        return min(a, b);
      });
  if (std::isinf(least)) {  // nothing, or everything, was chosen
    std::fill_n(w, z.size(), real(0));
    return 1;
  }
  const double scale = std::exp(-double(least));
  each(z, w, [=](const Batch& zi) {
    const Batch e = exp(Batch(least) - magnitude(zi));
    return e * shape(e * batch(scale));
  });
  return scale;
}

}  // namespace

// ---- sigmoid

void SigmoidLink::values(Span z, real* y) {
  each(z, y, [](const Batch& zi) {
    const Batch one(real(1)), e = exp(-magnitude(zi));
    return xsimd::select(zi < Batch(real(0)), e, one) / (one + e);
  });
}

double SigmoidLink::slopes(Span z, real* w) {
  return exponential_slope(z, w, [](const Batch& e) {
    const Batch sum = Batch(real(1)) + e;
    return Batch(real(1)) / (sum * sum);
  });
}

// With s the logistic function, sum s(v - t) = k says that as much is missing from the top, in all
// sum s(t - v), as the rest has, sum s(v - t), and k short of T. The difference of the logarithms
// of the two decreases with a slope between -2 and 0, however wide the gap; that of the two
// themselves is 0 to rounding all over a wide one.
double SigmoidLink::solve(const Boundary& row) {
  const auto count = static_cast<double>(row.count),
             others = static_cast<double>(row.finite - row.count);
  const double missing = count - row.k, next = row.next;
  const Batch zero(real(0)), one(real(1));
  const auto sides = [zero](const Batch& v, const Batch& top, const Batch& rest) {
    return std::pair(xsimd::select(v > zero, top, zero), xsimd::select(v < zero, rest, zero));
  };

  // From afar both sides look like sums of exponentials: c e^-t + missing = a e^t.
  auto [a, c] = long_sums<2>(row.v.size(), [&](auto part, std::size_t i) {
    const Batch v = part.load(&row.v[i], none);
    const Batch e = exp(xsimd::select(v > zero, -v, v - batch(next)));
    const auto [top, rest] = sides(v, e, e);
    return std::array{top, rest};
  });
  a += row.top_zeros();
  c += row.rest_zeros();  // if there are any, next is 0
  double t = missing > 0
                 ? std::log((missing + std::sqrt(missing * missing + 4 * a * c * std::exp(next))) /
                            (2 * a))
                 : (next + std::log(c) - std::log(a)) / 2;

  double low = others > 0 ? next - std::log(count) : -infinity;
  if (missing > 0) low = std::max(low, -std::log(count / missing - 1));
  const double high_start = std::log((others + 1) / (1 - missing) - 1);
  double high = std::max(low, high_start);
  t = std::clamp(t, low, high);
  constexpr double enough = sizeof(real) == 4 ? 4e-7 : 1e-12;
  for (int i = 0; i < 30; ++i) {
    const double at = static_cast<real>(t);
    // Exponentials are scaled by those of the largest arguments, at and next - at, if below 1.
    const double top_most = std::max(at, 0.0), rest_most = std::min(at, next),
                 top_scale = std::exp(std::min(0.0, at)),
                 rest_scale = std::exp(std::min(0.0, next - at));
    auto [top, top_slope, rest, rest_slope] =
        long_sums<4>(row.v.size(), [&](auto part, std::size_t j) {
          const Batch v = part.load(&row.v[j], none);
          const auto is_top = v > zero;
          const Batch e = exp(xsimd::select(is_top, batch(top_most) - v, v - batch(rest_most))),
                      scale = xsimd::select(is_top, batch(top_scale), batch(rest_scale)),
                      d = one / (one + e * scale), s = e * d;
          const auto [s_top, s_rest] = sides(v, s, s);
          const auto [slope_top, slope_rest] = sides(v, s * d, s * d);
          return std::array{s_top, slope_top, s_rest, slope_rest};
        });
    const auto add_zeros = [](double& sum, double& slope, double zeros, double most, double scale) {
      const double e = std::exp(most), d = 1 / (1 + e * scale);
      if (zeros > 0) {
        sum += zeros * e * d;
        slope += zeros * e * d * d;
      }
    };
    add_zeros(top, top_slope, row.top_zeros(), top_most, top_scale);
    add_zeros(rest, rest_slope, row.rest_zeros(), -rest_most, rest_scale);
    const double log_top = std::log(top) + std::min(0.0, at);
    double h, slope = -top_slope / top;
    if (missing > 0) {
      const double sum = rest * rest_scale + missing;
      h = std::log(sum) - log_top;
      slope -= rest_slope * rest_scale / sum;
    } else {
      h = std::log(rest) + std::min(0.0, next - at) - log_top;
      slope -= rest_slope / rest;
    }
    (h > 0 ? low : high) = at;
    t = at - h / slope;
    if (std::abs(h) <= enough) break;
    if (std::abs(t - at) <= 2 * std::numeric_limits<real>::epsilon() * std::max(1.0, std::abs(t)))
      break;
    if (!(t >= low && t <= high)) t = low + (high - low) / 2;
  }
  return t;
}

double SigmoidLink::excess(Span z) {
  return long_sums<1>(z.size(), [&](auto part, std::size_t i) {
    return std::array{log1p(exp(-magnitude(part.load(z.data() + i, none))))};
  })[0];
}

LogLink SigmoidLink::logarithm(double z) {
  const double e = std::exp(-std::abs(z));
  return {std::min(z, 0.0) - std::log1p(e), (z < 0 ? 1 : e) / (1 + e)};
}

// ---- min(1, exp)

void MinExpLink::values(Span z, real* y) {
  each(z, y, [](const Batch& zi) { return exp(xsimd::min(zi, Batch(real(0)))); });
}

// The kink counts as not capped: at low temperatures the k-th largest stands there to rounding, and
// the sum of the slopes, k less those that are capped, would be lost with it.
// The kink counts as not capped: at low temperatures the k-th largest stands there to rounding, and
// with it the sum of the slopes, k less those that are capped, would be lost.
double MinExpLink::slopes(Span z, real* w) {
  each(z, w,
       [](const Batch& zi) { return xsimd::select(zi > Batch(real(0)), Batch(real(0)), exp(zi)); });
  return 1;
}

// If the m largest are capped, e^t = (sum of e^v over the others)/(k - m). The v of which m is true
// are found from above: with m = count - 1, the most there can be, t is nowhere too low, and from a
// t that is not too low those larger than it give a smaller one that is not too low either. So m
// only grows, and when it does not, t is exact.
double MinExpLink::solve(const Boundary& row) {
  const Batch zero(real(0)), one(real(1));
  const double rest = long_sums<1>(row.v.size(),
                                   [&](auto part, std::size_t i) {
                                     const Batch v = part.load(&row.v[i], none);
                                     return std::array{xsimd::select(v < zero, exp(v), zero)};
                                   })[0] +
                      row.rest_zeros();
  auto capped = static_cast<double>(row.count - 1);
  double t = std::log1p(rest) - std::log(row.k - capped);
  for (std::size_t i = 0; i <= row.count; ++i) {
    const Batch at = batch(t);
    const auto [above, below] = long_sums<2>(row.v.size(), [&](auto part, std::size_t j) {
      const Batch v = part.load(&row.v[j], none);
      const auto is_above = v > at;
      return std::array{xsimd::select(is_above, one, zero),
                        xsimd::select(is_above, zero, exp(v - at))};
    });
    if (above == capped) break;
    capped = above;
    t = std::max(0.0, static_cast<real>(t) + std::log(below) - std::log(row.k - capped));
  }
  return t;
}

double MinExpLink::excess(Span z) {
  return long_sums<1>(z.size(), [&](auto part, std::size_t i) {
    return std::array{exp(xsimd::min(part.load(z.data() + i, none), Batch(real(0))))};
  })[0];
}

LogLink MinExpLink::logarithm(double z) { return {std::min(z, 0.0), double(z <= 0)}; }

// ---- Laplace

void LaplaceLink::values(Span z, real* y) {
  each(z, y, [](const Batch& zi) {
    const Batch half = Batch(real(0.5)) * exp(-magnitude(zi));
    return xsimd::select(zi < Batch(real(0)), half, Batch(real(1)) - half);
  });
}

double LaplaceLink::slopes(Span z, real* w) {
  return exponential_slope(z, w, [](const Batch&) { return Batch(real(0.5)); });
}

// With m numbers at or above t, the sum is m - e^(a + t)/2 + e^(b - t)/2, where e^a and e^b are the
// sums of e^-v above t and of e^v below: a quadratic equation for e^t, if the v above t were known.
// Starting from the gap, m = T, each solution tells them anew. What t has passed is reckoned with
// less than it has in truth, going up, and with more, going down, so t goes one way, and never too
// far; where m stays as it is, t is exact.
double LaplaceLink::solve(const Boundary& row) {
  const Span v = row.v;
  const Batch zero(real(0)), one(real(1));
  real low = 0, high = row.next;  // the lowest above t, the highest below
  auto m = static_cast<double>(row.count);
  // Numbers for which is_above is neither 1 nor 0 are left out.
  const auto exponential_sums = [&](const auto& is_above, const auto& is_below) {
    return long_sums<2>(v.size(), [&](auto part, std::size_t i) {
      const Batch vi = part.load(&v[i], none);
      const auto above = is_above(vi);
      const Batch e = exp(xsimd::select(above, Batch(low) - vi, vi - Batch(high)));
      return std::array{xsimd::select(above, e, zero), xsimd::select(is_below(vi), e, zero)};
    });
  };
  auto [above, below] = exponential_sums([zero](const Batch& vi) { return vi > zero; },
                                         [zero](const Batch& vi) { return vi < zero; });
  above += row.top_zeros();
  below += row.rest_zeros();  // if there are any, next is 0
  for (std::size_t i = 0;; ++i) {
    const double a = std::log(above) - low, b = std::log(below) + high, d = row.k - m,
                 h = std::hypot(d, std::exp((a + b) / 2));
    const double t = d > 0 ? b - std::log(d + h) : d < 0 ? -a + std::log(h - d) : (b - a) / 2;
    if ((t > high && t <= low) || i > v.size()) return t;
    const Batch at = batch(t);
    Batch lowest(-none), highest(none);
    const double count = long_sums<1>(v.size(), [&](auto part, std::size_t j) {
      const Batch vi = part.load(&v[j], none);
      const auto is_above = vi >= at;
      lowest = xsimd::min(lowest, xsimd::select(is_above, vi, Batch(-none)));
      highest = xsimd::max(highest, xsimd::select(is_above, Batch(none), vi));
      return std::array{xsimd::select(is_above, one, zero)};
    })[0];
    if (count == m) return t;
    m = count;
    low = row::fold_lanes(lowest, [](real x, real y) { return std::min(x, y); });
    high = row::fold_lanes(highest, [](real x, real y) { return std::max(x, y); });
    if (std::isinf(low)) low = 0;  // nothing above: a sum of nothing, whose logarithm says so
    if (std::isinf(high)) high = 0;
    const auto both = exponential_sums([at](const Batch& vi) { return vi >= at; },
                                       [at](const Batch& vi) { return vi < at; });
    above = both[0];
    below = both[1];
  }
}

double LaplaceLink::excess(Span z) {
  return long_sums<1>(z.size(), [&](auto part, std::size_t i) {
    return std::array{Batch(real(0.5)) * exp(-magnitude(part.load(z.data() + i, none)))};
  })[0];
}

LogLink LaplaceLink::logarithm(double z) {
  if (z < 0) return {z - std::log(2.0), 1};
  const double half = 0.5 * std::exp(-z);
  return {std::log1p(-half), half / (1 - half)};
}

// ---- clip(z, 0, 1)^R

namespace {

template <int N>
Batch power(const Batch& z) {
  if constexpr (N == 0)
    return Batch(real(1));
  else
    return z * power<N - 1>(z);
}

Batch clip(const Batch& z) { return xsimd::max(xsimd::min(z, Batch(real(1))), Batch(real(0))); }

/// The step s with sum (z - s)^R = target, from the sums of z^0, z^1, … z^R.
template <int R>
double polynomial_step(const std::array<double, R + 1>& moment, double target) {
  const double n = moment[0];
  if constexpr (R == 1) return (moment[1] - target) / n;
  if constexpr (R == 2)
    return (moment[1] - std::sqrt(moment[1] * moment[1] - n * (moment[2] - target))) / n;
  if constexpr (R == 3)
    return decreasing_root(
        [&](double s) {
          struct {
            double value, derivative;
          } const at{moment[3] - target - s * (3 * moment[2] - s * (3 * moment[1] - s * n)),
                     -3 * (moment[2] - s * (2 * moment[1] - s * n))};
          return at;
        },
        0);
}

}  // namespace

template <int R>
void ClipPowLink<R>::values(Span z, real* y) {
  each(z, y, [](const Batch& zi) { return power<R>(clip(zi)); });
}

template <int R>
double ClipPowLink<R>::slopes(Span z, real* w) {
  const Batch zero(real(0)), one(real(1));
  each(z, w, [&](const Batch& zi) {
    const Batch slope = Batch(real(R)) * power<R - 1>(clip(zi));
    return xsimd::select(zi > zero && zi < one, slope, zero);
  });
  return 1;
}

// F(t) = sum clip(v - t, 0, 1)^R is a polynomial between the places where a number enters or
// reaches the cap. Its root tells which numbers have; where they are those that it was made of, it
// is exact. F(-1) >= T and F(0) < T hold, so the root is in [-1, 0]; the sign of F - k narrows
// that.
template <int R>
double ClipPowLink<R>::solve(const Boundary& row) {
  const auto count = static_cast<double>(row.count);
  if (row.k == count && row.next <= -1) return (row.next - 1.0) / 2;  // the gap is flat
  const Span v = row.v;
  double low = -1, high = 0, t = -0.5, last_capped = -1, last_active = -1;
  for (int i = 0; i < 200; ++i) {
    const double at = static_cast<real>(t);
    const auto all = long_sums<R + 2>(v.size(), [&](auto part, std::size_t j) {
      const Batch z = part.load(v.data() + j, none) - batch(at), zero(real(0)), one(real(1));
      const auto is_active = z > zero && z < one;
      std::array<Batch, R + 2> terms;
      terms[0] = xsimd::select(is_active, one, zero);
      for (int r = 1; r <= R; ++r) terms[r] = xsimd::select(is_active, terms[r - 1] * z, zero);
      terms[R + 1] = xsimd::select(z >= one, one, zero);
      return terms;
    });
    std::array<double, R + 1> moment;
    std::copy_n(all.begin(), R + 1, moment.begin());
    const double capped = all[R + 1], excess = capped + moment[R] - row.k;
    if (capped == last_capped && moment[0] == last_active) return t;
    (excess > 0 ? low : high) = at;
    t = at + polynomial_step<R>(moment, row.k - capped);
    last_capped = capped;
    last_active = moment[0];
    constexpr double slack = 2 * std::numeric_limits<real>::epsilon();
    if (!(t >= low - slack && t <= high + slack) || i % 8 == 7) {
      t = low + (high - low) / 2;
      last_active = -1;
    }
    if (high - low <= slack) break;
  }
  return t;
}

template <int R>
double ClipPowLink<R>::excess(Span z) {
  const real p = R + 1;
  return long_sums<1>(z.size(), [&](auto part, std::size_t i) {
    const Batch c = clip(part.load(z.data() + i, none));
    return std::array{power<R + 1>(c) / Batch(p) - c};
  })[0];
}

template <int R>
LogLink ClipPowLink<R>::logarithm(double z) {
  if (z <= 0) return {-infinity, 0};
  if (z >= 1) return {0, 0};
  return {R * std::log(z), R / z};
}

template struct ClipPowLink<1>;
template struct ClipPowLink<2>;
template struct ClipPowLink<3>;

}  // namespace xgrad::inline XGRAD_PRECISION
