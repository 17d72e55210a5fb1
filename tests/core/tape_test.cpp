// The engine: what the tape guarantees whatever the operations are.
#include <cmath>
#include <thread>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/record.hpp>
#include <xgrad/nn/module.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

TEST_CASE("backward fills the gradient of every leaf and leaves accumulate", "[tape]") {
  Tensor a = tensor({1, 2, 3}).requires_grad_(), b = tensor({4, 5, 6}).requires_grad_();
  for (int pass = 1; pass <= 2; ++pass) {
    Tape tape;
    tape.backward(sum(a * b));
    CHECK(a.grad().data()[1] == 5 * pass);
    CHECK(b.grad().data()[2] == 3 * pass);
  }
  a.zero_grad();
  CHECK_FALSE(a.grad().defined());
}

TEST_CASE("nothing is recorded without a tape, under Pause, or for constants", "[tape]") {
  Tensor a = scalar(2).requires_grad_();
  CHECK_FALSE((a * a).requires_grad());
  Tape tape;
  {
    Pause pause;
    CHECK_FALSE((a * a).requires_grad());
  }
  CHECK_FALSE((scalar(1) + scalar(2)).requires_grad());
  CHECK(tape.size() == 0);
  CHECK((a * a).requires_grad());
  CHECK(tape.size() == 1);
}

TEST_CASE("a chain of a million operations differentiates without overflow", "[tape]") {
  Tensor x = scalar(1).requires_grad_();
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 1'000'000; ++i) y = y + real(1);
  tape.backward(y);
  CHECK(x.grad().item() == 1);
}

TEST_CASE("sixty doublings cost sixty steps", "[tape]") {
  Tensor x = scalar(1).requires_grad_();
  Tape tape;
  Tensor y = x;
  for (int i = 0; i < 60; ++i) y = y + y;
  CHECK(tape.size() == 60);
  tape.backward(y);
  CHECK(x.grad().item() == std::exp2(real(60)));
}

TEST_CASE("derivatives of any order come from recording the backward pass", "[tape]") {
  Tensor x = scalar(real(0.5)).requires_grad_();
  Tape tape;
  Tensor y = x * x * x * x * x;  // x^5
  const double expected[] = {5 * std::pow(0.5, 4), 20 * std::pow(0.5, 3), 60 * 0.25, 120 * 0.5,
                             120};
  for (const double value : expected) {
    y = tape.gradient(y, x, {.record = true});
    CHECK_THAT(y.item(), WithinRel(static_cast<real>(value), real(1e-6)));
  }
}

TEST_CASE("gradients of intermediates and of unused tensors", "[tape]") {
  Tensor x = tensor({1, 2}).requires_grad_(), unused = tensor({3, 4, 5}).requires_grad_();
  Tape tape;
  const Tensor h = x * x;
  const Tensor y = sum(h * h);
  const auto g = tape.gradient(y, {h, x, unused, y});
  CHECK(g[0].data()[1] == 8);
  CHECK(g[1].data()[1] == 32);
  CHECK(g[2].shape() == unused.shape());
  CHECK(g[2].data()[0] == 0);
  CHECK(g[3].item() == 1);
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a tensor named twice gets its gradient twice", "[tape]") {
  Tensor x = scalar(3).requires_grad_();
  Tape tape;
  const Tensor h = x * x;
  const auto g = tape.gradient(h * h, {x, h, x, h});
  CHECK(g[0].item() == 108);
  CHECK(g[1].item() == 18);
  CHECK(g[2].item() == 108);
  CHECK(g[3].item() == 18);
}

TEST_CASE("an operation that returns its input as its value is an error", "[tape][errors]") {
  Tensor x = scalar(3).requires_grad_();
  Tape tape;
  CHECK(error_of([&] { record("same", {x}, x, [](auto& r) { r.to(0, r.grad()); }); }) ==
        "same: its value is one of its inputs or another recorded tensor; a result needs a handle "
        "of its own");
}

