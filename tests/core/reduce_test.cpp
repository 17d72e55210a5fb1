// Reductions: values against NumPy, ties, NaN, empty axes, accuracy, and the same bits on any
// number of threads. Derivatives are checked by the rows of op_table.cpp.
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

Tensor random(const Ints& shape) {
  Rng rng(7);
  return randn(shape, rng);
}

Tensor counting(const Ints& shape) {  // 0, 1, 2, …
  Tensor x = zeros(shape);
  for (std::size_t i = 0; i < x.size(); ++i) x.mutable_data()[i] = static_cast<real>(i);
  return x;
}

/// Gradient of sum(weights * f(x)), weights 1, 2, 3, …
template <class F>
Tensor gradient_of(const F& f, Tensor x) {
  x.requires_grad_();
  Tape tape;
  const Tensor y = f(x);
  return tape.gradient(y, x, {}, counting(y.shape()) + real(1));
}

}  // namespace

TEST_CASE("sum reduces any set of axes as NumPy does", "[ops][reduce]") {
  const Tensor x = counting({2, 3, 2});
  CHECK(sum(x).item() == 66);
  CHECK(sum(x).shape() == Shape{});
  CHECK(values(sum(x, 0)) == std::vector<real>{6, 8, 10, 12, 14, 16});
  CHECK(values(sum(x, 1)) == std::vector<real>{6, 9, 24, 27});
  CHECK(values(sum(x, -1)) == std::vector<real>{1, 5, 9, 13, 17, 21});
  CHECK(values(sum(x, {0, 2})) == std::vector<real>{14, 22, 30});
  CHECK(values(sum(x, {2, 0, 1})) == std::vector<real>{66});
  CHECK(sum(x, {0, 2}, keepdims).shape() == Shape{1, 3, 1});
  CHECK(values(sum(x, {})) == values(x));
  CHECK(values(mean(x, {0, -1}, keepdims)) == std::vector<real>{3.5, 5.5, 7.5});
  CHECK(mean(x).item() == 5.5);
}

TEST_CASE("an empty sum is 0, an empty mean NaN, an empty logsumexp -inf", "[ops][reduce]") {
  CHECK(values(sum(zeros({2, 0}), 1)) == std::vector<real>{0, 0});
  CHECK(sum(zeros({2, 0}), 0).shape() == Shape{0});
  CHECK(std::isnan(mean(zeros({0})).item()));
  CHECK(values(logsumexp(zeros({2, 0}), 1)) == std::vector<real>{-inf, -inf});
}

TEST_CASE("a sum of 2^25 ones is exact", "[ops][reduce]") {
  constexpr std::size_t n = std::size_t{1} << 25;
  const Tensor x = ones({n});
  CHECK(sum(x).item() == static_cast<real>(n));
  CHECK(values(sum(reshape(x, {-1, 2}), 0)) == std::vector<real>(2, n / 2));
  CHECK(mean(x).item() == 1);
}

TEST_CASE("sums over every kind of axis agree with sums in long double", "[ops][reduce]") {
  for (const Shape& shape : {Shape{3, 70000, 1}, Shape{1, 70000, 3}, Shape{2, 5, 5000},
                             Shape{40, 1, 37}, Shape{1, 130, 5000}}) {
    const Tensor x = random(shape), y = sum(x, 1);
    const std::size_t n = shape[1], inner = shape[2];
    double worst = 0;
    for (std::size_t k = 0; k < y.size(); ++k) {
      long double exact = 0, size = 1;
      for (std::size_t i = 0; i < n; ++i) {
        const real v = x.data()[(k / inner * n + i) * inner + k % inner];
        exact += v;
        size += std::abs(v);
      }
      worst = std::max(worst, static_cast<double>(std::abs(y.data()[k] - exact) / size));
    }
    INFO("shape " << to_string(shape));
    CHECK(worst < 4 * std::numeric_limits<real>::epsilon());
  }
}

