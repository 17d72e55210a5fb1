// Losses against PyTorch's, where they are smooth and where they are not. What they refuse is in
// op_table/layers.cpp.
#include <xgrad/nn/loss.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "reference.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

const std::vector<real> prediction{1, 2, 4, -3, 0.5, -0.25, 8, 0.125},
    target{1, 1, 5, -3, 2.5, -1.25, 7, 0};

/// x with its row i replaced.
Tensor with_row(const Tensor& x, std::int64_t i, const Tensor& row) {
  return concat({slice(x, 0, 0, i), row, slice(x, 0, i + 1, static_cast<std::int64_t>(x.size(0)))});
}

using Tensors = std::vector<Tensor>;

/// Value and gradients of loss(inputs).
void check_loss(const std::function<Tensor(const Tensors&)>& loss, Tensors inputs, double value,
                const std::vector<std::vector<double>>& gradients) {
  for (Tensor& x : inputs) x.requires_grad_();
  Tape tape;
  const Tensor y = loss(inputs);
  CHECK(y.shape() == Shape{});
  check_near(y, {value});
  const Tensors found = tape.gradient(y, inputs);
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    INFO("input " << i);
    check_near(found[i], gradients[i]);
  }
}

}  // namespace

TEST_CASE("Losses have PyTorch's values and gradients", "[nn][loss]") {
  struct Case {
    Tensor (*loss)(const Tensor&, const Tensor&);
    double value;
    std::vector<double> gradient;
  };
  // All numbers are exact in binary.
  for (const Case& c :
       {Case{mse_loss, 1.001953125, {0, 0.25, -0.25, 0, -0.5, 0.25, 0.25, 0.03125}},
        Case{l1_loss, 0.765625, {0, 0.125, -0.125, 0, -0.125, 0.125, 0.125, 0.125}},
        Case{[](const Tensor&x, const Tensor&y) { return huber_loss(x, y); },
             0.4384765625,
             {0, 0.125, -0.125, 0, -0.125, 0.125, 0.125, 0.015625}},
        Case{[](const Tensor&x, const Tensor&y) { return huber_loss(x, y, real(0.5)); },
             0.2978515625,
             {0, 0.0625, -0.0625, 0, -0.0625, 0.0625, 0.0625, 0.015625}}}) {
    Tensor x = tensor(prediction, {2, 4}).requires_grad_(),
           y = tensor(target, {2, 4}).requires_grad_();
    Tape tape;
    const Tensor loss = c.loss(x, y);
    CHECK(loss.shape() == Shape{});
    CHECK(loss.item() == real(c.value));
    tape.backward(loss);
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(x.grad().data()[i] == real(c.gradient[i]));
      CHECK(y.grad().data()[i] == real(-c.gradient[i]));
    }
  }
}

TEST_CASE("huber_loss passes infinity and NaN on, with a slope of delta", "[nn][loss]") {
  const real inf = std::numeric_limits<real>::infinity();
  Tensor x = tensor({inf, -inf}).requires_grad_();
  Tape tape;
  const Tensor loss = huber_loss(x, zeros(2), 2);
  CHECK(loss.item() == inf);
  check_near(tape.gradient(loss, x), {1, -1});
  CHECK(std::isnan(huber_loss(tensor({1, NAN}), zeros(2)).item()));
}

TEST_CASE("bce_with_logits has PyTorch's values and gradients, however large the logits",
          "[nn][loss]") {
  check_loss(
      [](const Tensors& x) { return bce_with_logits(x[0], x[1]); },
      {tensor({-2, real(-0.5), 0, 1.5, 100, -100, 30, -30}), tensor({0, 1, 0.5, 0.25, 1, 0, 1, 0})},
      0.390070681721,
      {{0.0149003652528, -0.0778074164002, 0, 0.0709468095242, 0, 0, 0, 0},
       {0.25, 0.0625, 0, -0.1875, -12.5, 12.5, -3.75, 3.75}});
  // At 0, where other forms have a kink, the derivative is 1/2 - t.
  check_loss([](const Tensors& x) { return bce_with_logits(x[0], ones(1)); }, {zeros(1)},
             std::log(2.0), {{-0.5}});
  // No digits are lost where the prediction is right, nor anything to overflow where it is wrong.
  const real tiny = bce_with_logits(tensor({30}), ones(1)).item();
  CHECK_THAT(tiny, WithinRel(9.35762296884e-14, 1e-5));
  check_near(bce_with_logits(tensor({-1000, 1000}), tensor({1, 0})), {1000});
}

TEST_CASE("nll_loss has PyTorch's values and is cross_entropy after log_softmax", "[nn][loss]") {
  const Tensor logits = wave({2, 3, 4}, 0.3);
  const Indices targets({{0, 3, -100}, {2, -100, 1}});
  std::vector<double> gradient(24, 0);
  for (const std::size_t place : {0, 7, 14, 21}) gradient[place] = -0.25;
  check_loss([&](const Tensors& x) { return nll_loss(x[0], targets); }, {log_softmax(logits)},
             1.67884723646, {gradient});
  check_near(cross_entropy(logits, targets), {1.67884723646});
  check_near(nll_loss(log_softmax(logits), Indices({{0, 3, 9}, {2, 9, 1}}), 9), {1.67884723646});
  CHECK(std::isnan(nll_loss(logits, Indices({{9, 9, 9}, {9, 9, 9}}), 9).item()));
  const real inf = std::numeric_limits<real>::infinity();  // where nobody looks
  check_near(nll_loss(tensor({-inf, -1, -inf, -inf}, {2, 2}), Indices({1, -100})), {1});
}

