// Mlp: sizes, names, the activation, and learning XOR.
#include <xgrad/models/mlp.hpp>

#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/optim/adam.hpp>

#include "catch.hpp"

using namespace xgrad;

TEST_CASE("Mlp puts its activation between layers and not behind the last", "[models][mlp]") {
  const Mlp net({.sizes = {3, 5, 2}});
  std::vector<std::string> names;
  for (const auto& [name, parameter] : net.named_parameters()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"layers.0.weight", "layers.0.bias", "layers.1.weight",
                                          "layers.1.bias"});
  Rng rng(1);
  const Tensor x = randn({4, 3}, rng);
  CHECK(max(abs(net(x) - net.layers[1](relu(net.layers[0](x))))).item() == 0);

  const Mlp smooth({.sizes = {3, 5, 2}, .activation = [](const Tensor& z) { return tanh(z); }});
  CHECK(max(abs(smooth(x) - net.layers[1](tanh(net.layers[0](x))))).item() ==
        0);  // same seed, same values
  CHECK(max(abs(Mlp({.sizes = {3, 5, 2}, .seed = 1})(x) - net(x))).item() > 0);
}

TEST_CASE("Mlp needs an input and an output", "[models][mlp]") {
  try {
    Mlp net({.sizes = {3}});
    FAIL("no error");
  } catch (const std::invalid_argument& error) {
    CHECK(std::string(error.what()) == "Mlp: needs at least 2 sizes (input, output), got 1");
  }
}

TEST_CASE("Mlp learns XOR", "[models][mlp]") {
  const Mlp net({.sizes = {2, 8, 1}, .activation = [](const Tensor& z) { return tanh(z); }});
  const Tensor x = tensor({0, 0, 0, 1, 1, 0, 1, 1}, {4, 2}), y = tensor({0, 1, 1, 0}, {4, 1});
  Adam optimizer(net.parameters(), {.lr = 0.05});
  real loss = 1;
  for (int step = 0; step < 300; ++step) {
    Tape tape;
    const Tensor error = mse_loss(net(x), y);
    tape.backward(error);
    optimizer.step();
    optimizer.zero_grad();
    loss = error.item();
  }
  CHECK(loss < real(1e-3));
}