TEST_CASE("var divides by n - correction", "[ops][reduce]") {
  const Tensor x = tensor({1, 2, 4, 8, 16, 32}, {2, 3});
  CHECK_THAT(var(x, 1).data()[0], WithinRel(7.0 / 3, 1e-6));
  CHECK_THAT(var(x, 1).data()[1], WithinRel(448.0 / 3, 1e-6));
  CHECK_THAT(var(x, 1, false, 0).data()[0], WithinRel(14.0 / 9, 1e-6));
  CHECK_THAT(var(x, {0, 1}).item(), WithinRel(140.7, 1e-6));
  CHECK(std::isnan(var(ones({1}), 0).item()));
}

TEST_CASE("var is accurate, also far from 0, in value and gradient", "[ops][reduce]") {
  for (const Shape& shape :
       {Shape{5, 37, 1}, Shape{1, 100000, 1}, Shape{3, 40, 50}, Shape{2, 4097, 1}})
    for (const real offset : {real(0), real(100)}) {
      Tensor x = random(shape) + offset;
      x.requires_grad_();
      Tape tape;
      const Tensor y = var(x, 1);
      const Tensor g = tape.gradient(y, x, {}, full(y.shape(), real(1.5)));
      const std::size_t n = shape[1], inner = shape[2];
      double worst = 0, worst_slope = 0;
      for (std::size_t line = 0; line < y.size(); ++line) {
        const std::size_t start = line / inner * n * inner + line % inner;
        long double mean = 0, squares = 0;
        for (std::size_t i = 0; i < n; ++i) mean += x.data()[start + i * inner];
        mean /= n;
        for (std::size_t i = 0; i < n; ++i) {
          const long double apart = x.data()[start + i * inner] - mean;
          squares += apart * apart;
          worst_slope = std::max(
              worst_slope,
              static_cast<double>(std::abs(g.data()[start + i * inner] * (n - 1) - 3 * apart)));
        }
        const long double expected = squares / (n - 1);
        worst = std::max(worst, static_cast<double>(std::abs(y.data()[line] / expected - 1)));
      }
      CHECK(worst < 10 * std::numeric_limits<real>::epsilon());
      CHECK(worst_slope < 40 * (1 + offset) * std::numeric_limits<real>::epsilon());
    }
  Tensor x = random({4, 6}).requires_grad_();
  Tape tape;
  const Tensor y = var(x, 0) + var(x, 0, false, 0);  // two contributions to one gradient
  const Tensor expected = tape.gradient(y, x, {.record = true, .retain = true}, ones({6}));
  const Tensor g = tape.gradient(y, x, {}, ones({6}));
  for (std::size_t i = 0; i < g.size(); ++i)
    CHECK_THAT(g.data()[i], WithinAbs(expected.data()[i], 1e-6));
  CHECK(std::isnan(var(tensor({1, inf, 2}), 0).item()));
  CHECK(std::isnan(var(tensor({1, NaN, 2}), 0).item()));
  CHECK(var(zeros({0, 3}), 1).shape() == Shape{0});
}

TEST_CASE("max and min share the gradient among ties", "[ops][reduce]") {
  const Tensor x = tensor({1, 3, 3, 2, 2, 2}, {2, 3});
  CHECK(values(max(x, 1)) == std::vector<real>{3, 2});
  CHECK(values(min(x, 0)) == std::vector<real>{1, 2, 2});
  const real third = real(2) * (real(1) / 3);
  CHECK(values(gradient_of([](const Tensor& t) { return max(t, 1); }, x)) ==
        std::vector<real>{0, 0.5, 0.5, third, third, third});
  CHECK(values(gradient_of([](const Tensor& t) { return max(t); }, x)) ==
        std::vector<real>{0, 0.5, 0.5, 0, 0, 0});
  // Ties over two axes that are apart: four of the six numbers in column 0 are equal.
  const Tensor cube = tensor({5, 0, 5, 0, 1, 0, 5, 0, 5, 0, 2, 0}, {2, 3, 2});
  CHECK(values(gradient_of(
            [](const Tensor& t) {
              return slice(max(t, {0, 1}), 0, 0, 1);
            },
            cube)) == std::vector<real>{0.25, 0, 0.25, 0, 0, 0, 0.25, 0, 0.25, 0, 0, 0});
}

