// Jacobians, Hessians and products with them, against derivatives by hand.
#include <xgrad/core/derivatives.hpp>
#include <xgrad/core/ops.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

void check_values(const Tensor& x, const Shape& shape, const std::vector<double>& expected) {
  REQUIRE(x.shape() == shape);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK_THAT(x.data()[i], WithinAbs(static_cast<real>(expected[i]), real(1e-5)));
}

// f(x, y) = x^2 y + exp(y): gradient (2xy, x^2 + exp y), Hessian (2y, 2x; 2x, exp y).
Tensor two_variables(const Tensor& p) {
  const Tensor x = slice(p, 0, 0, 1), y = slice(p, 0, 1, 2);
  return sum(square(x) * y + exp(y));
}

const std::vector<double> at{1.5, 0.5};
Tensor point() { return tensor({real(1.5), real(0.5)}); }

}  // namespace

TEST_CASE("a Jacobian has a row per result and a column per variable", "[derivatives]") {
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, {3, 2});
  check_values(jacobian([&](const Tensor& x) { return matmul(a, square(x)); }, point()), {3, 2},
               {2 * 1.5, 4 * 0.5, 6 * 1.5, 8 * 0.5, 10 * 1.5, 12 * 0.5});
  check_values(jacobian([](const Tensor& x) { return x; }, point()), {2, 2}, {1, 0, 0, 1});
  check_values(jacobian([](const Tensor&) { return ones(3); }, point()), {3, 2},
               {0, 0, 0, 0, 0, 0});
  check_values(jacobian([](const Tensor& x) { return sum(x); }, point()), {2}, {1, 1});
  CHECK(jacobian([](const Tensor& x) { return x * x; }, zeros(0)).shape() == Shape{0, 0});
}

TEST_CASE("a Hessian and its product with a vector agree with the derivative by hand",
          "[derivatives]") {
  const double x = at[0], y = at[1];
  check_values(hessian(two_variables, point()), {2, 2}, {2 * y, 2 * x, 2 * x, std::exp(y)});
  check_values(hvp(two_variables, point(), tensor({1, -2})), {2},
               {2 * y - 4 * x, 2 * x - 2 * std::exp(y)});
  // Linear: nothing is left to differentiate.
  check_values(hessian([](const Tensor& p) { return sum(p); }, point()), {2, 2}, {0, 0, 0, 0});
  check_values(hvp([](const Tensor& p) { return sum(p); }, point(), ones(2)), {2}, {0, 0});
}

TEST_CASE("the transposed Jacobian times a vector", "[derivatives]") {
  check_values(vjp(
                   [](const Tensor& x) {
                     return stack({sum(x), sum(square(x))});
                   },
                   point(), tensor({2, 3})),
               {2}, {2 + 6 * 1.5, 2 + 6 * 0.5});
}

TEST_CASE("derivatives of functions leave an outer tape and the caller's tensors alone",
          "[derivatives]") {
  const Tensor w = tensor({2, 3}).requires_grad_();
  Tape tape;
  const Tensor h = w * w;  // recorded: inside the function it is a constant
  check_values(jacobian([&](const Tensor& x) { return x * h; }, point()), {2, 2}, {4, 0, 0, 9});
  check_values(hvp([&](const Tensor& x) { return sum(x * x * h); }, h, ones(2)), {2}, {8, 18});
  CHECK(tape.size() == 1);
  tape.backward(sum(h));
  check_values(w.grad(), {2}, {4, 6});
}

TEST_CASE("what has no such derivative is refused", "[derivatives][errors]") {
  CHECK(error_of([] { hessian([](const Tensor& x) { return x * x; }, ones(2)); }) ==
        "gradient: needs a scalar, got shape (2,): reduce with mean(), or pass a seed of that "
        "shape");
  CHECK(error_of([] { hvp(two_variables, ones(2), ones(3)); }) ==
        "hvp: the vector has shape (3,), x (2,)");
  CHECK(error_of([] { vjp([](const Tensor& x) { return x; }, ones(2), ones(3)); }) ==
        "vjp: the vector has shape (3,), f(x) (2,)");
  CHECK(error_of(
            [] { hessian([](const Tensor& x) { return sum(layer_norm(x, {}, {})); }, point()); }) ==
        "layer_norm: a fused operation has no second derivative; use composite::layer_norm "
        "to differentiate twice");
}
