// Activations with slopes against PyTorch's, at the kink and at infinity too.
#include <xgrad/nn/activation.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "reference.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

const double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("Activations have PyTorch's values and gradients, at 0 and infinity too",
          "[nn][activation]") {
  struct Case {
    Tensor (*function)(const Tensor&);
    std::vector<double> value, gradient;
  };
  for (const Case& c : {Case{[](const Tensor& x) { return leaky_relu(x); },
                             {-0.02, 0, 3, -0.005, inf, -0.01},
                             {0.01, 0.01, 1, 0.01, 1, 0.01}},
                        Case{[](const Tensor& x) { return leaky_relu(x, real(0.25)); },
                             {-0.5, 0, 3, -0.125, inf, -0.25},
                             {0.25, 0.25, 1, 0.25, 1, 0.25}},
                        Case{[](const Tensor& x) { return elu(x); },
                             {-0.864664716763, 0, 3, -0.393469340287, inf, -0.632120558829},
                             {0.135335283237, 1, 1, 0.606530659713, 1, 0.367879441171}},
                        Case{[](const Tensor& x) { return elu(x, real(0.5)); },
                             {-0.432332358382, 0, 3, -0.196734670144, inf, -0.316060279414},
                             {0.0676676416183, 0.5, 1, 0.303265329856, 1, 0.183939720586}},
                        Case{[](const Tensor& x) { return prelu(x, tensor({0.25})); },
                             {-0.5, 0, 3, -0.125, inf, -0.25},
                             {0.25, 0.25, 1, 0.25, 1, 0.25}}}) {
    Tensor x = tensor({-2, 0, 3, real(-0.5), real(inf), -1}).requires_grad_();
    Tape tape;
    const Tensor y = c.function(x);
    check_near(y, c.value);
    check_near(tape.gradient(y, x, {}, ones(6)), c.gradient);
    CHECK(std::isnan(c.function(scalar(std::numeric_limits<real>::quiet_NaN())).item()));
  }
}

TEST_CASE("elu is -alpha at minus infinity and keeps small numbers' digits", "[nn][activation]") {
  check_near(elu(tensor({-real(inf), -1000}), 2), {-2, -2});
  CHECK_THAT(elu(scalar(real(-1e-9))).item(), WithinRel(-1e-9, 1e-6));
}

TEST_CASE("prelu has one slope per channel, and PyTorch's values and gradients",
          "[nn][activation]") {
  Tensor x = wave({2, 3, 2}, 0.5).requires_grad_(),
         weight = tensor({real(0.25), real(-0.5), 2}).requires_grad_();
  Tape tape;
  const Tensor y = prelu(x, weight);
  check_near(y, {0.479425538604, 0.932039085967, 0.946300087687, 0.515501371821, -0.315491388286,
                 -1.51360499062, -0.249980814391, -0.193191121889, 0.091081252136, 0.494113351139,
                 0.937999976775, 0.94073055668});
  const auto gradients = tape.gradient(y, {x, weight}, {}, wave({2, 3, 2}, 1));
  check_near(gradients[0], {0.841470984808, 0.991664810452, 0.675463180551, 0.0415806624333,
                            -1.22371578189, -1.95506023533, -0.22086366393, -0.0934691662076,
                            -0.155770681757, 0.850436620629, 0.989358246623, 0.662969230082});
  check_near(gradients[1], {1.17230546656, -0.0567511549619, 0.836315180011});
}

TEST_CASE("An infinity above 0 leaves prelu's slope without a gradient", "[nn][activation]") {
  Tensor weight = ones(1).requires_grad_();
  Tape tape;
  tape.backward(sum(prelu(tensor({real(inf), -3}), weight)));
  CHECK(weight.grad().item() == -3);
}

TEST_CASE("PRelu starts at a quarter and has PyTorch's name for its slopes", "[nn][activation]") {
  const PRelu one, three({.channels = 3, .init = 0.5});
  check_near(one(tensor({-2, 4})), {-0.5, 4});
  check_near(three(-ones({1, 3, 1})), {-0.5, -0.5, -0.5});
  const StateDict state = three.state_dict();
  REQUIRE(state.size() == 1);
  CHECK(state[0].first == "weight");
  CHECK(state[0].second.shape() == Shape{3});
  CHECK(three.to_string() == "PRelu(3)  3\nparameters: 3\n");
}