TEST_CASE("max and min let NaN win wherever it stands, and know infinities", "[ops][reduce]") {
  for (const std::size_t n : {1, 3, 16, 67, 200})
    for (std::size_t at = 0; at < n; ++at) {
      Tensor x = random({n});
      x.mutable_data()[at] = NaN;
      CHECK(std::isnan(max(x).item()));
      CHECK(std::isnan(min(x).item()));
      CHECK(std::isnan(max(reshape(x, {n, 1}), 0).item()));
      const Tensor columns = max(broadcast_to(reshape(x, {n, 1}), {n, 20}), 0);
      CHECK(std::isnan(columns.data()[0]));
      CHECK(std::isnan(columns.data()[19]));
      x.mutable_data()[at] = 100;
      CHECK(max(x).item() == 100);
    }
  CHECK(max(tensor({-inf, -inf})).item() == -inf);
  CHECK(min(tensor({inf, 3})).item() == 3);
}

TEST_CASE("logsumexp neither overflows nor loses infinities", "[ops][reduce]") {
  const Tensor x = tensor({1000, 1000, -inf, -inf, inf, 1, NaN, 1}, {4, 2});
  const Tensor y = logsumexp(x, 1);
  CHECK_THAT(y.data()[0], WithinRel(1000 + std::log(2.0), 1e-6));
  CHECK(y.data()[1] == -inf);
  CHECK(y.data()[2] == inf);
  CHECK(std::isnan(y.data()[3]));
  CHECK(values(gradient_of([](const Tensor& t) { return logsumexp(t, 0); },
                           tensor({-inf, -inf}))) == std::vector<real>{0, 0});
}

TEST_CASE("sum_to undoes broadcasting", "[ops][reduce]") {
  const Tensor x = counting({2, 3, 2});
  CHECK(values(sum_to(x, {2})) == std::vector<real>{30, 36});
  CHECK(values(sum_to(x, {3, 1})) == std::vector<real>{14, 22, 30});
  CHECK(values(sum_to(x, {2, 1, 2})) == std::vector<real>{6, 9, 24, 27});
  CHECK(sum_to(x, {}).item() == 66);
  CHECK(sum_to(x, {1, 1, 1}).shape() == Shape{1, 1, 1});
  CHECK(values(sum_to(x, {2, 3, 2})) == values(x));
  CHECK(values(sum_to(zeros({0, 2}), {2})) == std::vector<real>{0, 0});
}

TEST_CASE("prod has the right gradient with no, one and several zeros", "[ops][reduce]") {
  const Tensor x = tensor({2, 0, 3, 4, 0, 5, 0, 2, 1, -2, 3, -4}, {3, 4});
  CHECK(values(prod(x, 1)) == std::vector<real>{0, 0, 24});
  CHECK(prod(slice(x, 0, 2, 3)).item() == 24);
  CHECK(prod(x, {0, 1}, keepdims).shape() == Shape{1, 1});
  CHECK(values(gradient_of([](const Tensor& t) { return prod(t, 1); }, x)) ==  // as PyTorch
        std::vector<real>{0, 24, 0, 0, 0, 0, 0, 0, 72, -36, 24, -18});
  CHECK(values(prod(zeros({2, 0}), 1)) == std::vector<real>{1, 1});
  CHECK(prod(scalar(7)).item() == 7);
  CHECK(std::isnan(prod(tensor({0, NaN})).item()));
}

TEST_CASE("norm and its gradient agree with PyTorch, at zeros too", "[ops][reduce]") {
  const Tensor x = tensor({3, 4, 0, 0, 0, 0, 1, -2, 2}, {3, 3});
  const auto check = [&](real p, const std::vector<double>& norms,
                         const std::vector<double>& slopes) {
    const Tensor y = norm(x, p, 1),
                 g = gradient_of([p](const Tensor&t) { return norm(t, p, 1); }, x);
    for (std::size_t i = 0; i < 3; ++i) CHECK_THAT(y.data()[i], WithinRel(norms[i], 1e-5));
    for (std::size_t i = 0; i < 9; ++i) CHECK_THAT(g.data()[i], WithinRel(slopes[i], 1e-5));
  };
  check(2, {5, 0, 3}, {0.6, 0.8, 0, 0, 0, 0, 1, -2, 2});
  check(1, {7, 0, 5}, {1, 1, 0, 0, 0, 0, 3, -3, 3});
  check(3, {4.49794145, 0, 2.57128159},
        {0.444851352, 0.790846848, 0, 0, 0, 0, 0.453755575, -1.8150223, 1.8150223});
  check(0.5, {13.9282032, 0, 14.6568542},
        {2.15470054, 1.8660254, 0, 0, 0, 0, 11.4852814, -8.12132034, 8.12132034});
  check(inf, {4, 0, 2}, {0, 1, 0, 0, 0, 0, 0, -1.5, 1.5});
  CHECK(values(norm(zeros({2, 0}), 2, 1)) == std::vector<real>{0, 0});
  CHECK(std::isnan(norm(tensor({1, NaN})).item()));
  CHECK(norm(tensor({1, -inf})).item() == inf);
}

