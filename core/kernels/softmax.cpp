// Softmax, its relatives and cross-entropy; see softmax.hpp.
// Bound by the arithmetic of exp while a row fits the second cache: the row is fetched from memory
// once, then read again for the maximum, the exponentials and the scaling. One thread works on a
// row.
#include <xgrad/core/kernels/softmax.hpp>

#include <cmath>
#include <limits>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

constexpr real lowest =
    -std::numeric_limits<real>::infinity();  // exp makes 0 of it: the filling of a row's end

/// Calls body(row) for all rows, on all threads.
template <class Body>
void for_rows(std::size_t rows, std::size_t n, const Body& body) {
  parallel_for(rows, row::grain(n), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) body(i);
  });
}

/// What is subtracted from a row before exp so that nothing overflows: its maximum. An infinite one
/// would give inf - inf, so such a row is left as it is. A NaN that is missed here is met again by
/// exp.
real shift_of(const real* x, std::size_t n) {
  const real highest = row::fold(
      n, lowest, [x](auto part, std::size_t j) { return part.load(x + j, lowest); },
      [](const auto& a, const auto& b) {
        using std::max;
        return max(a, b);
      });
  return std::isinf(highest) ? 0 : highest;
}

real logsumexp_of(const real* x, std::size_t n) {
  const real shift = shift_of(x, n);
  return shift + std::log(row::sum(n, [=](auto part, std::size_t j) {
           return exp(part.load(x + j, lowest) - Batch(shift));
         }));
}

}  // namespace

void logsumexp(const real* x, std::size_t rows, std::size_t n, real* y) {
  for_rows(rows, n, [=](std::size_t i) { y[i] = logsumexp_of(x + i * n, n); });
}

void softmax(const real* x, std::size_t rows, std::size_t n, real* y) {
  for_rows(rows, n, [=](std::size_t i) {
    const real* from = x + i * n;
    real* to = y + i * n;
    const Batch shift(shift_of(from, n));
    const real total = row::sum(n, [=](auto part, std::size_t j) {
      const Batch e = exp(part.load(from + j, lowest) - shift);
      part.store(to + j, e);
      return e;
    });
    const Batch scale(total == 0 ? 0 : 1 / total);  // 0: a row of -inf
    row::walk(n, [=](auto part, std::size_t j) {
      row::prefetch(from + n + j);
      part.store(to + j, part.load(to + j) * scale);
    });
  });
}

void log_softmax(const real* x, std::size_t rows, std::size_t n, real* y) {
  for_rows(rows, n, [=](std::size_t i) {
    const real* from = x + i * n;
    real* to = y + i * n;
    // Written in the pass that the exponentials rule, so that memory works meanwhile. x - max is
    // nearly exact, which x - logsumexp is not where both are large.
    const Batch shift(shift_of(from, n));
    const real total = row::sum(n, [=](auto part, std::size_t j) {
      const Batch below = part.load(from + j, lowest) - shift;
      part.store(to + j, below);
      return exp(below);
    });
    const Batch log_total(total == 0 ? 0 : std::log(total));  // 0: a row of -inf
    row::walk(n, [=](auto part, std::size_t j) {
      row::prefetch(from + n + j);
      part.store(to + j, part.load(to + j) - log_total);
    });
  });
}

void softmax_vjp(const real* grad, const real* y, std::size_t rows, std::size_t n, real* dx) {
  for_rows(rows, n, [=](std::size_t i) {
    const real *g = grad + i * n, *p = y + i * n;
    real* to = dx + i * n;
    const Batch dot(
        row::sum(n, [=](auto part, std::size_t j) { return part.load(g + j) * part.load(p + j); }));
    row::walk(n, [=](auto part, std::size_t j) {
      row::prefetch(g + n + j);
      row::prefetch(p + n + j);
      part.store(to + j, part.load(p + j) * (part.load(g + j) - dot));
    });
  });
}

void log_softmax_vjp(const real* grad, const real* y, std::size_t rows, std::size_t n, real* dx) {
  for_rows(rows, n, [=](std::size_t i) {
    const real *g = grad + i * n, *log_p = y + i * n;
    real* to = dx + i * n;
    const Batch total(row::sum(n, [=](auto part, std::size_t j) { return part.load(g + j); }));
    row::walk(n, [=](auto part, std::size_t j) {
      row::prefetch(g + n + j);
      row::prefetch(log_p + n + j);
      part.store(to + j, part.load(g + j) - exp(part.load(log_p + j)) * total);
    });
  });
}

void cross_entropy(const real* x, Targets targets, real scale, std::size_t rows, std::size_t n,
                   real* loss, real* dx) {
  for_rows(rows, n, [=](std::size_t i) {
    const real* logits = x + i * n;
    real* to = dx ? dx + i * n : nullptr;
    const std::int64_t target = targets.targets[i];
    if (target == targets.ignore) {
      loss[i] = 0;
      if (to) std::fill_n(to, n, real(0));
      return;
    }
    const real shift = shift_of(logits, n);
    const real total = row::sum(n, [=](auto part, std::size_t j) {
      const Batch e = exp(part.load(logits + j, lowest) - Batch(shift));
      if (to) part.store(to + j, e);
      return e;
    });
    // -sum_j q_j (x_j - lse) = lse - sum_j q_j x_j, as q sums to 1
    const real lse = shift + std::log(total), s = targets.smoothing, size = static_cast<real>(n);
    real expected = logits[target];
    if (s != 0)
      expected = (1 - s) * expected + s / size * row::sum(n, [=](auto part, std::size_t j) {
                                        return part.load(logits + j);
                                      });
    loss[i] = lse - expected;
    if (!to) return;
    const Batch factor(scale / total), uniform(scale * s / size);
    row::walk(n, [=](auto part, std::size_t j) {
      row::prefetch(logits + n + j);
      part.store(to + j, part.load(to + j) * factor - uniform);
    });
    to[target] -= scale * (1 - s);
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
