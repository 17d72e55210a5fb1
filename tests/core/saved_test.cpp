// What the tape keeps and what it computes again: the same gradients for less memory.
// checkpoint(), which does so for whole functions, is recompute_test.cpp's.
#include <xgrad/core/saved.hpp>

#include <functional>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

using Function = std::function<Tensor(const Tensor&)>;

Tensor random(const Ints& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng);
}

/// Operations that can be repeated, from (3, 8) to (3, 8).
const std::vector<Function> repeatable{
    [](const Tensor& x) { return gelu(x); },
    [](const Tensor& x) { return gelu(x, Gelu::tanh); },
    [](const Tensor& x) { return silu(x); },
    [](const Tensor& x) { return swiglu(x, x * real(2)); },
    [](const Tensor& x) { return layer_norm(x, full({8}, 3), full({8}, 1)); },
    [](const Tensor& x) { return layer_norm(x, {}, full({8}, 1)); },
    [](const Tensor& x) { return rms_norm(x, full({8}, 3)); },
    [](const Tensor& x) { return rms_norm(x, {}); },
    [](const Tensor& x) { return gelu(gelu(silu(gelu(x)))); },
};

/// Hides who made x: what reads the result keeps its numbers.
Tensor kept(const Tensor& x) { return reshape(x, x.shape()); }

}  // namespace

TEST_CASE("what is computed again gives the same gradients to the last bit", "[saved]") {
  for (std::size_t i = 0; i < repeatable.size(); ++i) {
    INFO("function " << i);
    std::vector<Tensor> gradients;
    for (const bool keep : {true, false}) {
      Tensor x = random({3, 8}, 1).requires_grad_(), w = random({8, 4}, 2).requires_grad_();
      Tape tape;
      const Tensor h = repeatable[i](x);
      const Tensor y = matmul(keep ? kept(h) : h, w);
      tape.backward(sum(y * y), {}, {.retain = true});
      tape.backward(sum(y * y));  // the second time as well
      gradients.push_back(x.grad());
      gradients.push_back(w.grad());
    }
    for (const std::size_t k : {0, 1})
      CHECK(std::equal(gradients[k].data(), gradients[k].data() + gradients[k].size(),
                       gradients[k + 2].data()));
  }
}

TEST_CASE("an operation's output that can be computed again takes no memory", "[saved][memory]") {
  constexpr std::size_t n = 1 << 16;
  Tensor x = random({n, 1}, 1).requires_grad_(), w = random({1, 1}, 2).requires_grad_();
  const auto held = [&](const Function& f) {
    Tape tape;
    const std::size_t before = memory::stats().current;
    const Tensor y = sum(matmul(f(x), w));  // keeps nothing of its own: x's numbers are x's
    return memory::stats().current - before;
  };
  CHECK(held([](const Tensor& v) { return gelu(v); }) < n * sizeof(real) / 8);
  CHECK(held([](const Tensor& v) { return kept(gelu(v)); }) >= n * sizeof(real));
}

TEST_CASE("a chain of repeatable operations is not repeated from its beginning", "[saved]") {
  // Every other link is kept, so each is computed twice at most; and nothing recurses.
  int calls = 0;
  std::function<Tensor(const Tensor&)> link = [&](const Tensor& x) {
    ++calls;
    Tensor y = record("link", {x}, x.array() * real(0.5), Keep::inputs,
                      [](auto& r) { r.to(0, r.grad() * real(0.5) + r.in(0) * real(0)); });
    return recomputable(std::move(y), [&](const auto& in) { return link(in[0]); });
  };
  Tensor x = random({4}, 1).requires_grad_();
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 1000; ++i) y = link(y);
  tape.backward(sum(y));
  CHECK(calls <= 2000);
  CHECK(calls > 1000);
}

TEST_CASE("what is computed again can be differentiated again", "[saved]") {
  // y = (w gelu(x))^2, so d^2 y/dw dx = 4 w gelu(x) gelu'(x)
  Tensor x = scalar(real(0.7)).requires_grad_(), w = scalar(2).requires_grad_();
  Tape tape;
  const Tensor y = square(w * gelu(x));
  const Tensor dw = tape.gradient(y, w, {.record = true});
  const Tensor mixed = tape.gradient(dw, x, {.retain = true});
  const Tensor g = gelu(x), slope = tape.gradient(gelu(x), x, {.retain = true});
  CHECK_THAT(mixed.item(), WithinRel(4 * 2 * g.item() * slope.item(), real(1e-5)));
}

TEST_CASE("a result may outlive its use, and inputs may not change meanwhile", "[saved][errors]") {
  Tensor x = random({3, 8}, 1).requires_grad_(), w = random({8, 4}, 2).requires_grad_();
  Tensor h;
  {
    Tape tape;
    h = gelu(x);
    const std::vector<real> before(h.data(), h.data() + h.size());
    tape.backward(sum(matmul(h, w)));
    CHECK(std::equal(before.begin(), before.end(), h.data()));
  }
  Tape tape;
  const Tensor y = sum(matmul(gelu(x), w));
  x.mutable_data()[0] = 5;
  CHECK(
      error_of<std::logic_error>([&] { tape.backward(y); }) ==
      "backward: a tensor that the rule of gelu reads was changed in place after it was recorded");
}

TEST_CASE("a rule that writes over its gradient spoils nobody else's", "[saved][tape]") {
  // The gradient of a sum reaches both sides as one array; gelu's rule may write over one of them
  // only when the other is done with it.
  Tensor x = random({5, 8}, 1).requires_grad_();
  const auto gradient = [&](const Function& f) {
    Tape tape;
    return tape.gradient(f(x), x, {}, random({5, 8}, 3));
  };
  const Tensor both = gradient([](const Tensor& v) { return gelu(v) + silu(v); });
  const Tensor one = gradient([](const Tensor&v) { return gelu(v); }),
               other = gradient([](const Tensor&v) { return silu(v); });
  for (std::size_t i = 0; i < both.size(); ++i)
    CHECK_THAT(both.data()[i], WithinAbs(one.data()[i] + other.data()[i], 1e-6));

  const Tensor seed = random({5, 8}, 4), copy = seed.clone();
  Tape tape;
  tape.backward(gelu(x), seed);
  CHECK(std::equal(seed.data(), seed.data() + seed.size(), copy.data()));
}
