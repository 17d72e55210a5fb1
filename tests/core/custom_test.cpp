// Gradients by hand: stop_gradient, straight_through, custom.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

Tensor cube(const Tensor& x) {
  return custom("cube", {x}, Tensor(xt::cube(x.array())),
                [](const Tensor& grad, const auto& in, const Tensor&) {
                  return std::vector{grad * real(3) * square(in[0])};
                });
}

}  // namespace

TEST_CASE("stop_gradient lets numbers pass and no gradient", "[custom]") {
  const Tensor x = tensor({2, 3}).requires_grad_();
  Tape tape;
  tape.backward(sum(stop_gradient(x) * x));
  CHECK(x.grad().data()[1] == 3);
}

TEST_CASE("straight_through has one tensor's value and the other's gradient", "[custom]") {
  const Tensor x = tensor({real(0.4), real(1.7)}).requires_grad_();
  const Tensor steps = tensor({0, 2});
  Tape tape;
  const Tensor y = straight_through(steps, x);
  CHECK(y.data() == steps.data());
  tape.backward(sum(y * y));
  CHECK(x.grad().data()[0] == 0);
  CHECK(x.grad().data()[1] == 4);
  CHECK(error_of([&] { straight_through(ones(3), x); }) ==
        "straight_through: the value has shape (3,), the surrogate (2,)");
}

TEST_CASE("a custom operation differentiates by its rule, as often as the rule can", "[custom]") {
  const Tensor x = tensor({2, 3}).requires_grad_();
  Tape tape;
  const Tensor first = tape.gradient(cube(x), x, {.record = true}, ones(2));
  CHECK(first.data()[1] == 27);
  CHECK(tape.gradient(first, x, {}, ones(2)).data()[1] == 18);
}

TEST_CASE("a custom operation may be computed by recorded operations", "[custom]") {
  const Tensor x = scalar(2).requires_grad_();
  Tape tape;
  const Tensor y = custom("double", {x}, x + x, [](const Tensor& grad, const auto&, const Tensor&) {
    return std::vector{grad * real(10)};
  });
  tape.backward(y);
  CHECK(y.item() == 4);
  CHECK(x.grad().item() == 10);
}

TEST_CASE("a custom rule may leave an input out, and is told of mistakes by name", "[custom]") {
  const Tensor a = scalar(2).requires_grad_(), b = scalar(3).requires_grad_();
  const auto with = [&](std::vector<Tensor> gradients) {
    Tape tape;
    tape.backward(custom(std::string("my") + "op", {a, b}, scalar(1),
                         [=](const Tensor&, const auto&, const Tensor&) { return gradients; }));
  };
  with({scalar(5), Tensor()});
  CHECK(a.grad().item() == 5);
  CHECK_FALSE(b.grad().defined());
  CHECK(error_of([&] { with({scalar(5)}); }) == "myop: its rule gives 1 gradients for 2 inputs");
  CHECK(error_of([&] { with({scalar(5), ones({2, 3})}); }) == "no error");  // summed to b's shape
  CHECK(b.grad().item() == 6);
  CHECK(error_of([&] { custom("empty", {a}, scalar(1), {}); }) ==
        "custom: the rule of empty is empty");
}
