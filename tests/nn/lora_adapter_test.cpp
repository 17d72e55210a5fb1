// What an adapter computes, against numbers worked out by hand, and against the layer without it.
#include <xgrad/nn/lora.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/linear.hpp>

#include "catch.hpp"
#include "error_of.hpp"
#include "reference.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

void set(Tensor target, const Tensor& values) {
  REQUIRE(target.shape() == values.shape());
  std::copy_n(values.data(), values.size(), target.mutable_data());
}

/// Numbers printed with about ten digits.
void check_printed(const Tensor& x, const std::vector<double>& expected) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(expected[i], (sizeof(real) == 8 ? 1e-9 : 1e-5) *
                                                       std::max(1.0, std::abs(expected[i]))));
  }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// One layer in a model: 4 -> 3, rank 2, s = 2, and numbers of which none is 0 by symmetry.
struct Example : Module {
  using Module::Module;
  Linear fc{this, "fc", {.in = 4, .out = 3, .bias = false}};

  lora::Adapter& adapt(lora::Options options = {}) {
    options.rank = 2;
    options.alpha = 4;
    set(fc.weight, tensor({2, 0, 1, -1, -1, 1, 1, 0, 0, 3, -2, 1}, {3, 4}));
    return *lora::attach(*this, options).front();
  }
  static void start(lora::Adapter& adapter) {
    set(adapter.A, tensor({1, 2, 0, 1, 0, 1, -1, 1}, {2, 4}));
    set(adapter.B, tensor({1, -1, 0, 1, 2, 0}, {3, 2}));
  }
  const Tensor x = tensor({1, 0, -1, 2, 0, 3, 1, -1}, {2, 4});
  const Tensor dY = tensor({1, -1, 2, 0, 1, 1}, {2, 3});
};

}  // namespace

TEST_CASE("An adapter computes x W^T + s (x A^T) B^T and its gradients", "[nn][lora]") {
  Example model;
  lora::Adapter& adapter = model.adapt();
  Example::start(adapter);
  CHECK(adapter.scale() == 2);
  Tensor x = model.x.clone().requires_grad_();
  Tape tape;
  const Tensor y = model.fc(x);
  check_near(y, {-1, 4, 16, 10, 6, 26});
  tape.backward(y, model.dY);
  check_near(adapter.A.grad(), {10, 12, -6, 16, -4, 6, 6, -10});
  check_near(adapter.B.grad(), {6, 6, 4, -4, 22, 14});
  check_near(x.grad(), {13, 21, 0, 7, 3, 14, -3, 7});
  CHECK_FALSE(model.fc.weight.grad().defined());
}

TEST_CASE("With B = 0 the output is the layer's own, bit for bit", "[nn][lora]") {
  Linear layer({.in = 7, .out = 5});
  Rng rng(1);
  const Tensor x = randn({3, 2, 7}, rng), before = layer(x);
  for (const double dropout : {0.0, 0.5}) {
    const auto adapters = lora::attach(layer, {.rank = 3, .dropout = dropout});
    CHECK(same_bits(layer(x), before));
    CHECK(max(abs(adapters[0]->A)).item() > 0);
    CHECK(max(abs(adapters[0]->B)).item() == 0);
    lora::detach(layer);
    CHECK(same_bits(layer(x), before));
  }
}

TEST_CASE("DoRA trains the lengths of the weight's rows apart from their directions",
          "[nn][lora]") {
  Example model;
  lora::Adapter& adapter = model.adapt({.dora = true});
  check_near(square(adapter.magnitude), {6, 3, 14});
  CHECK(same_bits(model.fc(model.x), linear(model.x, model.fc.weight)));
  Example::start(adapter);
  check_near(square(adapter.row_lengths()) / real(10), {3, 1.5, 16.6});
  Tensor x = model.x.clone().requires_grad_();
  Tape tape;
  const Tensor y = model.fc(x);
  check_printed(y,
                {-.4472135955, 1.788854382, 4.6465429564, 4.472135955, 2.683281573, 7.5506323042});
  tape.backward(y, model.dY);
  check_printed(adapter.magnitude.grad(), {-.182574185835, .516397779494, 4.501673049097});
  check_printed(adapter.A.grad(), {3.217698669206, 3.484907217309, -2.056062930103, 5.273761599309,
                                   -1.788854382, 2.683281573, 2.683281573, -4.472135955});
  check_printed(adapter.B.grad(), {2.683281573, 2.683281573, 1.788854382, -1.788854382,
                                   6.388996565067, 4.065725086861});
  // dx = dY W', the weight that the update makes.
  const Tensor whole = model.fc.weight + adapter.update();
  check_printed(x.grad() - matmul(model.dY, whole), std::vector<double>(8, 0));
  CHECK_FALSE(model.fc.weight.grad().defined());
}

TEST_CASE("DoRA leaves the bias alone, and shares one dropout mask", "[nn][lora]") {
  Linear layer({.in = 6, .out = 5});
  Rng rng(8);
  const Tensor x = randn({64, 6}, rng), before = layer(x);
  lora::Adapter& adapter = *lora::attach(layer, {.rank = 2, .dropout = 0.5, .dora = true}).front();
  CHECK(same_bits(layer(x), before));
  const Tensor noise = randn({5, 2}, rng);
  set(adapter.B, noise);
  // Where a row of x is dropped as a whole, the output is the layer's own. Where it is not, x_d is
  // one and the same in both terms: y - plain = x_d (W' - W)^T.
  layer.train();
  const Tensor gain = layer(x) - before, change = adapter.update();
  adapter.reseed(0);
  layer.reseed(5);
  const Tensor first = layer(x);
  layer.reseed(5);
  const Tensor again = layer(x);
  CHECK(same_bits(first, again));
  const Tensor limit = linear(abs(x) * real(2), abs(change));
  CHECK(max(abs(gain) - limit).item() < 1e-5);
  layer.eval();
  const Tensor expected = linear(x, layer.weight + change, layer.bias);
  CHECK(max(abs(layer(x) - expected)).item() < (sizeof(real) == 8 ? 1e-12 : 1e-5));
}

