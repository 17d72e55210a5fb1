// Layer norm and RMS norm: values and gradients against PyTorch, the fused operations against their
// composed twins, accuracy, errors and threads. Derivatives are checked by the rows of
// op_table.cpp.
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

using Tensors = std::vector<Tensor>;

constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 1e-5;

Tensor random(const Ints& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng);
}

/// Largest difference, relative to the larger of 1 and the expected number.
template <class Expected>
double distance(const Tensor& x, const Expected& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wanted = expected[i],
                 difference = std::abs(x.data()[i] - wanted) / std::max(1.0, std::abs(wanted));
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

/// f(inputs), followed by its gradients for all inputs, weighted by `seed`.
template <class F>
Tensors differentiated(const F& f, const Tensors& inputs, const Tensor& seed) {
  Tensors leaves;
  for (const Tensor& x : inputs) leaves.push_back(x.clone().requires_grad_());
  Tape tape;
  Tensors results{f(leaves)};
  for (Tensor& gradient : tape.gradient(results[0], leaves, {}, seed)) results.push_back(gradient);
  return results;
}

}  // namespace

TEST_CASE("layer_norm and rms_norm have PyTorch's values and gradients", "[ops][norm]") {
  const Tensor x = tensor({0.5, -1.25, 2, 1.5, 0.25, -0.75}, {2, 3}),
               seed = tensor({1, 2, -1, 0.5, -1, 3}, {2, 3});
  const Tensor weight = tensor({1, 0.5, -2}), bias = tensor({real(0.1), real(0.2), real(0.3)});
  const Tensors layer =
      differentiated([](const Tensors& in) { return layer_norm(in[0], in[1], in[2], real(1e-5)); },
                     {x, weight, bias}, seed);
  CHECK(distance(layer[0],
                 std::vector<double>{0.16274540265308407, -0.42745402653084025, -2.084325300817194,
                                     1.3674929643309852, 0.15473239413103623, 2.6539155051861156}) <
        tolerance);
  CHECK(distance(layer[1], std::vector<double>{-0.2697557191435098, 0.12450056001113641,
                                               0.1452551591323734, -0.8370377244664899,
                                               1.8834262453258608, -1.0463885208593702}) <
        tolerance);
  CHECK(distance(layer[2], std::vector<double>{0.6964918848185766, -2.419280894385434,
                                               -4.723035908187771}) < tolerance);
  CHECK(distance(layer[3], std::vector<double>{1.5, 1, 2}) < tolerance);

  const Tensors rms = differentiated(
      [](const Tensors& in) { return rms_norm(in[0], in[1], real(1e-5)); }, {x, weight}, seed);
  CHECK(distance(rms[0], std::vector<double>{0.35920967706203094, -0.4490120963275387,
                                             -2.8736774164962475, 1.5322537610191536,
                                             0.1276878134182628, 1.5322537610191536}) < tolerance);
  CHECK(distance(rms[1], std::vector<double>{0.517571969172655, 1.220537816502579,
                                             0.6334491684424964, -2.2206291233049846,
                                             -0.9659813165027238, -4.763324855587596}) < tolerance);
  CHECK(distance(rms[2], std::vector<double>{1.1253365575716077, -2.0514240121466805,
                                             -3.7352193497768544}) < tolerance);
}

TEST_CASE("the fused norms are their composed twins, in value and gradient", "[ops][norm]") {
  for (const std::size_t n : {1, 7, 16, 33, 384})
    for (const std::size_t rows : {1, 5, 90}) {
      const Tensors inputs{random({rows, n}, 1), random({n}, 2), random({n}, 3)},
          two{inputs[0], inputs[1]};
      const Tensor seed = random({rows, n}, 4);
      const auto check = [&](const Tensors& fused, const Tensors& composed) {
        for (std::size_t i = 0; i < fused.size(); ++i) {
          INFO("n = " << n << ", rows = " << rows << ", result " << i);
          // n = 1 divides by sqrt(eps) alone, which magnifies rounding.
          CHECK(distance(fused[i], composed[i].data()) < (n == 1 ? 100 : 1) * tolerance);
        }
      };
      check(differentiated([](const Tensors& in) { return layer_norm(in[0], in[1], in[2]); },
                           inputs, seed),
            differentiated(
                [](const Tensors& in) { return composite::layer_norm(in[0], in[1], in[2]); },
                inputs, seed));
      check(differentiated([](const Tensors& in) { return rms_norm(in[0], in[1]); }, two, seed),
            differentiated([](const Tensors& in) { return composite::rms_norm(in[0], in[1]); }, two,
                           seed));
    }
}

