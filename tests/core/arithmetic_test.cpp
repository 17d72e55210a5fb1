// Arithmetic where the table of operations does not look: ties, NaN, broadcasting errors, the same
// tensor twice, and an operation of a user's own.
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real kNaN = std::numeric_limits<real>::quiet_NaN();
constexpr real kInf = std::numeric_limits<real>::infinity();

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

// The gradient of sum(f(x)), after checking that both readings of the rule agree.
template <class F>
std::vector<real> slope(const F& f, std::vector<real> at) {
  Tensor x = tensor(at, at.size());
  x.requires_grad_();
  Tape tape;
  const Tensor y = f(x);
  const auto raw = values(tape.gradient(y, x, {.retain = true}, ones(y.shape())));
  CHECK(values(tape.gradient(y, x, {.record = true}, ones(y.shape()))) == raw);
  return raw;
}

// An operation as a user would write it: x^3.
Tensor cube(const Tensor& x) {
  return record("cube", {x}, x.array() * x.array() * x.array(), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() * (real(3) * r.in(0) * r.in(0))); });
}

}  // namespace

TEST_CASE("ties of maximum and minimum share the gradient", "[ops]") {
  const Tensor other = tensor({1, 2, 3});
  CHECK(slope([&](const Tensor& x) { return maximum(x, other); }, {2, 2, 2}) ==
        std::vector<real>{1, 0.5, 0});
  CHECK(slope([&](const Tensor& x) { return maximum(other, x); }, {2, 2, 2}) ==
        std::vector<real>{1, 0.5, 0});
  CHECK(slope([&](const Tensor& x) { return minimum(x, other); }, {2, 2, 2}) ==
        std::vector<real>{0, 0.5, 1});
  CHECK(slope([&](const Tensor& x) { return minimum(other, x); }, {2, 2, 2}) ==
        std::vector<real>{0, 0.5, 1});
  CHECK(slope([](const Tensor& x) { return maximum(x, x); }, {-1, 4}) == std::vector<real>{1, 1});
}

TEST_CASE("maximum and minimum show NaN from either side", "[ops]") {
  const Tensor a = tensor({kNaN, 1, kNaN, kInf, -kInf, 0}),
               b = tensor({1, kNaN, kNaN, -kInf, kInf, 0});
  const Tensor high = maximum(a, b), low = minimum(a, b);
  for (int i = 0; i < 3; ++i) {
    CHECK(std::isnan(high.data()[i]));
    CHECK(std::isnan(low.data()[i]));
  }
  CHECK(high.data()[3] == kInf);
  CHECK(high.data()[4] == kInf);
  CHECK(low.data()[3] == -kInf);
  CHECK(low.data()[4] == -kInf);
  CHECK(high.data()[5] == 0);
}

TEST_CASE("|0| has slope 0, and clamp passes the gradient up to its limits", "[ops]") {
  CHECK(slope([](const Tensor& x) { return abs(x); }, {-2, 0, 3}) == std::vector<real>{-1, 0, 1});
  CHECK(slope([](const Tensor& x) { return clamp(x, -1, 1); }, {-2, -1, 0, 1, 2}) ==
        std::vector<real>{0, 1, 1, 1, 0});
  CHECK(values(clamp(tensor({-2, 0.5, 2, kInf}), -1, 1)) == std::vector<real>{-1, 0.5, 1, 1});
  CHECK(std::isnan(clamp(tensor({kNaN}), -1, 1).item()));
}

TEST_CASE("comparisons give 0 and 1, false for NaN, and no gradient", "[ops]") {
  Tensor a = tensor({1, 2, 3, kNaN}).requires_grad_();
  const Tensor b = tensor({2, 2, 2, 2});
  Tape tape;
  CHECK(values(a < b) == std::vector<real>{1, 0, 0, 0});
  CHECK(values(a > b) == std::vector<real>{0, 0, 1, 0});
  CHECK(values(a <= b) == std::vector<real>{1, 1, 0, 0});
  CHECK(values(a >= b) == std::vector<real>{0, 1, 1, 0});
  CHECK(values(equal(a, b)) == std::vector<real>{0, 1, 0, 0});
  CHECK(values(a < 2) == std::vector<real>{1, 0, 0, 0});
  CHECK(values(a > 2) == std::vector<real>{0, 0, 1, 0});
  CHECK(values(a <= 2) == std::vector<real>{1, 1, 0, 0});
  CHECK(values(a >= 2) == std::vector<real>{0, 1, 1, 0});
  CHECK(values(equal(a, 2)) == std::vector<real>{0, 1, 0, 0});
  CHECK(values(tensor({1, 3}) < tensor({2, 0, 4}, {3, 1})) == std::vector<real>{1, 0, 0, 0, 1, 1});
  CHECK_FALSE((a < b).requires_grad());
  CHECK(tape.size() == 0);
}