TEST_CASE("cosine_similarity and normalize agree with PyTorch, at zeros too", "[ops][reduce]") {
  const auto check = [](const Tensor& x, const std::vector<double>& expected) {
    REQUIRE(x.size() == expected.size());
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK_THAT(x.data()[i], WithinAbs(expected[i], 1e-6 * (1 + std::abs(expected[i]))));
  };
  const Tensor x = tensor({3, 4, 0, 0, 0, 0, 1, -2, 2}, {3, 3}),
               y = tensor({1, 2, 2, 1, 2, 3, 0, 3, 4}, {3, 3});
  check(cosine_similarity(x, y), {0.733333333, 0, 0.133333333});
  check(gradient_of([&](const Tensor& t) { return cosine_similarity(t, y); }, x),
        {-0.0213333333, 0.016, 0.133333333, 53452248.4, 106904497.0, 160356745.0, -0.0444444444,
         0.688888889, 0.711111111});
  check(gradient_of([&](const Tensor& t) { return cosine_similarity(x, t); }, y),
        {0.118518519, 0.103703704, -0.162962963, 0, 0, 0, 0.2, -0.448, 0.336});
  check(normalize(x), {0.6, 0.8, 0, 0, 0, 0, 0.333333333, -0.666666667, 0.666666667});
  check(gradient_of([](const Tensor& t) { return normalize(t); }, x),
        {-0.064, 0.048, 0.6, 4e12, 5e12, 6e12, 2, 3.33333333, 2.33333333});
}

TEST_CASE("reductions say what is wrong with shapes and axes", "[ops][reduce]") {
  const Tensor x = zeros({2, 3});
  const auto text = [](auto call) -> std::string {
    try {
      call();
    } catch (const ShapeError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(text([&] { sum(x, 2); }) == "sum: axis 2 is out of range for 2 axes");
  CHECK(text([&] { mean(x, {0, -2}); }) == "mean: repeated axis in (0, -2)");
  CHECK(text([&] {
          max(zeros({2, 0}), 1);
        }) == "max: axis 1 of shape (2, 0) is empty, so nothing is its max");
  CHECK(text([&] { min(zeros({0})); }) ==
        "min: axis 0 of shape (0,) is empty, so nothing is its min");
  CHECK(text([&] { sum_to(x, {4}); }) ==
        "sum_to: a tensor of shape (2, 3) cannot be summed to (4,)");
  CHECK(text([&] {
          sum_to(x, {1, 2, 3});
        }) == "sum_to: a tensor of shape (2, 3) cannot be summed to (1, 2, 3)");
}

TEST_CASE("reductions give the same bits on one, two and three threads", "[ops][reduce][threads]") {
  const int before = num_threads();
  std::vector<std::vector<real>> first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<std::vector<real>> results;
    for (const Shape& shape : {Shape{1, 300000, 1}, Shape{1, 9000, 50}, Shape{300, 400, 1},
                               Shape{1, 40, 6000}, Shape{20, 70, 90}})
      for (const auto f :
           {+[](const Tensor& x) { return sum(x, 1); }, +[](const Tensor& x) { return max(x, 1); },
            +[](const Tensor& x) { return min(x, 1); },
            +[](const Tensor& x) { return logsumexp(x, 1); }})
        results.push_back(values(f(random(shape))));
    if (threads == 1) first = results;
    CHECK(results == first);
  }
  set_num_threads(before);
}
