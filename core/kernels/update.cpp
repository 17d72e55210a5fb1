// Optimizer updates; see update.hpp. Plain loops that become vector code: no branch depends on an
// element, and `omp simd` promises the compiler that no buffer overlaps another.
#include <xgrad/core/kernels/update.hpp>

#include <cmath>
#include <vector>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

constexpr std::size_t grain = std::size_t{1} << 15;  // elements; a block takes some 20 microseconds

}  // namespace

void sgd(std::size_t count, real* p, const real* g, real* b, const SgdStep& step) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    const SgdStep s = step;                   // a copy that no store below can change
    const bool decays = s.weight_decay != 0;  // 0 times an infinite parameter would be NaN
    if (!b) {
#pragma omp simd
      for (std::size_t i = begin; i < end; ++i) {
        const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
        p[i] -= s.lr * d;
      }
      return;
    }
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) {
      const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
      const real sum = s.momentum * b[i] + s.new_share * d;
      b[i] = sum;
      p[i] -= s.lr * (s.nesterov ? d + s.momentum * sum : sum);
    }
  });
}

void adam(std::size_t count, real* p, const real* g, real* m, real* v, const AdamStep& step) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    const AdamStep s = step;
    const bool decays = s.weight_decay != 0;
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) {
      const real d = decays ? g[i] + s.weight_decay * p[i] : g[i];
      const real m_new = m[i] + s.new_share1 * (d - m[i]);
      const real v_new = s.beta2 * v[i] + s.new_share2 * d * d;
      m[i] = m_new;
      v[i] = v_new;
      p[i] = s.keep * p[i] - s.lr * m_new / (std::sqrt(v_new) / s.root2 + s.eps);
    }
  });
}

double sum_of_squares(std::size_t count, const real* x) {
  constexpr std::size_t lanes = 16;  // sums side by side: one would wait for its last addition
  std::vector<double> partial((count + grain - 1) / grain);
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    double sums[lanes] = {};
    std::size_t i = begin;
    for (; i + lanes <= end; i += lanes)
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const double value = x[i + lane];
        sums[lane] += value * value;
      }
    for (; i < end; ++i) sums[0] += static_cast<double>(x[i]) * x[i];
    double& total = partial[begin / grain];
    for (const double sum : sums) total += sum;
  });
  double total = 0;
  for (const double part : partial) total += part;
  return total;
}

void scale(std::size_t count, real* x, real factor) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    const real f = factor;
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) x[i] *= f;
  });
}

void limit_magnitude(std::size_t count, real* x, real limit) {
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    const real high = limit;
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) {
      const real low_side = x[i] < -high ? -high : x[i];  // false for NaN, which so stays
      x[i] = low_side > high ? high : low_side;
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