TEST_CASE("where stops NaN and infinity of the side not taken, value and gradient", "[ops]") {
  const Tensor mask = tensor({1, 0, -2});
  CHECK(values(where(mask, tensor({1, kNaN, 3}), tensor({kNaN, 5, kInf}))) ==
        std::vector<real>{1, 5, 3});
  CHECK(values(where(mask, tensor({1, 2, 3}), 7)) == std::vector<real>{1, 7, 3});
  CHECK(values(where(mask, 7, tensor({1, 2, 3}))) == std::vector<real>{7, 2, 7});
  CHECK(values(masked_fill(tensor({1, 2, 3}), mask, -kInf)) == std::vector<real>{-kInf, 2, -kInf});
  CHECK(slope(
            [&](const Tensor& x) {
              return where(mask, x, tensor({kInf, kInf, kInf}));
            },
            {1, 2, 3}) == std::vector<real>{1, 0, 1});
  CHECK(slope([&](const Tensor& x) { return masked_fill(x, mask, -kInf); }, {1, 2, 3}) ==
        std::vector<real>{0, 1, 0});
}

TEST_CASE("a tensor may be both inputs", "[ops]") {
  CHECK(slope([](const Tensor& x) { return x - x; }, {1, 2}) == std::vector<real>{0, 0});
  CHECK(slope([](const Tensor& x) { return x * x; }, {1, 2}) == std::vector<real>{2, 4});
  CHECK(slope([](const Tensor& x) { return x / x; }, {1, 2}) == std::vector<real>{0, 0});
  CHECK(slope([](const Tensor& x) { return where(x > real(1), x, x); }, {1, 2}) ==
        std::vector<real>{1, 1});
}

TEST_CASE("powers are the same in every place of an array", "[ops]") {
  const std::vector<real> bases{0, 0, 0, -2, -2, 3}, exponents{0, 2.5, -1.5, 3, -2, 0};
  for (std::size_t k = 0; k < bases.size(); ++k) {
    const Tensor x = full({37}, bases[k]), y = full({37}, exponents[k]);
    const real want = std::pow(bases[k], exponents[k]);
    for (const Tensor& z : {pow(x, y), pow(x, exponents[k])}) {
      CHECK(values(z) == std::vector<real>(37, z.data()[0]));
      CHECK((z.data()[0] == want ||
             std::abs(z.data()[0] / want - 1) < 4 * std::numeric_limits<real>::epsilon()));
    }
  }
}

TEST_CASE("powers at zero and below", "[ops]") {
  CHECK(slope([](const Tensor& x) { return pow(x, 0); }, {0, 2}) == std::vector<real>{0, 0});
  CHECK(slope([](const Tensor& x) { return pow(x, 1); }, {0, 2}) == std::vector<real>{1, 1});
  CHECK(slope([](const Tensor& x) { return pow(x, 2); }, {0, -3}) == std::vector<real>{0, -6});
  CHECK(std::isnan(pow(tensor({-2}), real(0.5)).item()));
  CHECK_THAT(pow(tensor({-2}), 3).item(), WithinRel(real(-8), real(1e-5)));
  // The exponent's gradient, a^b log a, is 0 where a = 0.
  CHECK(slope(
            [](const Tensor& b) {
              return pow(tensor({0, 1}), b);
            },
            {2, 2}) == std::vector<real>{0, 0});
  CHECK(slope(
            [](const Tensor& a) {
              return pow(a, tensor({0, 1}));
            },
            {0, 0}) == std::vector<real>{0, 1});
}

TEST_CASE("an operation of one's own differentiates twice", "[ops]") {
  Tensor x = tensor({1, -2}).requires_grad_();
  Tape tape;
  const Tensor y = cube(x);
  const Tensor first = tape.gradient(y, x, {.record = true}, ones(2));
  CHECK(values(first) == std::vector<real>{3, 12});
  CHECK(values(tape.gradient(first, x, {}, ones(2))) == std::vector<real>{6, -12});
}

TEST_CASE("arithmetic names the operation and the axis that does not broadcast", "[ops][errors]") {
  const Tensor a = zeros({2, 3}), b = zeros(4);
  const std::string why = ": shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4";
  CHECK_THROWS_WITH(a + b, "add" + why);
  CHECK_THROWS_WITH(a - b, "sub" + why);
  CHECK_THROWS_WITH(a * b, "mul" + why);
  CHECK_THROWS_WITH(a / b, "div" + why);
  CHECK_THROWS_WITH(pow(a, b), "pow" + why);
  CHECK_THROWS_WITH(maximum(a, b), "maximum" + why);
  CHECK_THROWS_WITH(minimum(a, b), "minimum" + why);
  CHECK_THROWS_WITH(a < b, "less" + why);
  CHECK_THROWS_WITH(a > b, "greater" + why);
  CHECK_THROWS_WITH(a <= b, "less_equal" + why);
  CHECK_THROWS_WITH(a >= b, "greater_equal" + why);
  CHECK_THROWS_WITH(equal(a, b), "equal" + why);
  CHECK_THROWS_WITH(where(a, a, b), "where" + why);
  CHECK_THROWS_WITH(masked_fill(a, b, 0), "masked_fill" + why);
  CHECK_THROWS_WITH(masked_fill(b, zeros({2, 4}), 0),
                    "masked_fill: the mask (2, 4) has more elements than x (4,)");
  CHECK_THROWS_WITH(clamp(a, 2, 1), "clamp: needs low <= high, got 2 and 1");
  CHECK_THROWS_AS(a + b, ShapeError);
}