TEST_CASE("undefined weights count as ones and zeros", "[ops][norm]") {
  const Tensor x = random({4, 10}, 1);
  const Tensor y = layer_norm(x, ones({10}), zeros({10}));
  CHECK(distance(layer_norm(x, {}, {}), y.data()) == 0);
  CHECK(distance(mean(y, -1), std::vector<double>(4, 0.0)) < tolerance);
  CHECK(distance(rms_norm(x, {}), rms_norm(x, ones({10})).data()) == 0);
}

TEST_CASE("layer_norm keeps its accuracy when the mean is large", "[ops][norm]") {
  Tensor x = random({3, 100}, 1);
  for (std::size_t i = 0; i < x.size(); ++i) x.mutable_data()[i] = std::round(8 * x.data()[i]) / 8;
  const Tensor far = x + real(4096);  // exact: eighths
  CHECK(distance(layer_norm(far, {}, {}), layer_norm(x, {}, {}).data()) < 1e-3);
}

TEST_CASE("the norms say what is wrong", "[ops][norm]") {
  const auto text = [](auto call) -> std::string {
    try {
      call();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  };
  const Tensor x = zeros({2, 3});
  CHECK(text([&] { layer_norm(x, zeros({4}), {}); }) ==
        "layer_norm: weight has shape (4,), last axis of input (2, 3) is 3");
  CHECK(text([&] {
          layer_norm(x, {}, zeros({1, 3}));
        }) == "layer_norm: bias has shape (1, 3), last axis of input (2, 3) is 3");
  CHECK(text([&] { rms_norm(x, zeros({2})); }) ==
        "rms_norm: weight has shape (2,), last axis of input (2, 3) is 3");
  CHECK(text([&] { rms_norm(scalar(1), {}); }) == "rms_norm: needs at least 1 axis, got shape ()");
  CHECK(text([&] { layer_norm(x, {}, {}, -1); }) == "layer_norm: eps must not be negative, got -1");
  CHECK_THROWS_AS(layer_norm(x, zeros({4}), {}), ShapeError);
}

TEST_CASE("the second derivative of a fused norm names it and its twin", "[ops][norm]") {
  Tensor x = random({2, 3}, 1);
  x.requires_grad_();
  Tape tape;
  const Tensor a = layer_norm(x, {}, {}), b = rms_norm(x, {});
  CHECK_THROWS_WITH(
      tape.gradient(a, x, {.record = true}, ones({2, 3})),
      "layer_norm: a fused operation has no second derivative; use composite::layer_norm to "
      "differentiate twice");
  CHECK_THROWS_WITH(tape.gradient(b, x, {.record = true}, ones({2, 3})),
                    "rms_norm: a fused operation has no second derivative; use composite::rms_norm "
                    "to differentiate "
                    "twice");
}

TEST_CASE("the norms give the same bits on one, two and three threads", "[ops][norm][threads]") {
  const int before = num_threads();
  const Tensors inputs{random({700, 333}, 1), random({333}, 2), random({333}, 3)};
  const Tensor seed = random({700, 333}, 4);
  Tensors first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    Tensors results = differentiated(
        [](const Tensors& in) { return layer_norm(in[0], in[1], in[2]); }, inputs, seed);
    for (const Tensor& x : differentiated([](const Tensors& in) { return rms_norm(in[0], in[1]); },
                                          {inputs[0], inputs[1]}, seed))
      results.push_back(x);
    if (threads == 1) first = results;
    for (std::size_t i = 0; i < results.size(); ++i)
      CHECK(distance(results[i], first[i].data()) == 0);
  }
  set_num_threads(before);
}
