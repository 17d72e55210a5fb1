// Linear and Embedding as layers: initial values, shapes, errors. Their operations are tested in
// core.
#include <xgrad/nn/linear.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include <xgrad/nn/embedding.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

TEST_CASE("Linear computes x W^T + b over the last axis", "[nn][linear]") {
  Linear layer({.in = 3, .out = 2});
  std::copy_n(tensor({1, 2, 3, -1, 0, 1}).data(), 6, layer.weight.mutable_data());
  std::copy_n(tensor({10, 20}).data(), 2, layer.bias.mutable_data());
  const Tensor y = layer(tensor({1, 1, 1, 0, 2, 4}, {2, 1, 3}));
  REQUIRE(y.shape() == Shape{2, 1, 2});
  CHECK(y.data()[0] == 16);
  CHECK(y.data()[1] == 20);
  CHECK(y.data()[2] == 26);
  CHECK(y.data()[3] == 24);
  CHECK(layer(tensor({1, 0, 0})).shape() == Shape{2});
  CHECK(layer(zeros({0, 3})).shape() == Shape{0, 2});
}

TEST_CASE("Linear starts uniform in 1/sqrt(in) around 0", "[nn][linear]") {
  const Linear layer({.in = 64, .out = 1000});
  const auto [low, high] =
      std::minmax_element(layer.weight.data(), layer.weight.data() + layer.weight.size());
  CHECK(*low >= real(-0.125));
  CHECK(*low < real(-0.1249));
  CHECK(*high <= real(0.125));
  CHECK(*high > real(0.1249));
  // A uniform number in ±a has variance a^2/3.
  CHECK_THAT(mean(square(layer.weight)).item(), WithinRel(0.125 * 0.125 / 3, 0.01));
  CHECK_THAT(max(abs(layer.bias)).item(), WithinRel(0.125, 0.02));
}

TEST_CASE("Linear says what is wrong with its input", "[nn][linear]") {
  const Linear layer({.in = 784, .out = 128});
  CHECK(error_of<ShapeError>([&] {
          layer(zeros({32, 28, 28}));
        }) ==
        "Linear(784 -> 128): last axis of input (32, 28, 28) is 28, expected 784; flatten first?");
  CHECK(error_of<ShapeError>([&] {
          layer(zeros({32, 783}));
        }) == "Linear(784 -> 128): last axis of input (32, 783) is 783, expected 784");
  CHECK(error_of<ShapeError>([&] {
          layer(zeros({0, 28, 28}));
        }) == "Linear(784 -> 128): last axis of input (0, 28, 28) is 28, expected 784");
  CHECK(error_of<ShapeError>([&] { layer(scalar(1)); }) ==
        "Linear(784 -> 128): input is 0-d, expected last axis 784");
  CHECK(error_of<std::invalid_argument>([] { Linear({.in = 0, .out = 2}); }) ==
        "Linear(0 -> 2): sizes must be positive");
}

TEST_CASE("Embedding looks up rows, initially standard normal", "[nn][embedding]") {
  const Embedding table({.count = 200, .dim = 50});
  const Tensor y = table(Indices{{3, 199}, {0, 3}});
  REQUIRE(y.shape() == Shape{2, 2, 50});
  CHECK(std::equal(y.data(), y.data() + 50, table.weight.data() + 3 * 50));
  CHECK(std::equal(y.data(), y.data() + 50, y.data() + 150));
  CHECK_THAT(mean(table.weight).item(), WithinAbs(0, 0.04));
  CHECK_THAT(mean(square(table.weight)).item(), WithinRel(1.0, 0.05));
  CHECK_THROWS_AS(table(Indices{200}), std::invalid_argument);
  CHECK_THROWS_AS(table(Indices{-1}), std::invalid_argument);
  CHECK(error_of<std::invalid_argument>([] { Embedding({.count = 4, .dim = 0}); }) ==
        "Embedding(4, 0): sizes must be positive");
}