TEST_CASE("gradient computes nothing for tensors that nobody asked about", "[tape]") {
  struct Count : Observer {
    void on_pull(std::size_t, const Entry& entry, const Tensor&) override {
      ops.push_back(entry.op);
    }
    std::vector<std::string> ops;
  } count;
  Tensor x = scalar(2).requires_grad_(), w = scalar(3).requires_grad_();
  Tape tape({.observer = &count});
  const Tensor side = exp(w);
  const Tensor y = x * side;
  CHECK(tape.gradient(y, x).item() == side.item());
  CHECK(count.ops == std::vector<std::string>{"mul"});
}

TEST_CASE("the result's own gradient, a detached tensor and an unused branch", "[tape]") {
  Tensor a = scalar(3).requires_grad_(), b = scalar(4).requires_grad_(),
         c = scalar(5).requires_grad_();
  Tape tape;
  const Tensor branch = c * c;
  const Tensor y = a * (b * b).detach();
  tape.backward(y);
  CHECK(a.grad().item() == 16);
  CHECK_FALSE(b.grad().defined());
  CHECK_FALSE(c.grad().defined());
}

TEST_CASE("leaf gradients never share their numbers with each other", "[tape]") {
  Tensor a = tensor({1, 2}).requires_grad_(), b = tensor({3, 4}).requires_grad_();
  Tape tape;
  tape.backward(sum(a + b));
  Tensor ga = a.grad();
  ga.mutable_data()[0] = 100;
  CHECK(b.grad().data()[0] == 1);
}

TEST_CASE("misuse of a tape is a clear error, not a wrong number", "[tape][errors]") {
  Tensor a = tensor({1, 2}).requires_grad_();

  SECTION("a second sweep") {
    Tape tape;
    const Tensor y = sum(a * a);
    tape.backward(y);
    CHECK(error_of([&] { tape.backward(y); }) ==
          "backward: this tape was already read backwards; make a new Tape for every step, or pass "
          "{.retain = true} to "
          "read it again");
  }
  SECTION("a second sweep is allowed on request, and gradients add up") {
    Tape tape;
    const Tensor y = sum(a * a);
    tape.backward(y, {}, {.retain = true});
    tape.backward(y);
    CHECK(a.grad().data()[1] == 8);
  }
  SECTION("a value changed in place") {
    Tape tape;
    const Tensor y = sum(a * a);
    a.mutable_data()[0] = 7;
    CHECK(
        error_of([&] { tape.backward(y); }) ==
        "backward: a tensor that the rule of mul reads was changed in place after it was recorded");
    CHECK_FALSE(a.grad().defined());
  }
  SECTION("a change that no rule reads is none") {
    Tape tape;
    const Tensor y = sum(a + a);
    a.mutable_data()[0] = 7;
    tape.backward(y);
    CHECK(a.grad().data()[0] == 2);
  }
  SECTION("a tensor of a dead tape") {
    Tensor old;
    {
      Tape tape;
      old = a * a;
    }
    Tape tape;
    CHECK(
        error_of([&] { old* a; }) ==
        "mul: input 0 was recorded on another tape; detach() it if no gradient should flow there");
    CHECK(error_of([&] { tape.backward(sum(old)); }).find("another tape") != std::string::npos);
  }
  SECTION("a result without a gradient") {
    Tape tape;
    CHECK(error_of([&] { tape.backward(scalar(1)); }) ==
          "backward: the result depends on no tensor that requires a gradient, or was computed "
          "before this tape began");
  }
  SECTION("a result that is a leaf") {
    Tape tape;
    CHECK(error_of([&] { tape.backward(a, ones(2)); }) ==
          "backward: the result is a leaf itself, which no operation made");
  }
  SECTION("a result that is no scalar") {
    Tape tape;
    const Tensor y = a * a;
    CHECK(error_of([&] { tape.backward(y); }) ==
          "backward: needs a scalar, got shape (2,): reduce with mean(), or pass a seed of that "
          "shape");
    CHECK(error_of([&] { tape.backward(y, ones(3)); }) ==
          "backward: the seed has shape (3,), the result (2,)");
  }
  SECTION("another thread") {
    Tape tape;
    const Tensor y = sum(a * a);
    std::string error;
    std::thread([&] { error = error_of([&] { tape.backward(y); }); }).join();
    CHECK(error == "backward: this tape belongs to another thread");
  }
  SECTION("writing to a recorded result") {
    Tape tape;
    Tensor y = a * a;
    CHECK(error_of([&] { y.mutable_data(); }) ==
          "mutable_array: this tensor is the result of a recorded operation; detach() or clone() "
          "it first");
  }
  SECTION("a tensor without a value") {
    CHECK(error_of([&] { Tensor().shape(); }) ==
          "tensor: has no value yet (default-constructed, or no gradient)");
    CHECK(error_of([&] { a* Tensor(); }) ==
          "tensor: has no value yet (default-constructed, or no gradient)");
  }
}

