// Running sums, products and recurrences; see scan.hpp.
// Each step waits for the last one, so several lines, which are independent, advance side by side:
// neighbouring columns, or four rows, come near the speed of memory; a single row is bound by
// latency. (logcumsumexp: a register of lines, bound by the arithmetic of exp and log1p.) The state
// is a double in either precision, so that long float sums neither stall nor gather errors.
#include <xgrad/core/kernels/scan.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

constexpr std::size_t strip = 256;  // columns that advance side by side

/// Calls body(first number, columns) for the strips of all blocks of n rows and `inner` columns.
template <class Body>
void for_strips(Line line, const Body& body) {
  const auto [outer, n, inner] = line;
  const std::size_t strips = (inner + strip - 1) / strip;
  parallel_for(outer * strips, row::grain(n * std::min(inner, strip)),
               [&, n = n, inner = inner](std::size_t begin, std::size_t end) {
                 for (std::size_t task = begin; task < end; ++task) {
                   const std::size_t column = task % strips * strip;
                   body(task / strips * n * inner + column, std::min(strip, inner - column));
                 }
               });
}

/// `together` rows of n numbers, one after the other in memory.
template <std::size_t together, class Step>
void scan_rows(const real* x, std::size_t first, std::size_t n, bool reverse, real* y,
               const Step& step) {
  const auto at = [&](std::size_t row, std::size_t k) {
    return first + row * n + (reverse ? n - 1 - k : k);
  };
  double state[together];
  for (std::size_t row = 0; row < together; ++row) state[row] = y[at(row, 0)] = x[at(row, 0)];
  for (std::size_t k = 1; k < n; ++k)
    for (std::size_t row = 0; row < together; ++row)
      y[at(row, k)] = static_cast<real>(state[row] = step(state[row], at(row, k)));
}

/// y[first] = x[first]; from then on y[i] = step(y[i - 1], i), where i counts in memory.
template <std::size_t together = 4, class Step>
void scan(const real* x, Line line, bool reverse, real* y, const Step& step) {
  const auto [outer, n, inner] = line;
  if (outer * n * inner == 0) return;
  if (inner == 1) {
    parallel_for(outer, row::grain(n), [&, n = n](std::size_t begin, std::size_t end) {
      for (; begin + together <= end; begin += together)
        scan_rows<together>(x, begin * n, n, reverse, y, step);
      for (; begin < end; ++begin) scan_rows<1>(x, begin * n, n, reverse, y, step);
    });
    return;
  }
  for_strips(line, [&, n = n, inner = inner](std::size_t first, std::size_t columns) {
    const auto at = [&](std::size_t k) { return first + (reverse ? n - 1 - k : k) * inner; };
    double state[strip];
    std::copy_n(x + at(0), columns, state);
    std::copy_n(x + at(0), columns, y + at(0));
    for (std::size_t k = 1; k < n; ++k) {
      const std::size_t i = at(k);
      for (std::size_t j = 0; j < columns; ++j)
        y[i + j] = static_cast<real>(state[j] = step(state[j], i + j));
    }
  });
}

/// log(e^x_0 + … + e^x_i) for a register of lines at once. Of the terms seen so far, `high` is the
/// largest exponent and `rest` the sum of all others, times e^-high: nothing overflows, and a small
/// sum is not lost beside 1.
struct RunningLogsumexp {
  Batch start(const Batch& x) { return high = x; }
  Batch step(const Batch& x) {
    // Equal infinities have no difference. A NaN stays in `rest`, or in `high` if it comes first.
    const Batch e = exp(select(x == high, Batch(0), -abs(x - high)));
    const auto rises = x > high;
    alignas(Batch) real scale[row::lanes], term[row::lanes], sum[row::lanes];
    select(rises, e, Batch(1)).store_aligned(scale);  // rest = rises ? (rest + 1) e : rest + e
    e.store_aligned(term);
    for (std::size_t lane = 0; lane < row::lanes; ++lane) {
      rest[lane] = rest[lane] * scale[lane] + term[lane];
      sum[lane] = static_cast<real>(rest[lane]);
    }
    high = select(rises, x, high);
    return high + log1p(Batch::load_aligned(sum));
  }

  Batch high;
  double rest[row::lanes] = {};
};

/// A register of rows of n numbers, of which there are `rows`, a tile at a time: transposed into
/// registers and back.
void logcumsumexp_rows(const real* x, std::size_t rows, std::size_t n, real* y) {
  constexpr std::size_t depth = 64;
  alignas(Batch) real tile[depth][row::lanes] = {};
  RunningLogsumexp sum;
  for (std::size_t first = 0; first < n; first += depth) {
    const std::size_t steps = std::min(depth, n - first);
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t k = 0; k < steps; ++k) tile[k][row] = x[row * n + first + k];
    for (std::size_t k = 0; k < steps; ++k) {
      const Batch next = Batch::load_aligned(tile[k]);
      (first + k == 0 ? sum.start(next) : sum.step(next)).store_aligned(tile[k]);
    }
    for (std::size_t row = 0; row < rows; ++row)
      for (std::size_t k = 0; k < steps; ++k) y[row * n + first + k] = tile[k][row];
  }
}

/// n steps of at most a strip of columns, `stride` apart.
void logcumsumexp_columns(const real* x, std::size_t n, std::size_t columns, std::size_t stride,
                          real* y) {
  RunningLogsumexp sums[strip / row::lanes];
  for (std::size_t k = 0; k < n; ++k, x += stride, y += stride)
    row::walk(columns, [&](auto part, std::size_t j) {
      RunningLogsumexp& sum = sums[j / row::lanes];
      const Batch next = part.load(x + j);
      part.store(y + j, k == 0 ? sum.start(next) : sum.step(next));
    });
}

}  // namespace

void cumsum(const real* x, Line line, bool reverse, real* y) {
  scan(x, line, reverse, y, [x](double sum, std::size_t i) { return sum + x[i]; });
}

void cumprod(const real* x, Line line, real* y) {
  scan(x, line, false, y, [x](double product, std::size_t i) { return product * x[i]; });
}

void logcumsumexp(const real* x, Line line, real* y) {
  const auto [outer, n, inner] = line;
  if (outer * n * inner == 0) return;
  if (inner == 1) {
    const std::size_t groups = (outer + row::lanes - 1) / row::lanes;
    parallel_for(
        groups, row::grain(row::lanes * n),
        [=, outer = outer, n = n](std::size_t begin, std::size_t end) {
          for (std::size_t row = begin * row::lanes; row < end * row::lanes; row += row::lanes)
            if (row < outer)
              logcumsumexp_rows(x + row * n, std::min(row::lanes, outer - row), n, y + row * n);
        });
    return;
  }
  for_strips(line, [=, n = n, inner = inner](std::size_t first, std::size_t columns) {
    logcumsumexp_columns(x + first, n, columns, inner, y + first);
  });
}

void linear_recurrence(const real* a, const real* b, Line line, bool reverse, real* h) {
  const real* gain = reverse ? a + line.inner : a;
  scan<2>(b, line, reverse, h,
          [gain, b](double state, std::size_t i) { return gain[i] * state + b[i]; });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
