// Softmax and cross-entropy: values and gradients against PyTorch, invariance, extremes, errors,
// threads, and the fused operation against its composed twin. Derivatives are checked by the rows
// of op_table.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real inf = std::numeric_limits<real>::infinity();
constexpr real NaN = std::numeric_limits<real>::quiet_NaN();
constexpr double tolerance = sizeof(real) == 8 ? 1e-12 : 2e-6;

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

Tensor random(const Ints& shape, std::uint64_t seed = 7) {
  Rng rng(seed);
  return randn(shape, rng);
}

Indices ids(const std::vector<std::int64_t>& list) {
  Indices array = Indices::from_shape({list.size()});
  std::copy(list.begin(), list.end(), array.begin());
  return array;
}

/// Targets of the given shape, every seventh of them ignored.
Indices some_ids(const std::vector<std::size_t>& shape, std::size_t classes) {
  Indices array = Indices::from_shape(shape);
  for (std::size_t i = 0; i < array.size(); ++i)
    array.data()[i] = i % 7 == 3 ? -100 : static_cast<std::int64_t>(i * 13 % classes);
  return array;
}

/// Largest difference, relative to the larger of 1 and the expected number.
template <class Expected>
double distance(const Tensor& x, const Expected& expected) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double wanted = expected[i], difference = std::abs(x.data()[i] - wanted);
    if (!(difference <= worst * std::max(1.0, std::abs(wanted))))
      worst = difference / std::max(1.0, std::abs(wanted));
  }
  return worst;
}

/// Value and gradient of a function of one tensor, weighted by `seed` if that is defined.
template <class F>
std::pair<Tensor, Tensor> differentiated(const F& f, const Tensor& at, const Tensor& seed = {}) {
  Tensor x = at.clone();
  x.requires_grad_();
  Tape tape;
  const Tensor y = f(x);
  return {y, tape.gradient(y, x, {}, seed)};
}

const std::vector<real> logits_4x3{0.5, -1.25, 2, 1.5, 0.25, -0.75, -2, 0, 1, 3, 2.5, -0.5};

}  // namespace

TEST_CASE("softmax and log_softmax have PyTorch's values along any axis", "[ops][softmax]") {
  const std::vector<double> p{0.09003057317038045, 0.2447284710547976, 0.6652409557748218};
  const std::vector<double> log_p{-2.4076059644443806, -1.4076059644443804, -0.4076059644443804};
  const Tensor x = tensor({1, 2, 3});
  CHECK(distance(softmax(x), p) < tolerance);
  CHECK(distance(log_softmax(x), log_p) < tolerance);
  CHECK(distance(softmax(reshape(x, {3, 1}), 0), p) < tolerance);
  CHECK(distance(softmax(reshape(x, {1, 3, 1}), -2), p) < tolerance);
  CHECK(distance(log_softmax(reshape(x, {3, 1, 1}), 0), log_p) < tolerance);
  CHECK(softmax(zeros({2, 0})).shape() == Shape{2, 0});
}

TEST_CASE("softmax does not change when a number is added to a row", "[ops][softmax]") {
  for (const std::size_t n : {1, 2, 15, 16, 17, 64, 65, 384}) {
    Tensor x = random({5, n});
    for (std::size_t i = 0; i < x.size(); ++i)
      x.mutable_data()[i] = std::round(8 * x.data()[i]) / 8;
    const Tensor moved = x + tensor({100, -1000, 0, 3, 4096}, {5, 1});  // exact: eighths
    CHECK(distance(softmax(moved), softmax(x).data()) == 0);
    CHECK(distance(sum(softmax(x), -1), std::vector<double>(5, 1.0)) < tolerance);
    CHECK(distance(exp(log_softmax(x)), softmax(x).data()) < tolerance);
  }
}

