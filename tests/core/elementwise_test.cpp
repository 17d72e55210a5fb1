// Functions of one tensor where the table of operations does not look: kinks, extremes, NaN, and
// accuracy against the standard library.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real kNaN = std::numeric_limits<real>::quiet_NaN();
constexpr real kInf = std::numeric_limits<real>::infinity();

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

struct Function {
  const char* name;
  std::function<Tensor(const Tensor&)> fn;
  std::function<double(double)> oracle;
  double low, high;
  double ulps =
      4;  // how far from the oracle, in units of the last place of the larger of value and `scale`
};

const std::vector<Function>& functions() {
  const auto sigmoid_of = [](double x) { return 1 / (1 + std::exp(-x)); };
  static const std::vector<Function> list = {
      {"exp", [](const Tensor& x) { return exp(x); }, [](double x) { return std::exp(x); }, -80,
       80},
      {"log", [](const Tensor& x) { return log(x); }, [](double x) { return std::log(x); }, 0.01,
       50},
      {"sqrt", [](const Tensor& x) { return sqrt(x); }, [](double x) { return std::sqrt(x); }, 0,
       50},
      {"rsqrt", [](const Tensor& x) { return rsqrt(x); }, [](double x) { return 1 / std::sqrt(x); },
       0.01, 50},
      {"tanh", [](const Tensor& x) { return tanh(x); }, [](double x) { return std::tanh(x); }, -10,
       10},
      {"sigmoid", [](const Tensor& x) { return sigmoid(x); }, sigmoid_of, -80, 80},
      {"relu", [](const Tensor& x) { return relu(x); }, [](double x) { return x > 0 ? x : 0; }, -2,
       2},
      {"silu", [](const Tensor& x) { return silu(x); }, [=](double x) { return x * sigmoid_of(x); },
       -80, 80},
      {"softplus", [](const Tensor& x) { return softplus(x); },
       [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }, -80, 80},
      {"gelu erf", [](const Tensor& x) { return gelu(x); },
       [](double x) { return x / 2 * std::erfc(-x / std::sqrt(2)); }, -2, 9, 8},
      {"gelu erf, lower tail", [](const Tensor& x) { return gelu(x); },
       [](double x) {  // in long double: erfc multiplies the rounding of its argument by x^2
         return static_cast<double>(x / 2 * std::erfc(-x / std::sqrt(2.0L)));
       },
       -12, -2, 48},
      {"gelu tanh", [](const Tensor& x) { return gelu(x, Gelu::tanh); },
       [](double x) {
         const double u = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
         return x / (1 + std::exp(-2 * u));
       },
       -5, 9, 128},
      {"expm1", [](const Tensor& x) { return expm1(x); }, [](double x) { return std::expm1(x); },
       -80, 80},
      {"log1p", [](const Tensor& x) { return log1p(x); }, [](double x) { return std::log1p(x); },
       -0.99, 50},
      {"sin", [](const Tensor& x) { return sin(x); }, [](double x) { return std::sin(x); }, -100,
       100},
      {"cos", [](const Tensor& x) { return cos(x); }, [](double x) { return std::cos(x); }, -100,
       100},
      {"erf", [](const Tensor& x) { return erf(x); }, [](double x) { return std::erf(x); }, -6, 6,
       40},
      {"atan2", [](const Tensor& x) { return atan2(x, full(x.shape(), real(-0.75))); },
       [](double x) { return std::atan2(x, -0.75); }, -5, 5},
      {"abs", [](const Tensor& x) { return abs(x); }, [](double x) { return std::abs(x); }, -2, 2},
      {"square", [](const Tensor& x) { return square(x); }, [](double x) { return x * x; }, -2, 2},
  };
  return list;
}

std::vector<real> slope(const std::function<Tensor(const Tensor&)>& f,
                        const std::vector<real>& at) {
  Tensor x = tensor(at, at.size());
  x.requires_grad_();
  Tape tape;
  const Tensor y = f(x);
  return values(tape.gradient(y, x, {}, ones(y.shape())));
}

}  // namespace