TEST_CASE("an operation that reads what it did not keep is named", "[tape][errors]") {
  Tensor a = scalar(2).requires_grad_();
  Tape tape;
  const Tensor y = record("cube", {a}, a.array() * a.array() * a.array(), Keep::nothing,
                          [](auto& r) { r.to(0, r.grad() * r.in(0)); });
  CHECK(error_of([&] { tape.backward(y); }) ==
        "cube: its rule reads an input that record() was told not to keep");
}

TEST_CASE("a rule whose gradient has the wrong shape is named", "[tape][errors]") {
  Tensor a = tensor({1, 2}).requires_grad_();
  Tape tape;
  const Tensor y =
      record("odd", {a}, a.array() * real(1), [](auto& r) { r.to(0, sum(Tensor(r.grad()))); });
  CHECK(error_of([&] { tape.backward(y, ones(2)); }) ==
        "odd: its rule gives input 0, of shape (2,), a gradient of shape ()");
}

TEST_CASE("a fused operation asked for a second derivative names itself and its twin",
          "[tape][errors]") {
  Tensor a = scalar(2).requires_grad_();
  Tape tape;
  const Tensor y = record_fused(
      "cubed", "composite::cubed", {a}, a.array() * a.array() * a.array(), Keep::inputs,
      [](RawPull& r) { r.to(0, real(3) * r.grad() * r.in(0) * r.in(0)); });
  CHECK(error_of([&] { tape.gradient(y, a, {.record = true}); }) ==
        "cubed: a fused operation has no second derivative; use composite::cubed to differentiate "
        "twice");
  CHECK(tape.gradient(y, a).item() == 12);  // the failed attempt left nothing behind
}

TEST_CASE("check_finite names the first operation that makes NaN or Inf", "[tape]") {
  const Tensor a = tensor({-1, 4}).requires_grad_(), zero = tensor({0, 1}).requires_grad_();
  Tape tape({.check_finite = true});
  SECTION("forward, with the shapes and ranges of its inputs") {
    CHECK(error_of([&] { log(a); }) == "log: produced NaN or Inf from input (2,) in [-1, 4]");
    CHECK(error_of([&] {
            ones({3, 2}) / zero;
          }) == "div: produced NaN or Inf from inputs (3, 2) in [1, 1], (2,) in [0, 1]");
    const Tensor nan = tensor({std::numeric_limits<real>::quiet_NaN(), 1, 2});
    CHECK(error_of([&] { exp(nan); }) ==
          "exp: produced NaN or Inf from input (3,) in [1, 2] with 1 NaN");
  }
  SECTION("an infinity that was there may pass, NaN may not") {
    const Tensor masked = masked_fill(a, tensor({1, 0}), -std::numeric_limits<real>::infinity());
    CHECK(error_of([&] { tape.backward(sum(softmax(masked + real(1)))); }) == "no error");
    CHECK(error_of([&] { masked - masked; }) ==
          "sub: produced NaN or Inf from inputs (2,) in [-inf, 4], (2,) in [-inf, 4]");
  }
  SECTION("backward, with the gradient and what the rule reads") {
    const Tensor y = sum(sqrt(zero));
    CHECK(error_of([&] { tape.backward(y); }) ==
          "sqrt: its backward rule produced NaN or Inf for input 0 (2,) from the gradient (2,) in "
          "[1, 1], output (2,) in [0, 1]");
  }
  SECTION("backward, where the rule adds to an earlier gradient") {
    const Tensor y = sum(sqrt(zero)) + sum(zero * zero);
    CHECK(error_of([&] { tape.backward(y); }).starts_with("sqrt: its backward rule produced"));
  }
}

