// The feed-forward layers: sizes, names, and values and gradients against PyTorch.
#include <xgrad/nn/feedforward.hpp>

#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"

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

/// Element i of parameter k is ((7 i + k) mod 11 - 5)/8, as in the PyTorch script that made the
/// numbers below.
void fill(Module& module) {
  int k = 0;
  for (Tensor& parameter : module.parameters()) {
    for (std::size_t i = 0; i < parameter.size(); ++i)
      parameter.mutable_data()[i] = static_cast<real>((7 * static_cast<int>(i) + k) % 11 - 5) / 8;
    ++k;
  }
}

template <class Layer>
void check(const Layer& layer, const std::vector<double>& value,
           const std::vector<double>& gradient) {
  Tensor x = (tensor({1, 2, 4, -3, 0.5, -0.25, 8, 0.125}, {2, 4}) / 4).requires_grad_();
  Tape tape;
  const Tensor y = layer(x);
  check_near(y, value);
  tape.backward(y, tensor({1, -2, 0.5, 3, 0.25, 1, -1, 2}, {2, 4}));
  check_near(x.grad(), gradient);
}

std::vector<std::string> names(const Module& module) {
  std::vector<std::string> result;
  for (const auto& [name, parameter] : module.named_parameters()) result.push_back(name);
  return result;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("FeedForward is PyTorch's Linear, tanh GELU, Linear", "[nn][feedforward]") {
  FeedForward layer({.dim = 4, .hidden = 6});
  CHECK(names(layer) == Names{"c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias"});
  fill(layer);
  check(layer,
        {0.3570807861674432, 0.8941714113248429, -0.0315467275518031, -0.753828300561553,
         0.251263520633198, 1.4521243487320081, 0.37172817712779094, -0.857169125281368},
        {-0.4820540729070343, 0.38673101778781893, -0.6800041057964246, -0.6569557442140695,
         -0.044155643928916535, -0.04533873890597645, 0.20881571339871496, 0.04135854310434576});
}

TEST_CASE("SwiGlu is PyTorch's gated pair of Linears", "[nn][feedforward]") {
  SwiGlu layer({.dim = 4, .hidden = 6, .bias = false});
  CHECK(names(layer) == Names{"gate_proj.weight", "up_proj.weight", "down_proj.weight"});
  fill(layer);
  check(layer,
        {0.25863029187371733, -0.12143657803111604, -0.32618866527314155, 0.002965314760137866,
         1.0437160796039102, -0.6558748022935473, -0.5850146043009361, -0.2431080953082293},
        {-0.4659797893379314, -0.04778897486161305, 0.6374281314226868, -0.22872209284516531,
         -0.18755647702797063, 0.08731470203504459, -0.49678474680411616, -0.014225911266499084});
}

TEST_CASE("The hidden width has the method's default", "[nn][feedforward]") {
  CHECK(FeedForward({.dim = 12}).c_fc.options.out == 48);
  CHECK(SwiGlu({.dim = 12}).gate_proj.options.out == 32);  // 8/3 * 12 exactly
  CHECK(SwiGlu({.dim = 64}).up_proj.options.out == 176);   // 170.7, rounded up to a multiple of 8
  CHECK(SwiGlu({.dim = 20}).up_proj.options.out == 56);    // 53.3
  CHECK(SwiGlu({.dim = 64}).down_proj.options.in == 176);
}

TEST_CASE("Feed-forward layers keep leading axes and drop out the result", "[nn][feedforward]") {
  FeedForward plain({.dim = 4}), half({.dim = 4, .dropout = 0.5});
  SwiGlu gated({.dim = 4, .dropout = 1});
  const Tensor x = ones({2, 3, 4});
  CHECK(plain(x).shape() == Shape{2, 3, 4});
  const Tensor y = plain(x), z = half(x);
  for (std::size_t i = 0; i < y.size(); ++i)
    CHECK((z.data()[i] == 0 || z.data()[i] == 2 * y.data()[i]));
  CHECK(max(abs(gated(x))).item() == 0);
  gated.eval();
  CHECK(max(abs(gated(x))).item() > 0);
}
