// Pooling: values and gradients against PyTorch, ties, NaN and windows of nothing. Derivatives and
// errors are rows of the table of operations.
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();
constexpr real not_a_number = std::numeric_limits<real>::quiet_NaN();

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

Tensor ramp(const Ints& shape, std::size_t k) {
  Tensor x = zeros(shape);
  for (std::size_t i = 0; i < x.size(); ++i)
    x.mutable_data()[i] = static_cast<real>(i * k % 11) - 5;
  return x;
}

void check_near(const Tensor& x, const std::vector<double>& expected) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(expected[i], sizeof(real) == 8 ? 1e-14 : 1e-6));
  }
}

/// The gradient of f at x, weighted by ramp(4).
template <class F>
Tensor gradient(const F& f, const Tensor& x) {
  const Tensor leaf = x.clone().requires_grad_();
  Tape tape;
  const Tensor y = f(leaf);
  return tape.gradient(y, leaf, {}, ramp(y.shape(), 4));
}

}  // namespace

TEST_CASE("max_pool1d has PyTorch's values and gradients", "[ops][pool]") {
  const auto f = [](const Tensor& x) { return max_pool1d(x, 3, {.stride = 2, .padding = 1}); };
  const Tensor x = ramp({2, 7}, 3);
  CHECK(f(x).shape() == Shape{2, 4});
  CHECK(values(f(x)) == std::vector<real>{-2, 4, 4, 2, 5, 3, 3, 1});
  CHECK(values(gradient(f, x)) == std::vector<real>{0, -5, 0, 2, 0, 0, -4, 0, 0, 0, 1, 0, 0, 1});
}

TEST_CASE("max_pool2d has PyTorch's values and gradients", "[ops][pool]") {
  const auto f = [](const Tensor& x) {
    return max_pool2d(x, {2, 3}, {.stride = {2, 1}, .padding = 1, .dilation = {2, 1}});
  };
  const Tensor x = ramp({1, 2, 4, 5}, 3);
  CHECK(f(x).shape() == Shape{1, 2, 2, 5});
  CHECK(values(f(x)) ==
        std::vector<real>{2, 5, 5, 5, 0, 2, 5, 5, 5, 5, 4, 4, 2, 5, 5, 4, 4, 4, 5, 5});
  CHECK(values(gradient(f, x)) == std::vector<real>{0,  0, 0, 0, 0,  0, -1, 1, 0,  0, 0, 0, 0, 0,
                                                    0,  0, 0, 0, -2, 0, 0,  0, 0,  0, 0, 1, 0, 0,
                                                    -1, 5, 0, 0, 0,  0, 0,  0, -3, 0, 0, 0});
}

TEST_CASE("avg_pool has PyTorch's values and gradients", "[ops][pool]") {
  const auto flat = [](const Tensor& x) { return avg_pool1d(x, 2); };
  CHECK(values(flat(ramp({1, 2, 5}, 3))) == std::vector<real>{-3.5, 2.5, 0.5, 1});
  CHECK(values(gradient(flat, ramp({1, 2, 5}, 3))) ==
        std::vector<real>{-2.5, -2.5, -0.5, -0.5, 0, 1.5, 1.5, -2, -2, 0});

  const Tensor x = ramp({1, 2, 4, 5}, 3);
  const auto padded = [](const Tensor& in) {
    return avg_pool2d(in, {3, 2}, {.stride = 2, .padding = 1});
  };
  const auto inside = [](const Tensor& in) {
    return avg_pool2d(in, {3, 2}, {.stride = 2, .padding = 1, .count_include_pad = false});
  };
  const double third = 1.0 / 3, sixth = 1.0 / 6;
  check_near(padded(x), {-1, 1, -0.5, -third, sixth, 4 * sixth, 4 * sixth, -7 * sixth, 1, third,
                         -third, sixth});
  check_near(
      gradient(padded, x),
      {-5 * sixth, -sixth,     -sixth,     0.5,       0.5,   -1.5,      -sixth,     -sixth,
       7 * sixth,  7 * sixth,  -4 * sixth, 0,         0,     4 * sixth, 4 * sixth,  -4 * sixth,
       0,          0,          4 * sixth,  4 * sixth, -0.5,  sixth,     sixth,      5 * sixth,
       5 * sixth,  -5 * sixth, 0.5,        0.5,       0,     0,         -third,     third,
       third,      -5 * sixth, -5 * sixth, -third,    third, third,     -5 * sixth, -5 * sixth});
  check_near(inside(x), {-3, 1.5, -0.75, -4 * sixth, sixth, 4 * sixth, 2, -1.75, 1.5, 4 * sixth,
                         -third, sixth});
  check_near(
      gradient(inside, x),
      {-2.5,        -0.25,       -0.25,       0.75,       0.75,        -23 * sixth, -0.25,
       -0.25,       8.5 * sixth, 8.5 * sixth, -8 * sixth, 0,           0,           4 * sixth,
       4 * sixth,   -8 * sixth,  0,           0,          4 * sixth,   4 * sixth,   -1.5,
       0.25,        0.25,        1.25,        1.25,       -13 * sixth, 3.5 * sixth, 3.5 * sixth,
       2.5 * sixth, 2.5 * sixth, -4 * sixth,  third,      third,       -5 * sixth,  -5 * sixth,
       -4 * sixth,  third,       third,       -5 * sixth, -5 * sixth});
}

TEST_CASE("of equal maxima the first has the gradient, minus infinity included", "[ops][pool]") {
  const auto f = [](const Tensor& x) { return max_pool1d(x, 3); };
  const Tensor x = tensor({2, 2, 1, -infinity, -infinity, -infinity});
  CHECK(values(f(x)) == std::vector<real>{2, -infinity});
  CHECK(values(gradient(f, x)) == std::vector<real>{-5, 0, 0, -1, 0, 0});
}

TEST_CASE("NaN is the largest number of its window", "[ops][pool]") {
  const Tensor y = max_pool1d(tensor({1, not_a_number, not_a_number, 3, 4, 5}), 2);
  CHECK(std::isnan(y.data()[0]));
  CHECK(std::isnan(y.data()[1]));
  CHECK(y.data()[2] == 5);
}

TEST_CASE("a window in the padding alone is minus infinity and moves nothing", "[ops][pool]") {
  const auto f = [](const Tensor& x) { return max_pool1d(x, 2, {.padding = 2, .dilation = 4}); };
  CHECK(values(f(tensor({3}))) == std::vector<real>{-infinity});
  CHECK(values(gradient(f, tensor({3}))) == std::vector<real>{0});
}

TEST_CASE("pooling takes any number of leading axes and skips what does not fill a window",
          "[ops][pool]") {
  CHECK(max_pool1d(zeros(7), 2).shape() == Shape{3});
  CHECK(max_pool2d(zeros({5, 7}), {2, 3}).shape() == Shape{2, 2});
  CHECK(avg_pool2d(zeros({0, 3, 4, 4}), 2).shape() == Shape{0, 3, 2, 2});
  CHECK(avg_pool1d(zeros({2, 3, 4, 6}), 3).shape() == Shape{2, 3, 4, 2});
}
