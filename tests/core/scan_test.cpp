// Cumulative operations: values against definitions, zeros, infinities and NaN, accuracy, and the
// same bits on any number of threads. Derivatives are checked by the rows of the table.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real inf = std::numeric_limits<real>::infinity();
constexpr real NaN = std::numeric_limits<real>::quiet_NaN();

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

/// Gradient of sum(weights * f(x)), weights 1, 2, 3, …
template <class F>
Tensor gradient_of(const F& f, Tensor x) {
  x.requires_grad_();
  Tape tape;
  const Tensor y = f(x);
  return tape.gradient(y, x, {}, reshape(arange(1, static_cast<real>(y.size() + 1)), y.shape()));
}

}  // namespace

TEST_CASE("cumsum and cumprod run along any axis", "[ops][scan]") {
  const Tensor x = reshape(arange(1, 13), {2, 3, 2});
  CHECK(values(cumsum(x, 0)) == std::vector<real>{1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18});
  CHECK(values(cumsum(x, 1)) == std::vector<real>{1, 2, 4, 6, 9, 12, 7, 8, 16, 18, 27, 30});
  CHECK(values(cumsum(x, -1)) == std::vector<real>{1, 3, 3, 7, 5, 11, 7, 15, 9, 19, 11, 23});
  CHECK(values(cumprod(x, -2)) == std::vector<real>{1, 2, 3, 8, 15, 48, 7, 8, 63, 80, 693, 960});
  CHECK(cumsum(zeros({2, 0}), 1).shape() == Shape{2, 0});
  CHECK(cumprod(zeros({0, 2}), 1).shape() == Shape{0, 2});
}

TEST_CASE("rows that advance side by side do not mix", "[ops][scan]") {
  for (const std::size_t rows : {1, 3, 4, 5, 16, 33}) {
    const Tensor x = reshape(arange(0, static_cast<real>(rows * 70)), {rows, 70});
    const Tensor sums = cumsum(x, 1), logs = logcumsumexp(x, 1);
    for (std::size_t row = 0; row < rows; ++row) {
      const auto at = static_cast<std::int64_t>(row);
      const Tensor alone = xgrad::slice(x, 0, at, at + 1);
      CHECK(values(xgrad::slice(sums, 0, at, at + 1)) == values(cumsum(alone, 1)));
      CHECK(values(xgrad::slice(logs, 0, at, at + 1)) == values(logcumsumexp(alone, 1)));
    }
  }
}

TEST_CASE("cumprod has the right gradient with no, one and several zeros", "[ops][scan]") {
  const Tensor x = tensor({2, 0, 3, 4, 0, 5, 0, 2, 1, -2, 3, -4}, {3, 4});
  CHECK(values(gradient_of([](const Tensor& t) { return cumprod(t, 1); }, x)) ==  // as PyTorch
        std::vector<real>{1, 118, 0, 0, 35, 0, 0, 0, 211, -101, 74, -72});
}

TEST_CASE("logcumsumexp neither overflows nor loses infinities", "[ops][scan]") {
  const auto f = [](const Tensor& t) { return logcumsumexp(t, 0); };
  const Tensor x = tensor({-inf, -inf, 1, -2, 1000, 999, -1000}), y = f(x), g = gradient_of(f, x);
  const std::vector<double> expected = {1, 1.04858735, 1000, 1000.31326, 1000.31326};
  // As PyTorch, but 0 where it has NaN: log(e^-inf + …) does not depend on the first two.
  const std::vector<double> slopes = {0, 0, 6.81029651, 0.189703493, 14.5037615, 3.49623848, 0};
  CHECK(y.data()[0] == -inf);
  CHECK(y.data()[1] == -inf);
  for (std::size_t i = 2; i < 7; ++i) CHECK_THAT(y.data()[i], WithinRel(expected[i - 2], 1e-6));
  // In float the last place of y = 1000, hence the relative error of e^(x - y), is 6e-5.
  for (std::size_t i = 0; i < 7; ++i) CHECK_THAT(g.data()[i], WithinAbs(slopes[i], 1e-3));
  CHECK(values(f(tensor({1, inf, 2, inf}))) == std::vector<real>{1, inf, inf, inf});
  const std::vector<real> poisoned = values(f(tensor({-inf, NaN, 1, inf})));
  CHECK(poisoned[0] == -inf);
  CHECK((std::isnan(poisoned[1]) && std::isnan(poisoned[2]) && std::isnan(poisoned[3])));
}

TEST_CASE("linear_recurrence runs both ways and does not read the gain before the first step",
          "[ops][scan]") {
  const Tensor a = tensor({NaN, 2, 0, 3}), b = tensor({1, 10, 100, 1000});
  CHECK(values(linear_recurrence(a, b, 0)) == std::vector<real>{1, 12, 100, 1300});
  CHECK(values(linear_recurrence(a, b, 0, true)) == std::vector<real>{21, 10, 3100, 1000});
  CHECK(values(linear_recurrence(scalar(1), b, 0)) == values(cumsum(b, 0)));
}

TEST_CASE("long running sums and products stay accurate", "[ops][scan]") {
  constexpr std::size_t n = (std::size_t{1} << 24) + 1000;
  CHECK(cumsum(ones({n}), 0).data()[n - 1] == static_cast<real>(n));
  const Tensor factors = concat({full({10}, real(1e30)), full({10}, real(1e-30))});
  CHECK_THAT(prod(factors).item(), WithinRel(real(1), real(1e-5)));
}

TEST_CASE("logcumsumexp is accurate on lines of any number, length and direction", "[ops][scan]") {
  Rng rng(5);
  for (const Shape& shape : {Shape{37, 200, 1}, Shape{2, 130, 300}, Shape{3, 65, 5},
                             Shape{1, 1, 40}, Shape{1, 100000, 1}})
    for (const real slope : {real(0), real(0.01), real(-2)}) {
      const std::size_t n = shape[1], inner = shape[2];
      const Tensor steps = reshape(arange(0, static_cast<real>(n)), {n, 1});
      const Tensor x = randn(shape, rng) + steps * slope, y = logcumsumexp(x, 1);
      double worst = 0;
      for (std::size_t line = 0; line < shape[0] * inner; ++line) {
        const std::size_t start = line / inner * n * inner + line % inner;
        long double high = x.data()[start], rest = 0;
        for (std::size_t i = start + inner; i < start + n * inner; i += inner) {
          const long double next = x.data()[i];
          rest = next > high ? (rest + 1) * std::exp(high - next) : rest + std::exp(next - high);
          high = std::max(high, next);
          const long double expected = high + std::log1p(rest);
          worst = std::max(
              worst, static_cast<double>(std::abs(y.data()[i] - expected) / (1 + std::abs(high))));
        }
      }
      CHECK(worst < (sizeof(real) == 8 ? 1e-13 : 5e-7));
    }
  // What is small beside 1 is not lost.
  CHECK_THAT(logcumsumexp(tensor({0, -30}), 0).data()[1], WithinRel(std::exp(-30.0), 1e-6));
}

TEST_CASE("scans have the same bits on any number of threads", "[ops][scan]") {
  Rng rng(3);
  for (const Shape& shape : {Shape{300, 200, 1}, Shape{2, 300, 700}, Shape{1, 50000, 3}}) {
    const Tensor x = rand(shape, rng) + real(0.5);
    for (const auto f : {cumsum, cumprod, logcumsumexp}) {
      set_num_threads(1);
      const auto one = values(f(x, 1));
      set_num_threads(3);
      CHECK(values(f(x, 1)) == one);
    }
  }
}