TEST_CASE("elementwise functions are within a few units of the last place", "[ops]") {
  for (const Function& f : functions()) {
    Rng rng(2);
    Tensor x = Tensor::empty({100'003});
    rng.fill_uniform({x.mutable_data(), x.size()}, static_cast<real>(f.low),
                     static_cast<real>(f.high));
    const Tensor y = f.fn(x);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = f.oracle(static_cast<double>(x.data()[i]));
      if (std::abs(want) > std::numeric_limits<real>::min())
        worst = std::max(worst, std::abs(static_cast<double>(y.data()[i]) - want) / std::abs(want));
    }
    INFO(f.name << ": relative error " << worst);
    CHECK(worst <= f.ulps * std::numeric_limits<real>::epsilon());
  }
}

TEST_CASE("elementwise functions keep NaN, wherever it stands", "[ops]") {
  for (const Function& f : functions())
    for (const std::size_t size : {1, 7, 16, 37}) {
      const auto y = values(f.fn(full(size, kNaN)));
      INFO(f.name << " of " << size);
      CHECK(std::all_of(y.begin(), y.end(), [](real v) { return std::isnan(v); }));
    }
}

TEST_CASE("elementwise functions have the same bits at any place and for any number of threads",
          "[ops]") {
  Rng rng(6);
  const Tensor x = rand(100'003, rng) + real(0.5);
  for (const Function& f : functions()) {
    set_num_threads(1);
    const auto one = values(f.fn(x));
    set_num_threads(3);
    INFO(f.name);
    CHECK(values(f.fn(x)) == one);
    CHECK(f.fn(xgrad::slice(x, 0, 100'001, 100'002)).item() == one[100'001]);
  }
}

TEST_CASE("relu has slope 0 at 0", "[ops]") {
  CHECK(slope([](const Tensor& x) { return relu(x); }, {-1, 0, -real(0), 2}) ==
        std::vector<real>{0, 0, 0, 1});
}

TEST_CASE("functions of large arguments saturate, with slopes to match", "[ops]") {
  const Tensor x = tensor({-1000, 1000});
  CHECK(values(exp(x)) == std::vector<real>{0, kInf});
  CHECK(values(tanh(x)) == std::vector<real>{-1, 1});
  CHECK(values(sigmoid(x)) == std::vector<real>{0, 1});
  CHECK(values(softplus(x)) == std::vector<real>{0, 1000});
  CHECK(values(silu(x)) == std::vector<real>{0, 1000});
  CHECK(values(gelu(x)) == std::vector<real>{0, 1000});
  CHECK(values(gelu(x, Gelu::tanh)) == std::vector<real>{0, 1000});
  CHECK(slope([](const Tensor& v) { return tanh(v); }, {-1000, 1000}) == std::vector<real>{0, 0});
  CHECK(slope([](const Tensor& v) { return sigmoid(v); }, {-1000, 1000}) ==
        std::vector<real>{0, 0});
  CHECK(slope([](const Tensor& v) { return softplus(v); }, {-1000, 1000}) ==
        std::vector<real>{0, 1});
  CHECK(slope([](const Tensor& v) { return silu(v); }, {-1000, 1000}) == std::vector<real>{0, 1});
  CHECK(slope([](const Tensor& v) { return gelu(v); }, {-1000, 1000}) == std::vector<real>{0, 1});
  CHECK(slope([](const Tensor& v) { return gelu(v, Gelu::tanh); }, {-1000, 1000}) ==
        std::vector<real>{0, 1});
}

TEST_CASE("functions outside their domain follow IEEE 754", "[ops]") {
  CHECK(log(scalar(0)).item() == -kInf);
  CHECK(std::isnan(log(scalar(-1)).item()));
  CHECK(log(scalar(kInf)).item() == kInf);
  CHECK(std::isnan(sqrt(scalar(-1)).item()));
  CHECK(rsqrt(scalar(0)).item() == kInf);
  CHECK(rsqrt(scalar(kInf)).item() == 0);
  CHECK(values(sigmoid(tensor({-kInf, kInf}))) == std::vector<real>{0, 1});
  CHECK(values(softplus(tensor({-kInf, kInf}))) == std::vector<real>{0, kInf});
}

TEST_CASE("expm1, log1p, erf and sin keep the digits of small arguments", "[ops]") {
  for (const double size : {1e-3, 1e-6, 1e-12, 1e-20})
    for (const double sign : {-1.0, 1.0}) {
      const Tensor x = scalar(static_cast<real>(sign * size));
      const double at = x.item(), accuracy = 20 * std::numeric_limits<real>::epsilon();
      CHECK_THAT(expm1(x).item(), WithinRel(std::expm1(at), accuracy));
      CHECK_THAT(log1p(x).item(), WithinRel(std::log1p(at), accuracy));
      CHECK_THAT(erf(x).item(), WithinRel(std::erf(at), accuracy));
      CHECK_THAT(sin(x).item(), WithinRel(std::sin(at), accuracy));
    }
}

TEST_CASE("exp and expm1 reach up to the largest real", "[ops]") {
  const real top = std::log(std::numeric_limits<real>::max());  // 88.72… or 709.78…
  for (const real below : {real(2), real(1), real(0.5), real(0.1), real(0.01)}) {
    const real x = top - below;
    const double accuracy = 4 * std::numeric_limits<real>::epsilon();
    CHECK_THAT(exp(scalar(x)).item(), WithinRel(std::exp(x), static_cast<real>(accuracy)));
    CHECK_THAT(expm1(scalar(x)).item(), WithinRel(std::expm1(x), static_cast<real>(accuracy)));
  }
  CHECK(exp(scalar(top + real(0.01))).item() == kInf);
  CHECK(expm1(scalar(kInf)).item() == kInf);
  CHECK(values(expm1(tensor({-kInf, -1000}))) == std::vector<real>{-1, -1});
}

TEST_CASE("more functions outside their domain follow IEEE 754", "[ops]") {
  CHECK(log1p(scalar(-1)).item() == -kInf);
  CHECK(std::isnan(log1p(scalar(-2)).item()));
  CHECK(std::isnan(sin(scalar(kInf)).item()));
  CHECK(std::isnan(cos(scalar(-kInf)).item()));
  CHECK(values(erf(tensor({-kInf, 0, kInf}))) == std::vector<real>{-1, 0, 1});
}

TEST_CASE("atan2 knows all quadrants, zeros and infinities", "[ops]") {
  const std::vector<real> special = {0, -real(0), 1, -2, kInf, -kInf};
  for (const real a : special)
    for (const real b : special) {
      const real angle = atan2(scalar(a), scalar(b)).item();
      INFO("atan2(" << a << ", " << b << ") = " << angle);
      CHECK_THAT(angle, WithinAbs(std::atan2(a, b), 1e-6));
      CHECK(std::signbit(angle) == std::signbit(std::atan2(a, b)));
    }
  CHECK(std::isnan(atan2(scalar(kNaN), scalar(1)).item()));
  CHECK(std::isnan(atan2(scalar(1), scalar(kNaN)).item()));
  // d/da and d/db from PyTorch; both 0 at the origin.
  const Tensor b = tensor({0, 0, -1, -2, 4});
  CHECK(slope([&](const Tensor& a) { return atan2(a, b); }, {0, 1, -1, 0, 3}) ==
        std::vector<real>{0, 0, -0.5, -0.5, 4 / real(25)});
  const Tensor a = tensor({0, 1, -1, 0, -2});
  CHECK(slope([&](const Tensor& x) { return atan2(a, x); }, {0, 0, -1, -2, 1}) ==
        std::vector<real>{0, -1, 0.5, 0, 2 / real(5)});
}

TEST_CASE("lerp reaches both ends exactly", "[ops]") {
  const Tensor a = tensor({real(1e-8), 3, -7}), b = tensor({real(1e8), real(0.1), 11});
  CHECK(values(lerp(a, b, 0)) == values(a));
  CHECK(values(lerp(a, b, 1)) == values(b));
  CHECK(values(lerp(a, b, zeros({3}))) == values(a));
  CHECK(values(lerp(a, b, ones({3}))) == values(b));
  CHECK(values(lerp(scalar(2), tensor({4, 6}), tensor({-1, 2}))) == std::vector<real>{0, 10});
}

TEST_CASE("rounding takes halves to even and keeps large numbers", "[ops]") {
  const real large = 2 / std::numeric_limits<real>::epsilon();
  const Tensor x = tensor({-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, real(0.7), large + 2, kInf, -kInf});
  CHECK(values(round(x)) == std::vector<real>{-2, -2, 0, 0, 2, 2, 1, large + 2, kInf, -kInf});
  CHECK(values(floor(x)) == std::vector<real>{-3, -2, -1, 0, 1, 2, 0, large + 2, kInf, -kInf});
  CHECK(values(ceil(x)) == std::vector<real>{-2, -1, 0, 1, 2, 3, 1, large + 2, kInf, -kInf});
  CHECK(values(sign(x)) == std::vector<real>{-1, -1, -1, 1, 1, 1, 1, 1, 1, -1});
  CHECK(sign(scalar(0)).item() == 0);
  for (const auto f : {floor, ceil, round, sign})
    CHECK(std::isnan(f(scalar(kNaN), StepGradient::zero).item()));
}

TEST_CASE("steps have no gradient, or pass it straight through", "[ops]") {
  for (const auto f : {floor, ceil, round, sign}) {
    CHECK(slope([&](const Tensor& x) { return x + f(x, StepGradient::zero); }, {-0.6, 0, 2}) ==
          std::vector<real>{1, 1, 1});
    CHECK(slope([&](const Tensor& x) { return f(x, StepGradient::straight_through) * real(3); },
                {-0.6, 0, 2}) == std::vector<real>{3, 3, 3});
  }
}

TEST_CASE("swiglu is silu(gate) * up, derivatives included", "[ops]") {
  Rng rng(5);
  Tensor gate = randn({3, 37}, rng).requires_grad_(), up = randn({3, 37}, rng).requires_grad_();
  const Tensor seed = randn({3, 37}, rng);
  Tape tape;
  const Tensor fused = swiglu(gate, up), composed = silu(gate) * up;
  CHECK(max(abs(fused - composed)).item() <= 4 * std::numeric_limits<real>::epsilon());
  const auto got = tape.gradient(fused, {gate, up}, {.retain = true}, seed),
             want = tape.gradient(composed, {gate, up}, {}, seed);
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(max(abs(got[i] - want[i])).item() <= 16 * std::numeric_limits<real>::epsilon());
}
