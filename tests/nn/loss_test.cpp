// mse_loss and l1_loss against PyTorch's, and the mistake that they refuse.
#include <xgrad/nn/loss.hpp>

#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

const std::vector<real> prediction{1, 2, 4, -3, 0.5, -0.25, 8, 0.125},
    target{1, 1, 5, -3, 2.5, -1.25, 7, 0};

}  // namespace

TEST_CASE("Losses have PyTorch's values and gradients", "[nn][loss]") {
  struct Case {
    Tensor (*loss)(const Tensor&, const Tensor&);
    double value;
    std::vector<double> gradient;
  };
  // All numbers are exact in binary.
  for (const Case& c :
       {Case{mse_loss, 1.001953125, {0, 0.25, -0.25, 0, -0.5, 0.25, 0.25, 0.03125}},
        Case{l1_loss, 0.765625, {0, 0.125, -0.125, 0, -0.125, 0.125, 0.125, 0.125}}}) {
    Tensor x = tensor(prediction, {2, 4}).requires_grad_(),
           y = tensor(target, {2, 4}).requires_grad_();
    Tape tape;
    const Tensor loss = c.loss(x, y);
    CHECK(loss.shape() == Shape{});
    CHECK(loss.item() == real(c.value));
    tape.backward(loss);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(x.grad().data()[i] == real(c.gradient[i]));
      CHECK(y.grad().data()[i] == real(-c.gradient[i]));
    }
  }
}

TEST_CASE("Losses refuse to broadcast", "[nn][loss]") {
  const auto message = [](auto loss) -> std::string {
    try {
      loss(zeros({4, 1}), zeros({4}));
    } catch (const ShapeError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(message(mse_loss) == "mse_loss: prediction has shape (4, 1), target (4,)");
  CHECK(message(l1_loss) == "l1_loss: prediction has shape (4, 1), target (4,)");
}
