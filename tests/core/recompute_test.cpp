// checkpoint(): the same gradients for less memory.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/recompute.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

using List = const std::vector<Tensor>&;
using Run = std::function<Tensor(const std::function<Tensor(List)>&, List)>;

Tensor plain(const std::function<Tensor(List)>& fn, List inputs) { return fn(inputs); }

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

Tensor random(const Ints& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng);
}

}  // namespace

TEST_CASE("checkpointed gradients are the same to the last bit", "[checkpoint]") {
  // Two layers that share a weight, use it outside as well, capture an intermediate tensor, and
  // drop out; then a gradient that adds to an earlier one.
  const auto gradients = [](const Run& run) {
    Tensor x = random({3, 8}, 1).requires_grad_(), w = random({8, 8}, 2).requires_grad_();
    Rng rng(3);
    for (int pass = 0; pass < 2; ++pass) {
      Tape tape;
      const Tensor h = matmul(x, w), captured = tanh(w);
      const auto layer = [&](List in) {
        const Tensor y = dropout(tanh(matmul(in[0], w)), real(0.3), rng);
        return matmul(y, w) + matmul(in[0], captured) * rand(in[0].shape(), rng);
      };
      const Tensor y = run(layer, {run(layer, {h})});
      tape.backward(sum(square(matmul(y, w))));
    }
    return std::vector{x.grad(), w.grad(), scalar(static_cast<real>(rng.position()))};
  };
  const auto a = gradients(plain), b = gradients(checkpoint);
  CHECK(same_bits(a[0], b[0]));
  CHECK(same_bits(a[1], b[1]));
  CHECK(same_bits(a[2], b[2]));  // as many random numbers used
}

TEST_CASE("checkpoints nest, draws included", "[checkpoint]") {
  const auto gradients = [](const Run& run) {
    Tensor x = random({4, 4}, 1).requires_grad_(), w = random({4, 4}, 2).requires_grad_();
    Rng rng(5);
    Tape tape;
    const auto inner = [&](List in) { return dropout(matmul(in[0], w), real(0.5), rng); };
    const auto outer = [&](List in) {
      const Tensor first = dropout(in[0], real(0.2), rng);
      return dropout(run(inner, {run(inner, {first})}), real(0.4), rng);
    };
    tape.backward(sum(square(run(outer, {run(outer, {x})}))));
    return std::vector{x.grad(), w.grad()};
  };
  const auto a = gradients(plain), b = gradients(checkpoint);
  CHECK(same_bits(a[0], b[0]));
  CHECK(same_bits(a[1], b[1]));
}

TEST_CASE("gradient reaches what a checkpoint captured, and nothing else", "[checkpoint]") {
  Tensor x = scalar(2).requires_grad_(), w = scalar(3).requires_grad_(),
         other = scalar(5).requires_grad_();
  Tape tape;
  const Tensor y = checkpoint([&](List in) { return in[0] * w * w * other; }, {x});
  const auto g = tape.gradient(y, {w, x});
  CHECK(g[0].item() == 2 * 2 * 3 * 5);
  CHECK(g[1].item() == 9 * 5);
  CHECK_FALSE(other.grad().defined());
}

TEST_CASE("a checkpoint that computes nothing is nothing", "[checkpoint]") {
  Tensor x = scalar(2).requires_grad_();
  Tape tape;
  CHECK(checkpoint([](List in) { return in[0]; }, {x * x}).item() == 4);
  CHECK_FALSE(checkpoint([](List) { return scalar(1); }, {x}).requires_grad());
  CHECK(tape.size() == 1);
  const Pause pause;
  CHECK(checkpoint([](List in) { return in[0] + in[0]; }, {x}).item() == 4);
}

TEST_CASE("checkpointing a deep chain lowers the peak of memory", "[checkpoint][memory]") {
  constexpr std::size_t n = 1 << 14, layers = 16, depth = 16, bytes = n * sizeof(real);
  const auto peak = [&](const Run& run) {
    Tensor x = full({n}, real(0.5)).requires_grad_();
    const std::size_t before = memory::stats().current;
    memory::reset_peak();
    Tape tape;
    Tensor y = x;
    for (std::size_t i = 0; i < layers; ++i)
      y = run(
          [&](List in) {
            Tensor h = in[0];
            for (std::size_t k = 0; k < depth; ++k) h = tanh(h);
            return h;
          },
          {y});
    tape.backward(sum(y));
    return memory::stats().peak - before;
  };
  CHECK(peak(plain) > layers * depth * bytes);
  CHECK(peak(checkpoint) < (layers + depth + 6) * bytes);
}

TEST_CASE("a function that computes something else the second time is found out",
          "[checkpoint][errors]") {
  Tensor x = scalar(2).requires_grad_();
  Rng rng(1);
  int calls = 0;
  {
    Tape tape;
    const Tensor y = checkpoint(
        [&](List in) {
          return ++calls > 1 ? dropout(in[0] * in[0], real(0.5), rng) : in[0] * in[0];
        },
        {x});
    CHECK(error_of([&] { tape.backward(y); }) ==
          "checkpoint: the function draws more when computed again");
  }
  calls = 0;
  Tape tape;
  const Tensor y =
      checkpoint([&](List in) { return ++calls > 1 ? scalar(1) : in[0] * in[0]; }, {x});
  CHECK(error_of([&] { tape.backward(y); }) ==
        "checkpoint: the function computes something else the second time");
  Tape again;
  CHECK(error_of([&] {
          again.gradient(checkpoint([](List in) { return in[0] * in[0]; }, {x}), x,
                         {.record = true});
        }) ==
        "checkpoint: a fused operation has no second derivative; use the function itself to "
        "differentiate twice");
}

TEST_CASE("a recomputed batch norm moves its running statistics once", "[checkpoint][norm]") {
  const auto statistics = [](const Run& run) {
    const Tensor x = random({6, 3}, 1).requires_grad_();
    const Tensor mean = zeros(3), var = ones(3);
    const auto layer = [&](List in) {
      return batch_norm(in[0], mean, var, {}, {}, {.training = true});
    };
    Tape tape;
    tape.backward(run(layer, {run(layer, {x})}), random({6, 3}, 2));
    return std::vector{x.grad(), mean, var};
  };
  const auto a = statistics(plain), b = statistics(checkpoint);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
}