TEST_CASE("log_softmax is as accurate far from 0 as near it", "[ops][softmax]") {
  for (const real offset : {real(0), real(1000), real(-50000)}) {
    const Tensor x = random({7, 100}) + offset, y = log_softmax(x);
    std::vector<double> expected;
    for (std::size_t i = 0; i < x.size(); i += 100) {
      const double high = *std::max_element(x.data() + i, x.data() + i + 100);
      double total = 0;
      for (std::size_t j = i; j < i + 100; ++j) total += std::exp(x.data()[j] - high);
      for (std::size_t j = i; j < i + 100; ++j)
        expected.push_back(x.data()[j] - high - std::log(total));
    }
    CHECK(distance(y, expected) < 4 * std::numeric_limits<real>::epsilon());
  }
}

TEST_CASE("softmax of extreme rows: huge, masked, all masked, NaN", "[ops][softmax]") {
  const Tensor x = tensor({1e4, 1e4, -1e4, 0, -inf, -inf, -inf, 7, NaN, 1}, {5, 2});
  const Tensor p = softmax(x), log_p = log_softmax(x);
  CHECK(std::vector<real>(p.data(), p.data() + 8) == std::vector<real>{0.5, 0.5, 0, 1, 0, 0, 0, 1});
  CHECK(std::isnan(p.data()[8]));
  CHECK(std::isnan(p.data()[9]));
  CHECK(log_p.data()[2] == -1e4);
  CHECK(log_p.data()[4] == -inf);
  CHECK(log_p.data()[6] == -inf);
  CHECK(log_p.data()[7] == 0);
  CHECK(std::isnan(log_p.data()[9]));
  const auto [y, dx] = differentiated([](const Tensor& t) { return softmax(t); },
                                      tensor({-inf, -inf}), tensor({1, 2}));
  CHECK(values(dx) == std::vector<real>{0, 0});
}

TEST_CASE("cross_entropy has PyTorch's value and gradient", "[ops][softmax]") {
  const Tensor x = tensor(logits_4x3, {4, 3});
  const Indices targets = ids({2, 0, 1, -100});
  {
    const auto [loss, dx] =
        differentiated([&](const Tensor& t) { return cross_entropy(t, targets); }, x);
    CHECK_THAT(loss.item(), WithinRel(0.6374356030924812, tolerance));
    CHECK(distance(dx, std::vector<double>{0.05894006070248143, 0.01024224677547881,
                                           -0.06918230747796024, -0.09385321961631168,
                                           0.06861220133255051, 0.02524101828376117,
                                           0.011706342319779905, -0.24683451321919364,
                                           0.23512817089941368, 0, 0, 0}) < tolerance);
  }
  const auto [loss, dx] = differentiated(
      [&](const Tensor& t) { return cross_entropy(t, targets, {.label_smoothing = real(0.1)}); },
      x);
  CHECK_THAT(loss.item(), WithinRel(0.7402133808702589, 10 * tolerance));
  CHECK(distance(dx, std::vector<double>{0.047828949591370316, -0.0008688643356323014,
                                         -0.04696008525573804, -0.07163099739408944,
                                         0.05750109022143941, 0.014129907172650063,
                                         0.0005952312086687952, -0.22461229099697141,
                                         0.2240170597883026, 0, 0, 0}) < tolerance);
}

TEST_CASE("cross_entropy is its composed twin, in value and gradient", "[ops][softmax]") {
  for (const std::size_t classes : {1, 3, 65, 1000})
    for (const real smoothing : {real(0), real(0.3)}) {
      const Tensor x = random({6, 5, classes});
      const Indices targets = some_ids({6, 5}, classes);
      const CrossEntropyOptions options{.label_smoothing = smoothing};
      const auto [a, da] =
          differentiated([&](const Tensor& t) { return cross_entropy(t, targets, options); }, x);
      const auto [b, db] = differentiated(
          [&](const Tensor& t) { return composite::cross_entropy(t, targets, options); }, x);
      CHECK_THAT(a.item(), WithinAbs(b.item(), 4 * tolerance));
      CHECK(distance(da, db.data()) < tolerance);
    }
}

