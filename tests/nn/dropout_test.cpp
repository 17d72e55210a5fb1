// Dropout as a layer: modes, streams, gradient. The operation is tested in core.
#include <xgrad/nn/dropout.hpp>

#include <algorithm>
#include <string>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

struct Pair : Module {
  using Module::Module;
  Dropout a{this, "a", 0.5}, b{this, "b", 0.5};
};

}  // namespace

TEST_CASE("Dropout keeps a share 1 - p, scaled up, while training", "[nn][dropout]") {
  const Dropout layer(0.75);
  const Tensor y = layer(ones({100, 100}));
  const auto kept = std::count(y.data(), y.data() + y.size(), real(4));
  CHECK(std::count(y.data(), y.data() + y.size(), real(0)) == 10000 - kept);
  CHECK_THAT(static_cast<double>(kept), WithinAbs(2500, 200));  // 4.6 standard deviations
}

TEST_CASE("Dropout is the identity in evaluation and for p = 0", "[nn][dropout]") {
  Dropout layer(0.75);
  const Tensor x = ones({10});
  layer.eval();
  CHECK(layer(x).data() == x.data());
  CHECK(Dropout(0)(x).data() == x.data());
  CHECK(same(Dropout(1)(x), zeros({10})));
}

TEST_CASE("The gradient of Dropout passes where the value did", "[nn][dropout]") {
  const Dropout layer(0.5);
  Tensor x = ones({50}).requires_grad_();
  Tape tape;
  const Tensor y = layer(x);
  tape.backward(sum(y));
  CHECK(same(x.grad(), y));
}

TEST_CASE("Each Dropout draws from a stream of its own, chosen by seed and name", "[nn][dropout]") {
  const Pair pair, again, other(1);
  const Tensor x = ones({64});
  const Tensor a = pair.a(x), b = pair.b(x);
  CHECK_FALSE(same(a, b));
  CHECK_FALSE(same(a, pair.a(x)));
  CHECK(same(again.b(x), b));  // whatever a has drawn
  CHECK(same(again.a(x), a));
  CHECK_FALSE(same(other.a(x), a));
}

TEST_CASE("reseed gives each Dropout a stream of its own again", "[nn][dropout]") {
  Pair pair;
  const Tensor x = ones({64});
  pair.reseed(7);
  const Tensor a = pair.a(x), b = pair.b(x);
  CHECK_FALSE(same(a, b));
  pair.reseed(7);
  CHECK(same(pair.b(x), b));  // before a draws
  CHECK(same(pair.a(x), a));
}

TEST_CASE("Dropout names a bad probability", "[nn][dropout]") {
  for (const double p : {-0.1, 1.5}) CHECK_THROWS_AS(Dropout(p), std::invalid_argument);
  try {
    Dropout layer(1.5);
  } catch (const std::invalid_argument& error) {
    CHECK(std::string(error.what()) == "Dropout: p must be in [0, 1], got 1.5");
  }
}