TEST_CASE("kl_div has PyTorch's values for batchmean", "[nn][loss]") {
  const Tensor log_p = log_softmax(wave({2, 4}, 0.3));
  check_loss([](const Tensors& x) { return kl_div(x[0], x[1]); },
             {log_p, softmax(wave({2, 4}, 1.1))}, 0.127492931545,
             {{-0.155314539232, -0.168695044904, -0.115898769121, -0.0600916467429, -0.121766183999,
               -0.0896737278242, -0.105383006896, -0.183177081281},
              {0.827249305611, 0.595594051946, 0.332809395736, 0.162487066921, 0.205327501633,
               0.379084356096, 0.642632250162, 0.872020491202}});
  check_near(kl_div(log_p, exp(log_p)), {0});
}

TEST_CASE("Where kl_div's target is 0 it adds nothing, whatever the prediction", "[nn][loss]") {
  const Tensor target = tensor({0.5, 0.25, 0.25, 0, 0, 0, 1, 0}, {2, 4});
  check_loss([&](const Tensors& x) { return kl_div(x[0], target); },
             {log_softmax(wave({2, 4}, 0.3))}, 1.15784047389,
             {{-0.25, -0.125, -0.125, 0, 0, 0, -0.5, 0}});
  const real inf = std::numeric_limits<real>::infinity();
  check_loss([&](const Tensors& x) { return kl_div(x[0], x[1]); },
             {tensor({-inf, 0}, {1, 2}), tensor({0, 1}, {1, 2})}, 0, {{0, -1}, {0, 1}});
}

TEST_CASE("cosine_embedding_loss has PyTorch's values and gradients", "[nn][loss]") {
  const Tensor a = wave({3, 4}, 0.3),
               b = with_row(wave({3, 4}, 0.9), 2, -slice(a, 0, 2, 3));  // opposite, so no loss
  const Indices labels({1, -1, -1});
  const std::vector<std::vector<double>> gradients{
      {-0.0800454499181, -0.0424178319904, 0.0151595551194, 0.0656071665819, -0.0864834181665,
       -0.0622953808551, -0.00880885253542, 0.0488206167738, 0, 0, 0, 0},
      {0.0583426371063, 0.00446449987131, -0.0515133614129, -0.0832636839061, 0.0734671692006,
       0.0271889069441, -0.0318767230866, -0.0759502321622, 0, 0, 0, 0}};
  check_loss([&](const Tensors& x) { return cosine_embedding_loss(x[0], x[1], labels); }, {a, b},
             0.332084650482, gradients);
  check_loss([&](const Tensors& x) { return cosine_embedding_loss(x[0], x[1], labels, real(0.5)); },
             {a, b}, 0.165417983816, gradients);
  check_near(cosine_embedding_loss(zeros({2, 2}), ones({2, 2}), Indices({1, -1})), {0.5});
}

TEST_CASE("triplet_loss has PyTorch's values and gradients, and none is infinite at distance 0",
          "[nn][loss]") {
  const Tensor a = wave({3, 4}, 0.3);
  const Tensor p = with_row(wave({3, 4}, 2.5), 2, slice(a, 0, 2, 3)),
               n = with_row(wave({3, 4}, 0.9), 2, slice(a, 0, 2, 3) + real(0.25));
  check_loss([](const Tensors& x) { return triplet_loss(x[0], x[1], x[2]); }, {a, p, n},
             1.97495052798,
             {{0.168781777861, 0.185109689815, 0.114377482787, -0.0101483810355, -0.122587362402,
               -0.189205629541, -0.166837667569, -0.0660034785109, 0.333333333333, 0.333333333333,
               0.333333333333, 0.333333333333},
              {0.0395844700429, -0.117576570012, -0.219439573458, -0.218096778122, -0.119302151835,
               0.0453865241743, 0.18872914447, 0.243309434938, -0.166666666667, -0.166666666667,
               -0.166666666667, -0.166666666667},
              {-0.208366247904, -0.0675331198028, 0.105062090671, 0.228245159158, 0.241889514236,
               0.143819105366, -0.0218914769011, -0.177305956427, -0.166666666667, -0.166666666667,
               -0.166666666667, -0.166666666667}});
  check_loss(
      [](const Tensors& x) {
        return triplet_loss(x[0], x[1], x[2], {.margin = real(0.5), .p = 1});
      },
      {a, p, n}, 2.37142483894,
      {{0, 0.666666666667, 0, 0, 0, -0.666666666667, 0, 0, 0, 0, 0, 0},
       {0.333333333333, -0.333333333333, -0.333333333333, -0.333333333333, -0.333333333333,
        0.333333333333, 0.333333333333, 0.333333333333, 0, 0, 0, 0},
       {-0.333333333333, -0.333333333333, 0.333333333333, 0.333333333333, 0.333333333333,
        0.333333333333, -0.333333333333, -0.333333333333, 0, 0, 0, 0}});
}
