// Convolution layers: PyTorch's shapes, names and initial bounds, and that each setting arrives at
// the operation, which is tested in core.
#include <xgrad/nn/conv.hpp>

#include <algorithm>
#include <cmath>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

Tensor random(const Ints& shape) {
  Rng rng(1);
  return randn(shape, rng);
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// The largest absolute value.
double reach(const Tensor& x) { return static_cast<double>(max(abs(x.detach())).item()); }

}  // namespace

TEST_CASE("convolution layers hand their settings to the operation", "[nn][conv]") {
  const Conv1d a(
      {.in = 4, .out = 6, .kernel = 3, .stride = 2, .padding = 2, .dilation = 2, .groups = 2});
  const Tensor sequence = random({2, 4, 9});
  CHECK(same(a(sequence), conv1d(sequence, a.weight, a.bias,
                                 {.stride = 2, .padding = 2, .dilation = 2, .groups = 2})));

  const Conv2d b({.in = 3, .out = 5, .kernel = {3, 2}, .stride = {2, 1}, .bias = false});
  const Tensor image = random({2, 3, 7, 6});
  CHECK(same(b(image), conv2d(image, b.weight, {}, {.stride = {2, 1}})));

  const ConvTranspose1d c({.in = 4,
                           .out = 6,
                           .kernel = 3,
                           .stride = 3,
                           .padding = 1,
                           .output_padding = 2,
                           .groups = 2,
                           .dilation = 2});
  CHECK(same(c(sequence),
             conv_transpose1d(
                 sequence, c.weight, c.bias,
                 {.stride = 3, .padding = 1, .output_padding = 2, .groups = 2, .dilation = 2})));

  const ConvTranspose2d d({.in = 3, .out = 2, .kernel = 2, .stride = {2, 1}});
  CHECK(same(d(image), conv_transpose2d(image, d.weight, d.bias, {.stride = {2, 1}})));
}

TEST_CASE("convolution layers have PyTorch's names, shapes and initial bounds", "[nn][conv]") {
  struct Net : Module {
    Conv2d conv{this, "conv", {.in = 16, .out = 60, .kernel = {3, 2}, .groups = 2}};
    ConvTranspose1d up{this, "up", {.in = 40, .out = 16, .kernel = 3, .groups = 2}};
  } net;
  std::vector<std::string> names;
  for (const auto& [name, parameter] : net.named_parameters()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"conv.weight", "conv.bias", "up.weight", "up.bias"});
  CHECK(net.conv.weight.shape() == Shape{60, 8, 3, 2});
  CHECK(net.conv.bias.shape() == Shape{60});
  CHECK(net.up.weight.shape() == Shape{40, 8, 3});
  CHECK(net.up.bias.shape() == Shape{16});
  const double conv_bound = 1 / std::sqrt(8.0 * 3 * 2), up_bound = 1 / std::sqrt(8.0 * 3);
  for (const auto& [x, bound] : {std::pair<Tensor, double>{net.conv.weight, conv_bound},
                                 {net.conv.bias, conv_bound},
                                 {net.up.weight, up_bound},
                                 {net.up.bias, up_bound}}) {
    CHECK(reach(x) <= bound * (1 + 1e-6));
    CHECK(reach(x) > 0.8 * bound);
  }
  CHECK(std::abs(mean(net.conv.weight).item()) < 0.1 * conv_bound);
  CHECK(net.to_string().find("16 -> 60, kernel (3, 2)") != std::string::npos);
}

TEST_CASE("convolution layers name bad sizes", "[nn][conv]") {
  CHECK(error_of([] { Conv1d({.in = 0, .out = 8, .kernel = 3}); }) ==
        "Conv1d(0 -> 8): sizes must be positive");
  CHECK(error_of([] { Conv2d({.in = 3, .out = 8, .kernel = 3, .groups = 2}); }) ==
        "Conv2d(3 -> 8): groups must divide both, got 2");
  CHECK(error_of([] {
          Conv2d({.in = 3, .out = 8, .kernel = {3, 0}});
        }) == "Conv2d(3 -> 8): kernel needs 1 or 2 numbers of at least 1, got (3, 0)");
  CHECK(error_of([] {
          ConvTranspose1d({.in = 3, .out = 8, .kernel = {3, 3}});
        }) == "ConvTranspose1d(3 -> 8): kernel needs 1 number of at least 1, got (3, 3)");
  CHECK(error_of([] { ConvTranspose2d({.in = 3, .out = 8, .kernel = {}}); }) ==
        "ConvTranspose2d(3 -> 8): kernel needs 1 or 2 numbers of at least 1, got ()");
}
