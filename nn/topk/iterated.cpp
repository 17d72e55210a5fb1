// Iterated softmaxes; see iterated.hpp. Backward computes the k softmaxes once more and keeps them
// until it has gone back through them.
#include <xgrad/nn/topk/iterated.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <xgrad/core/kernels/long_sum.hpp>
#include <xgrad/nn/topk/rows.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

namespace row = kernels::row;
using row::Batch;
using Span = std::span<const real>;
constexpr real none = -std::numeric_limits<real>::infinity();

/// (x - base)/tau, cut off where differences would overflow.
std::vector<real> scaled(Span x, real base, real tau) {
  std::vector<real> z(x.size());
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = std::clamp((x[i] - base) / tau, real(-1e30), real(1e30));
  return z;
}

/// s = softmax(a(part, i)), written to s.
template <class Scores>
void softmax_of(std::size_t n, const Scores& a, real* s) {
  const Batch highest(row::fold(n, none, a, [](const auto& x, const auto& y) {
    using std::max;
    return max(x, y);
  }));
  const double sum = row::long_sums<1>(n, [&](auto part, std::size_t i) {
    const Batch e = exp(a(part, i) - highest);
    part.store(s + i, e);
    return std::array{e};
  })[0];
  const Batch scale(static_cast<real>(1 / sum));
  row::walk(n, [=](auto part, std::size_t i) { part.store(s + i, part.load(s + i) * scale); });
}

double dot(const real* a, const real* b, std::size_t n) {
  return row::long_sums<1>(n, [=](auto part, std::size_t i) {
    return std::array{part.load(a + i) * part.load(b + i)};
  })[0];
}

// ---- soft-k-max

/// p += s with s = softmax((1 - p) z).
void soft_k_max_step(std::size_t n, const real* z, real* p, real* s) {
  softmax_of(
      n,
      [=](auto part, std::size_t i) {
        return (Batch(real(1)) - part.load(p + i)) * part.load(z + i, none);
      },
      s);
  row::walk(
      n, [=](auto part, std::size_t i) { part.store(p + i, part.load(p + i) + part.load(s + i)); });
}

// Back through p_t = p_(t-1) + s_t, s_t = softmax((1 - p_(t-1)) z): with h = s (g - <s, g>), what
// reaches the scores of step t, dz gets (1 - p_(t-1)) h and g, that of p_(t-1), loses z h. The
// least score gets what the others have through z = u - min u.
double soft_k_max_vjp(Span x, std::size_t k, real tau, const real* grad, real* dx) {
  const std::size_t n = x.size(), least = std::min_element(x.begin(), x.end()) - x.begin();
  const std::vector<real> z = scaled(x, x[least], tau);
  std::vector<real> p(n), steps(k * n), g(grad, grad + n);
  for (std::size_t t = 0; t < k; ++t) soft_k_max_step(n, z.data(), p.data(), &steps[t * n]);
  std::vector<double> before(p.begin(), p.end()), dz(n);
  for (std::size_t t = k; t-- > 0;) {
    const real* s = &steps[t * n];
    const real mean = static_cast<real>(dot(s, g.data(), n));
    for (std::size_t i = 0; i < n; ++i) {
      const real h = s[i] * (g[i] - mean);
      before[i] -= s[i];
      dz[i] += (1 - before[i]) * h;
      g[i] -= z[i] * h;
    }
  }
  dz[least] -= std::accumulate(dz.begin(), dz.end(), 0.0);
  std::transform(dz.begin(), dz.end(), dx, [=](double d) { return static_cast<real>(d / tau); });
  return detail::temperature_gradient(z.data(), dx, n);
}

// ---- sequential softmax

/// s = softmax(u) and a += log(1 - s), for u = (a - max a)/tau. Returns where the largest is, and
/// 1 - s there, which s itself does not tell if it is near 1.
std::pair<std::size_t, double> sequential_step(std::size_t n, real tau, real* a, real* s) {
  const std::size_t at = std::max_element(a, a + n) - a;
  const Batch highest(a[at]);
  const real top = a[at];
  a[at] = none;  // summed apart
  const double others = row::long_sums<1>(n, [=](auto part, std::size_t i) {
    const Batch e = exp((part.load(a + i, none) - highest) / Batch(tau));
    part.store(s + i, e);
    return std::array{e};
  })[0];
  const Batch scale(static_cast<real>(1 / (1 + others)));
  row::walk(n, [=](auto part, std::size_t i) {
    const Batch si = part.load(s + i) * scale;
    part.store(s + i, si);
    part.store(a + i, part.load(a + i) + log1p(-si));
  });
  s[at] = static_cast<real>(1 / (1 + others));
  const double left = others / (1 + others);
  a[at] = static_cast<real>(top + std::log(left));
  return {at, left};
}