TEST_CASE("check_finite says in which module it happened", "[tape][module]") {
  struct Inner : Module {
    using Module::Module;
    Tensor operator()(const Tensor& x) const {
      const Scope here = enter();
      return sqrt(x);
    }
  };
  struct Net : Module {
    Net() {
      parts.emplace();
      parts.emplace();
    }
    ModuleList<Inner> parts{this, "parts"};
    Tensor operator()(const Tensor& x) const {
      const Scope here = enter();
      return log(parts[1](x));
    }
  } net;
  const auto error = [&](real value) {
    const Tensor x = scalar(value).requires_grad_();
    return error_of([&] {
      Tape tape({.check_finite = true});
      tape.backward(net(x) * real(0));
    });
  };
  CHECK(error(-1) == "sqrt: produced NaN or Inf in Net.parts.1 from input () in [-1, -1]");
  CHECK(error(0) == "log: produced NaN or Inf in Net from input () in [0, 0]");
  CHECK(error(1) == "no error");
  const Tensor x = scalar(0).requires_grad_();
  Tape tape({.check_finite = true});
  const Tensor y = net.parts[0](x);
  CHECK(error_of([&] { tape.backward(y); }) ==
        "sqrt: its backward rule produced NaN or Inf in Net.parts.0 for input 0 () from the "
        "gradient () in [1, 1], output () in [0, 0]");
}

TEST_CASE("tapes nest: the innermost records, and the outer one goes on afterwards", "[tape]") {
  Tensor a = scalar(3).requires_grad_();
  Tape outer;
  const Tensor y = a * a;
  {
    Tape inner;
    inner.backward(a * real(10));
  }
  CHECK(a.grad().item() == 10);
  outer.backward(y * real(2));
  CHECK(a.grad().item() == 10 + 12);
}

TEST_CASE("saved values are released while the tape is read", "[tape][memory]") {
  constexpr std::size_t n = 1 << 16, bytes = n * sizeof(real);
  Tensor x = ones(n).requires_grad_();
  const std::size_t before = memory::stats().current;
  {
    Tape tape;
    Tensor y = x;
    for (int i = 0; i < 20; ++i) y = y * y;
    const Tensor loss = sum(y);
    CHECK(memory::stats().current - before >= 20 * bytes);
    memory::reset_peak();
    y = Tensor();
    tape.backward(loss);
    CHECK(memory::stats().peak - before < 24 * bytes);  // a gradient or two beside the saved values
    CHECK(memory::stats().current - before < 3 * bytes);  // x's gradient is what remains
  }
}

TEST_CASE("after the first step nothing more is allocated", "[tape][memory]") {
  Tensor w = ones({64, 64}).requires_grad_();
  const Tensor x = ones({32, 64});
  std::uint64_t after_first = 0;
  for (int step = 0; step < 5; ++step) {
    Tape tape;
    tape.backward(sum(square(matmul(x, w))));
    w.zero_grad();
    if (step == 0) after_first = memory::stats().allocations;
  }
  CHECK(memory::stats().allocations == after_first);
}