TEST_CASE("a masked logit is a class of probability 0 in cross_entropy", "[ops][softmax]") {
  const auto [loss, dx] = differentiated([](const Tensor& t) { return cross_entropy(t, ids({0})); },
                                         tensor({0, 0, -inf}, {1, 3}));
  CHECK_THAT(loss.item(), WithinRel(std::log(2.0), 1e-6));
  CHECK(distance(dx, std::vector<double>{-0.5, 0.5, 0}) < tolerance);
}

TEST_CASE("cross_entropy is NaN when no target counts, and its gradient 0", "[ops][softmax]") {
  const Indices targets = ids({-100, -100});
  const auto [loss, dx] =
      differentiated([&](const Tensor& t) { return cross_entropy(t, targets); }, zeros({2, 3}));
  CHECK(std::isnan(loss.item()));
  CHECK(values(dx) == std::vector<real>(6, 0));
  CHECK(std::isnan(composite::cross_entropy(zeros({2, 3}), targets).item()));
  CHECK(std::isnan(cross_entropy(zeros({0, 3}), ids({})).item()));
}

TEST_CASE("softmax and cross_entropy say what is wrong", "[ops][softmax]") {
  const auto text = [](auto call) -> std::string {
    try {
      call();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "no error";
  };
  const Tensor x = zeros({2, 5});
  CHECK(text([&] { softmax(x, 2); }) == "softmax: axis 2 is out of range for 2 axes");
  CHECK(text([&] { log_softmax(scalar(1)); }) == "log_softmax: axis -1 is out of range for 0 axes");
  CHECK(text([&] {
          cross_entropy(x, ids({1, 7}));
        }) == "cross_entropy: target 1 is 7, outside [0, 5)");
  CHECK(text([&] {
          cross_entropy(x, ids({-1, 0}));
        }) == "cross_entropy: target 0 is -1, outside [0, 5)");
  CHECK(text([&] {
          cross_entropy(x, ids({1, 2, 3}));
        }) ==
        "cross_entropy: logits (2, 5) need one target per row: targets have shape (3,), expected "
        "(2,)");
  CHECK(text([&] { cross_entropy(scalar(1), ids({1})); }) ==
        "cross_entropy: logits need at least 1 axis, got shape ()");
  CHECK(text([&] {
          cross_entropy(x, ids({1, 2}), {.label_smoothing = 1});
        }) == "cross_entropy: label_smoothing must be in [0, 1), got 1");
  CHECK_THROWS_AS(cross_entropy(x, ids({1, 2, 3})), ShapeError);
  CHECK_THROWS_AS(cross_entropy(x, ids({1, 7})), std::invalid_argument);
}

TEST_CASE("the second derivative of cross_entropy names it and its twin", "[ops][softmax]") {
  Tensor x = random({2, 3});
  x.requires_grad_();
  Tape tape;
  CHECK_THROWS_WITH(
      tape.gradient(cross_entropy(x, ids({0, 1})), x, {.record = true}),
      "cross_entropy: a fused operation has no second derivative; use composite::cross_entropy to "
      "differentiate twice");
}

TEST_CASE("softmax and cross_entropy give the same bits on one, two and three threads",
          "[ops][softmax][threads]") {
  const int before = num_threads();
  const Tensor x = random({700, 333}), seed = random({700, 333}, 8);
  const Indices targets = some_ids({700}, 333);
  std::vector<std::vector<real>> first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<std::vector<real>> results;
    const auto add = [&](const std::pair<Tensor, Tensor>& both) {
      results.push_back(values(both.first));
      results.push_back(values(both.second));
    };
    add(differentiated([](const Tensor& t) { return softmax(t); }, x, seed));
    add(differentiated([](const Tensor& t) { return log_softmax(t, 0); }, x, seed));
    add(differentiated(
        [&](const Tensor& t) { return cross_entropy(t, targets, {.label_smoothing = real(0.1)}); },
        x));
    if (threads == 1) first = results;
    CHECK(results == first);
  }
  set_num_threads(before);
}