// Back through a_(t+1) = a_t + log(1 - s_t): with b the gradient of a_(t+1), that of s is
// g - b/(1 - s), and through the softmax a_t/tau gets h = s (g - <s, g>) - s b + s E, E_j the sum
// of b s/(1 - s) over all but j. The gradient of tau is that of the scale of all a_t, -sum_t <h_t,
// a_t> / tau^2, which by a_t = x + log(1 - s_1) + … is -(<dx, x> + sum_t <b, log(1 - s_t)>)/tau.
double sequential_vjp(Span x, std::size_t k, real tau, const real* g, real* dx) {
  const std::size_t n = x.size();
  std::vector<real> a(x.begin(), x.end()), steps(k * n);
  std::vector<std::pair<std::size_t, double>> largest(k);
  for (std::size_t t = 0; t < k; ++t) largest[t] = sequential_step(n, tau, a.data(), &steps[t * n]);
  real* b = dx;
  std::fill_n(b, n, real(0));
  double scale = 0;
  for (std::size_t t = k; t-- > 0;) {
    real* s = &steps[t * n];
    const auto [at, left] = largest[t];
    const real most = s[at], b_most = b[at];
    const double mean = dot(s, g, n);
    s[at] = 0;  // goes apart: its 1 - s may be tiny
    const Batch one(real(1));
    const auto [sum, logs] = row::long_sums<2>(n, [=](auto part, std::size_t i) {
      const Batch si = part.load(s + i), bi = part.load(b + i);
      return std::array{bi * si / (one - si), bi * log1p(-si)};
    });
    const double share = left > 0 ? b_most * most / left : 0;
    scale += logs + (left > 0 ? b_most * std::log(left) : 0);
    const Batch others(static_cast<real>(sum + share - mean)), step(1 / tau);
    row::walk(n, [=](auto part, std::size_t i) {
      const Batch si = part.load(s + i), bi = part.load(b + i);
      const Batch h = si * (part.load(g + i) - bi + others - bi * si / (one - si));
      const Batch moved = xsimd::select(si == Batch(real(0)), bi, bi + h * step);
      part.store(b + i, moved);
    });
    b[at] += static_cast<real>(most * (g[at] - mean - b_most + sum) / tau);
  }
  double product = 0;  // dx sums to 0: any score may be the origin
  for (std::size_t i = 0; i < n; ++i) product += (static_cast<double>(x[i]) - x[0]) * dx[i];
  return -(product + scale) / tau;
}

}  // namespace

Tensor SoftKMax::operator()(const Tensor& x, const TopKCount& k, const Temperature& tau) const {
  return detail::record_rowwise(
      "SoftKMax", x, k, tau,
      [](Span x, std::size_t k, real tau, real* y) {
        const std::vector<real> z = scaled(x, *std::min_element(x.begin(), x.end()), tau);
        std::vector<real> s(x.size());
        std::fill_n(y, x.size(), real(0));
        for (std::size_t t = 0; t < k; ++t) soft_k_max_step(x.size(), z.data(), y, s.data());
      },
      [](Span x, std::size_t k, real tau, const real*, const real* g, real* dx) {
        return soft_k_max_vjp(x, k, tau, g, dx);
      });
}

Tensor SequentialSoftmax::operator()(const Tensor& x, const TopKCount& k,
                                     const Temperature& tau) const {
  return detail::record_rowwise(
      "SequentialSoftmax", x, k, tau,
      [](Span x, std::size_t k, real tau, real* y) {
        std::vector<real> a(x.begin(), x.end()), s(x.size());
        std::fill_n(y, x.size(), real(0));
        for (std::size_t t = 0; t < k; ++t) {
          sequential_step(x.size(), tau, a.data(), s.data());
          row::walk(x.size(), [&](auto part, std::size_t i) {
            part.store(y + i, part.load(y + i) + part.load(&s[i]));
          });
        }
      },
      [](Span x, std::size_t k, real tau, const real*, const real* g, real* dx) {
        return sequential_vjp(x, k, tau, g, dx);
      });
}

}  // namespace xgrad::inline XGRAD_PRECISION