TEST_CASE("Dropout falls on the adapter's input alone", "[nn][lora]") {
  Linear layer({.in = 3, .out = 3, .bias = false});
  Rng rng(3);
  const Tensor x = randn({400, 3}, rng) + real(3), before = layer(x);
  lora::Adapter& adapter = *lora::attach(layer, {.rank = 3, .alpha = 3, .dropout = 0.25}).front();
  const Tensor one = tensor({1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  set(adapter.A, one);
  set(adapter.B, one);  // the gain is x_d itself
  const Tensor gain = layer(x) - before;
  std::size_t dropped = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const real ratio = gain.data()[i] / x.data()[i];
    dropped += std::abs(ratio) < 1e-3;
    CHECK((std::abs(ratio) < 1e-3 || std::abs(ratio - real(4) / 3) < 1e-3));
  }
  CHECK(dropped > 240);
  CHECK(dropped < 360);
  layer.eval();
  CHECK(max(abs(layer(x) - before - x)).item() < 1e-4);
}

TEST_CASE("An adapter may start from factors, and change nothing at first", "[nn][lora]") {
  Rng rng(6);
  const Tensor A0 = randn({2, 7}, rng), B0 = randn({5, 2}, rng), x = randn({9, 7}, rng);
  const real close = sizeof(real) == 8 ? real(1e-12) : real(1e-5);
  for (const lora::Reference mode : {lora::Reference::keep, lora::Reference::fold}) {
    Linear layer({.in = 7, .out = 5});
    const Tensor before = layer(x), W = layer.weight.clone();
    lora::Adapter& adapter = *lora::attach(layer, {.rank = 2, .alpha = 3}).front();
    adapter.start_from(A0, B0, mode);
    CHECK(same_bits(adapter.A, A0));
    CHECK(same_bits(adapter.B, B0));
    if (mode == lora::Reference::keep) {
      CHECK(same_bits(layer(x), before));
      CHECK(same_bits(layer.weight, W));
    } else {
      CHECK(max(abs(layer(x) - before)).item() < close);
      CHECK(max(abs(layer.weight + matmul(B0, A0) * real(1.5) - W)).item() < close);
    }
    const Tensor A1 = randn({2, 7}, rng), B1 = randn({5, 2}, rng);
    set(adapter.A, A1);
    set(adapter.B, B1);
    const Tensor moved = W + (matmul(B1, A1) - matmul(B0, A0)) * real(1.5);
    CHECK(max(abs(layer(x) - linear(x, moved, layer.bias))).item() < 8 * close);
    CHECK(max(abs(layer.weight + adapter.update() - moved)).item() < 8 * close);
    // The references are no parameters, but part of the state.
    CHECK(layer.trainable_parameters().size() == 2);
    CHECK(layer.state_dict().back().first == "lora.default.reference.B");
    CHECK(error_of<std::logic_error>([&] { adapter.start_from(A0, B0, mode); }) ==
          "lora: \"\": adapter \"default\" has been initialised already; doing it twice would take "
          "its start off twice");
    lora::detach(layer);
    CHECK(max(abs(layer.weight - W)).item() < close);
    CHECK((mode == lora::Reference::fold || same_bits(layer.weight, W)));
  }
}

TEST_CASE("Factors that do not fit, or DoRA that would keep them, are refused", "[nn][lora]") {
  Example model;
  lora::Adapter& adapter = model.adapt({.dora = true});
  CHECK(error_of<ShapeError>([&] {
          adapter.start_from(zeros({4, 2}), zeros({2, 3}), lora::Reference::fold);
        }) == "lora: \"fc\": factors (4, 2) and (2, 3), adapter \"default\" has (2, 4) and (3, 2)");
  const auto start = [&](lora::Reference mode) {
    adapter.start_from(tensor({1, 2, 0, 1, 0, 1, -1, 1}, {2, 4}),
                       tensor({1, -1, 0, 1, 2, 0}, {3, 2}), mode);
  };
  CHECK(error_of<std::invalid_argument>([&] { start(lora::Reference::keep); }) ==
        "lora: \"fc\": DoRA needs Reference::fold, since it rescales the base weight");
  start(lora::Reference::fold);
  check_near(square(adapter.magnitude), {6, 3, 14});  // |W|, though W itself is another
  check_near(model.fc(model.x), {-1, -2, 4, 2, 4, 6});
}

TEST_CASE("Initial values are PEFT's", "[nn][lora]") {
  Linear layer({.in = 64, .out = 500});
  const auto adapter = [&](lora::Init init) {
    if (layer.attachment) lora::detach(layer);
    return lora::attach(layer, {.rank = 50, .init = init}).front();
  };
  const auto* a = adapter(lora::Init::uniform);
  CHECK_THAT(max(abs(a->A)).item(), WithinRel(0.125, 0.01));
  CHECK_THAT(mean(square(a->A)).item(), WithinRel(0.125 * 0.125 / 3, 0.05));
  CHECK(max(abs(a->B)).item() == 0);
  a = adapter(lora::Init::gaussian);
  CHECK_THAT(mean(square(a->A)).item(), WithinRel(1.0 / 2500, 0.08));
  CHECK(max(abs(a->A)).item() > 0.05);
  CHECK(max(abs(a->B)).item() == 0);
  a = adapter(lora::Init::random);
  CHECK_THAT(max(abs(a->B)).item(), WithinRel(1 / std::sqrt(50.0), 0.01));
}
