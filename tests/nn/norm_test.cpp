// The norms as layers, against PyTorch's. The operations are tested in core.
#include <xgrad/nn/norm.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-13 : 2e-6;

void check_near(const Tensor& x, const std::vector<double>& expected) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinRel(expected[i], tolerance) || WithinAbs(expected[i], tolerance));
  }
}

void fill(Tensor parameter, std::vector<real> values) {
  std::copy(values.begin(), values.end(), parameter.mutable_data());
}

Tensor input() { return tensor({1, 2, 4, -3, 0.5, -0.25, 8, 0.125}, {2, 4}); }
Tensor seed() { return tensor({1, -2, 0.5, 3, 0.25, 1, -1, 2}, {2, 4}); }

}  // namespace

TEST_CASE("LayerNorm is PyTorch's, gradients included", "[nn][norm]") {
  LayerNorm layer({.dim = 4});
  fill(layer.weight, {1, -0.5, 2, 0.25});
  fill(layer.bias, {0.5, 0, -1, 2});
  Tensor x = input().requires_grad_();
  Tape tape;
  const Tensor y = layer(x);
  check_near(
      y, {0.5, -0.19611598427979263, 1.3533918113575116, 1.6077680314404148, 0.034028121179344895,
          0.34262638148577584, 2.4536739253766204, 1.8560969197759742});
  tape.backward(y, seed());
  check_near(x.grad(), {0.024514498034974075, 0.009428676299331196, -0.020742967171954674,
                        -0.013200207162350541, 0.08127626276630903, -0.19434872226553468,
                        -0.013125380876908632, 0.1261978403761343});
  check_near(layer.weight.grad(),
             {-0.11649296970516379, -1.4697167000907223, -1.1384890098489322, -5.85800826450723});
  check_near(layer.bias.grad(), {1.25, -1.0, -0.5, 5.0});
}

TEST_CASE("RMSNorm is PyTorch's, gradients included", "[nn][norm]") {
  RMSNorm layer({.dim = 4});
  fill(layer.weight, {1, -0.5, 2, 0.25});
  Tensor x = input().requires_grad_();
  Tape tape;
  const Tensor y = layer(x);
  check_near(y,
             {0.3651483473268884, -0.3651483473268884, 2.921186778615107, -0.2738612604951663,
              0.12468078845229173, 0.031170197113072933, 3.9897852304733354, 0.007792549278268233});
  tape.backward(y, seed());
  check_near(x.grad(), {0.3073332000421507, 0.249518052757413, 0.13388775818793763,
                        0.44730670234937936, 0.09274590887814713, -0.13988354577829237,
                        -0.01223491937714688, 0.13228216711529206});
  check_near(layer.weight.grad(),
             {0.39631854443996134, -1.5229337835336993, -1.264595920582891, -3.22399473171585});
}

TEST_CASE("Norm layers start as the plain normalisation and obey eps", "[nn][norm]") {
  const LayerNorm layer({.dim = 4, .eps = 0.5, .bias = false});
  CHECK_FALSE(layer.bias.defined());
  check_near(layer(input()),
             {0.0, 0.3779644730092272, 1.1338934190276815, -1.5118578920369088, -0.4563221729725539,
              -0.6710620190772851, 1.6910762880747585, -0.5636920960249195});
  check_near(RMSNorm({.dim = 4, .eps = 0.5})(input()),
             {0.35355339059327373, 0.7071067811865475, 1.414213562373095, -1.0606601717798212,
              0.12278664691080837, -0.061393323455404186, 1.964586350572934, 0.030696661727702093});
}

TEST_CASE("Norm layers name bad sizes", "[nn][norm]") {
  const auto message = [](auto make) -> std::string {
    try {
      make();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(message([] { LayerNorm({.dim = 0}); }) == "LayerNorm(0): needs dim > 0 and eps >= 0");
  CHECK(message([] { RMSNorm({.dim = 4, .eps = -1}); }) ==
        "RMSNorm(4): needs dim > 0 and eps >= 0");
  CHECK_THROWS_AS(LayerNorm({.dim = 4})(zeros({2, 3})), ShapeError);
  CHECK_THROWS_AS(RMSNorm({.dim = 4})(zeros({2, 3})), ShapeError);
}

TEST_CASE("GroupNorm holds a weight and a bias per channel", "[nn][norm]") {
  GroupNorm layer({.groups = 2, .channels = 4});
  CHECK(layer.weight.shape() == Shape{4});
  const Tensor x = reshape(input(), {1, 4, 2});
  check_near(layer(x),
             {0.0, 0.39223196855958525, 1.1766959056787558, -1.568927874238341,
              -0.46597187882065516, -0.6852527629715517, 1.72683696268831, -0.5756123208961035});
  CHECK_FALSE(GroupNorm({.groups = 1, .channels = 4, .affine = false}).bias.defined());
  CHECK(error_of([] { GroupNorm({.groups = 3, .channels = 4}); }) ==
        "GroupNorm(3, 4): needs groups that divide the channels and eps >= 0");
}

TEST_CASE("BatchNorm trains by the batch and evaluates by what it has seen", "[nn][norm]") {
  struct Net : Module {
    BatchNorm norm{this, "norm", {.channels = 4}};
  } net;
  BatchNorm& layer = net.norm;
  std::vector<std::string> names;
  for (const auto& [name, tensor] : net.state_dict()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"norm.weight", "norm.bias", "norm.running_mean",
                                          "norm.running_var"});
  CHECK(net.parameters().size() == 2);

  layer(input());
  layer(input());
  check_near(layer.running_mean, {0.1425, 0.16625, 1.14, -0.273125});
  check_near(layer.running_var, {0.83375, 1.2909375, 2.33, 1.737734375});
  net.eval();
  const Tensor before = layer.running_mean.clone();
  check_near(layer(input()),
             {0.9391038063116224, 1.613934244047889, 1.873644276058439, -2.068579824855839,
              0.39152141196082213, -0.36635317196179074, 4.494125781035277, 0.30201360266632354});
  check_near(layer.running_mean, {before.data(), before.data() + 4});
}

TEST_CASE("BatchNorm is one layer for rows, sequences and images", "[nn][norm]") {
  const BatchNorm layer({.channels = 3, .momentum = 0.5, .affine = false});
  CHECK_FALSE(layer.weight.defined());
  CHECK(layer(ones({2, 3})).shape() == Shape{2, 3});
  CHECK(layer(ones({2, 3, 4})).shape() == Shape{2, 3, 4});
  CHECK(layer(ones({2, 3, 4, 5})).shape() == Shape{2, 3, 4, 5});
  check_near(layer.running_mean, {0.875, 0.875, 0.875});
  check_near(layer.running_var, {0.125, 0.125, 0.125});
  CHECK(error_of([&] {
          layer(ones({1, 3}));
        }) == "batch_norm: training needs more than 1 value per channel, got input (1, 3)");
  CHECK(error_of([] { BatchNorm({.channels = 3, .momentum = 2}); }) ==
        "BatchNorm(3): needs channels > 0, eps >= 0 and momentum in [0, 1]");
}
