// Running sums, products and recurrences; see scan.hpp.
// Along a row bound by latency: each step waits for the last one. Across columns, whose steps are
// independent, by memory. (logcumsumexp: by its exponential and logarithm.) The state is a double
// in either precision, so that long float sums neither stall nor gather errors.
#include <xgrad/core/kernels/scan.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

/// y[first] = x[first]; from then on y[i] = step(y[i - 1], i), where i counts in memory.
template <class Step>
void scan(const real* x, Line line, bool reverse, real* y, const Step& step) {
  const auto [outer, n, inner] = line;
  if (outer * n * inner == 0) return;
  constexpr std::size_t strip = 256;
  const std::size_t strips = (inner + strip - 1) / strip;
  const std::size_t grain = 32768 / (n * std::min(inner, strip)) + 1;
  parallel_for(
      outer * strips, grain, [&, n = n, inner = inner](std::size_t begin, std::size_t end) {
        for (std::size_t task = begin; task < end; ++task) {
          const std::size_t column = task % strips * strip,
                            columns = std::min(strip, inner - column);
          const std::size_t block = task / strips * n * inner + column;
          const auto row = [&](std::size_t k) { return block + (reverse ? n - 1 - k : k) * inner; };
          if (columns == 1) {  // the state stays in a register
            double state = y[row(0)] = x[row(0)];
            for (std::size_t k = 1; k < n; ++k)
              y[row(k)] = static_cast<real>(state = step(state, row(k)));
          } else {
            double state[strip];
            std::copy_n(x + row(0), columns, state);
            std::copy_n(x + row(0), columns, y + row(0));
            for (std::size_t k = 1; k < n; ++k) {
              const std::size_t i = row(k);
              for (std::size_t j = 0; j < columns; ++j)
                y[i + j] = static_cast<real>(state[j] = step(state[j], i + j));
            }
          }
        }
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
  scan(x, line, false, y, [x](double sum, std::size_t i) {
    // log(e^a + e^b) = a + log(1 + e^(b - a)) for a >= b. Equal infinities have no difference. A
    // NaN reaches the result from either place.
    const double next = x[i], high = sum > next ? sum : next, low = sum > next ? next : sum;
    return low == high ? high + std::numbers::ln2 : high + std::log1p(std::exp(low - high));
  });
}

void linear_recurrence(const real* a, const real* b, Line line, bool reverse, real* h) {
  const real* gain = reverse ? a + line.inner : a;
  scan(b, line, reverse, h,
       [gain, b](double state, std::size_t i) { return gain[i] * state + b[i]; });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
