// Optimizer updates; see update.hpp. Plain loops that become vector code: no branch depends on an
// element, and `omp simd` promises the compiler that no buffer overlaps another.
#include <xgrad/core/kernels/update.hpp>

#include <cmath>
#include <vector>

#include <xgrad/core/kernels/map.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

constexpr std::size_t grain = std::size_t{1} << 15;  // elements; a block takes some 20 microseconds

void sgd_block(std::size_t count, real* p, const real* g, SgdStep s) {
  const bool decays = s.weight_decay != 0;  // 0 times an infinite parameter would be NaN
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i) {
    const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
    p[i] -= s.lr * d;
  }
}

void momentum_block(std::size_t count, real* p, const real* g, real* b, SgdStep s) {
  const bool decays = s.weight_decay != 0;
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i) {
    const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
    const real sum = s.momentum * b[i] + s.new_share * d;
    b[i] = sum;
    p[i] -= s.lr * (s.nesterov ? d + s.momentum * sum : sum);
  }
}

void adam_block(std::size_t count, real* p, const real* g, real* m, real* v, AdamStep s) {
  const bool decays = s.weight_decay != 0;
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i) {
    const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
    const real m_new = m[i] + s.new_share1 * (d - m[i]);
    const real v_new = s.beta2 * v[i] + s.new_share2 * d * d;
    m[i] = m_new;
    v[i] = v_new;
    p[i] = s.keep * p[i] - s.lr * m_new / (std::sqrt(v_new) / s.root2 + s.eps);
  }
}

double sum_of_squares_block(std::size_t count, const real* x) {
  constexpr std::size_t lanes = 16;  // sums side by side: one would wait for its last addition
  double sums[lanes] = {};
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const double value = x[i + lane];
      sums[lane] += value * value;
    }
  for (; i < count; ++i) sums[0] += static_cast<double>(x[i]) * x[i];
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

void sgd(std::size_t count, real* p, const real* g, real* b, const SgdStep& step) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    if (b)
      momentum_block(end - begin, p + begin, g + begin, b + begin, step);
    else
      sgd_block(end - begin, p + begin, g + begin, step);
  });
}

void adam(std::size_t count, real* p, const real* g, real* m, real* v, const AdamStep& step) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    adam_block(end - begin, p + begin, g + begin, m + begin, v + begin, step);
  });
}

double sum_of_squares(std::size_t count, const real* x) {
  std::vector<double> partial((count + grain - 1) / grain);
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    partial[begin / grain] = sum_of_squares_block(end - begin, x + begin);
  });
  double total = 0;
  for (const double part : partial) total += part;
  return total;
}

void scale(std::size_t count, real* x, real factor) {
  map(
      count, x, [factor](const Batch& value) { return value * factor; }, x);
}

void limit_magnitude(std::size_t count, real* x, real limit) {
  const Batch high(limit), low(-limit);
  map(
      count, x,
      [high, low](const Batch& value) {  // comparisons with NaN are false, so it stays
        return xsimd::select(value > high, high, xsimd::select(value < low, low, value));
      },
      x);
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
