// Functions of numbers, element by element. Arithmetic and comparison are in arithmetic.cpp.
// Values come from one vectorised pass (kernels/map.hpp). Rules that only multiply are lazy
// expressions like any other; where the derivative is itself a function worth a kernel, `pull_back`
// reads one formula both ways.
#include <limits>
#include <numbers>
#include <utility>

#include <xgrad/core/kernels/map.hpp>
#include <xgrad/core/kernels/normal.hpp>
#include <xgrad/core/kernels/power.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using kernels::Batch;

template <class F, class... X>
Tensor map(const F& f, const Tensor& x, const X&... more) {
  Tensor y = Tensor::empty(x.shape());
  kernels::map(y.size(), y.mutable_data(), f, x.data(), more.data()...);
  return y;
}

// dL/dx = dL/dy slope(x) for y = f(x): one pass over the numbers when the rule is read raw. When it
// is recorded the same formula runs on tensors and can be differentiated again.
template <class R, class Slope>
void pull_back(R& r, const Slope& slope) {
  if (!r.needs(0)) return;
  if constexpr (R::recorded) {
    r.to(0, r.grad() * slope(r.in(0)));
  } else {
    Tensor dx = r.room();
    const auto pulled = [&](const Batch& g, const Batch& x) { return g * slope(x); };
    kernels::map(dx.size(), dx.mutable_data(), pulled, r.grad().data(), r.in(0).data());
    r.to(0, std::move(dx));
  }
}

// xsimd takes e^x for infinite half a doubling too early. Up there e^x = e e^(x - 1), and expm1 no
// longer differs from exp.
template <class F>
Batch up_to_overflow(const F& f, const Batch& x) {
  constexpr real limit = std::numeric_limits<real>::max_exponent * std::numbers::ln2_v<real> - 1;
  const auto high = x > Batch(limit);
  return f(x - select(high, Batch(1), Batch(0))) *
         select(high, Batch(std::numbers::e_v<real>), Batch(1));
}

// Where exp overflows to infinity its reciprocal is the 0 that is wanted.
Batch sigmoid(const Batch& x) { return real(1) / (real(1) + exp(-x)); }

template <class X>
X normal_pdf(const X& x) {
  return real(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp(real(-0.5) * (x * x));
}

// What the derivative of gelu is made of, for its own derivatives.
Tensor normal_cdf(const Tensor& x) {
  return record(
      "normal_cdf", {x}, map([](const Batch& v) { return kernels::normal(v).distribution; }, x),
      Keep::inputs, [](auto& r) { pull_back(r, [](const auto& v) { return normal_pdf(v); }); });
}

// (x Phi(x))' = Phi(x) + x phi(x)
Batch gelu_slope(const Batch& x) {
  const auto [distribution, density] = kernels::normal(x);
  return distribution + x * density;
}
Tensor gelu_slope(const Tensor& x) { return normal_cdf(x) + x * normal_pdf(x); }

}  // namespace

Tensor exp(const Tensor& x) {
  const auto value = [](const Batch& v) {
    return up_to_overflow([](const Batch& u) { return exp(u); }, v);
  };
  return record("exp", {x}, map(value, x), Keep::output,
                [](auto& r) { r.to(0, r.grad() * r.out()); });
}

Tensor expm1(const Tensor& x) {
  const auto value = [](const Batch& v) {
    return up_to_overflow([](const Batch& u) { return expm1(u); }, v);
  };
  // Not y + 1, which has lost its digits where y is near -1.
  return record("expm1", {x}, map(value, x), Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return exp(v); }); });
}

Tensor log(const Tensor& x) {
  return record("log", {x}, map([](const Batch& v) { return log(v); }, x), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() / r.in(0)); });
}

Tensor log1p(const Tensor& x) {
  return record("log1p", {x}, map([](const Batch& v) { return log1p(v); }, x), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() / (real(1) + r.in(0))); });
}

Tensor sqrt(const Tensor& x) {
  return record("sqrt", {x}, map([](const Batch& v) { return sqrt(v); }, x), Keep::output,
                [](auto& r) { r.to(0, r.grad() * real(0.5) / r.out()); });
}

Tensor rsqrt(const Tensor& x) {
  // d(x^-1/2)/dx = -1/2 x^-3/2 = -1/2 y^3
  return record("rsqrt", {x}, map([](const Batch& v) { return real(1) / sqrt(v); }, x),
                Keep::output,
                [](auto& r) { r.to(0, r.grad() * real(-0.5) * r.out() * r.out() * r.out()); });
}

Tensor tanh(const Tensor& x) {
  return record("tanh", {x}, map([](const Batch& v) { return tanh(v); }, x), Keep::output,
                [](auto& r) { r.to(0, r.grad() * (real(1) - r.out() * r.out())); });
}

namespace {

Batch pow(const Batch& x, real exponent) { return kernels::power(x, exponent); }

}  // namespace

Tensor pow(const Tensor& x, real exponent) {
  if (exponent == 2) return square(x);
  return record("pow", {x}, map([exponent](const Batch& v) { return pow(v, exponent); }, x),
                Keep::inputs, [exponent](auto& r) {
                  // x^0 has slope 0 at x = 0 too, not 0 * infinity
                  const real lower = exponent == 0 ? 0 : exponent - 1;
                  pull_back(r, [=](const auto& v) { return exponent * pow(v, lower); });
                });
}

Tensor sin(const Tensor& x) {
  return record("sin", {x}, map([](const Batch& v) { return sin(v); }, x), Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return cos(v); }); });
}

Tensor cos(const Tensor& x) {
  return record("cos", {x}, map([](const Batch& v) { return cos(v); }, x), Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return -sin(v); }); });
}

Tensor atan2(const Tensor& a, const Tensor& b) {
  const Shape shape = broadcast_shapes("atan2", a.shape(), b.shape());
  const auto spread = [&](const Tensor& x) {
    return x.shape() == shape ? x : broadcast_to(x.detach(), shape);
  };
  // The quotient of two zeros or infinities is NaN, their signs give the angle: of (±0, ±1) or of a
  // diagonal.
  const auto value = [](const Batch& y, const Batch& x) {
    const auto infinite = isinf(y) & isinf(x);
    const auto zero = (y == Batch(0)) & (x == Batch(0));
    return atan2(select(infinite, copysign(Batch(1), y), y),
                 select(infinite | zero, copysign(Batch(1), x), x));
  };
  return record("atan2", {a, b}, map(value, spread(a), spread(b)), Keep::inputs, [](auto& r) {
    // d angle = (b da - a db) / (a^2 + b^2); at the origin 1 stands in for the 0 below.
    const Tensor a = r.in(0), b = r.in(1), grad = r.grad(), square = a * a + b * b,
                 scaled = grad / where(equal(square, real(0)), real(1), square);
    r.to(0, scaled * b);
    r.to(1, -scaled * a);
  });
}

Tensor erf(const Tensor& x) {
  return record(
      "erf", {x}, map([](const Batch& v) { return erf(v); }, x), Keep::inputs, [](auto& r) {
        pull_back(r,
                  [](const auto& v) { return real(2 * std::numbers::inv_sqrtpi) * exp(-(v * v)); });
      });
}

Tensor sigmoid(const Tensor& x) {
  return record("sigmoid", {x}, map([](const Batch& v) { return sigmoid(v); }, x), Keep::output,
                [](auto& r) { r.to(0, r.grad() * (r.out() * (real(1) - r.out()))); });
}

Tensor relu(const Tensor& x) {
  // Not max(x, 0), which hides NaN: no comparison with NaN holds, so NaN stays.
  const auto value = [](const Batch& v) { return select(v <= Batch(0), Batch(0), v); };
  return record("relu", {x}, map(value, x), Keep::output,
                [](auto& r) { r.to(0, where(r.out() > real(0), r.grad(), real(0))); });
}

namespace {

// (x s)' = s + x s (1 - s), with s = sigmoid(x)
template <class X>
X silu_slope(const X& x, const X& s) {
  return s * (real(1) + x * (real(1) - s));
}

}  // namespace

Tensor silu(const Tensor& x) {
  Tensor y = record(
      "silu", {x}, map([](const Batch& v) { return v * sigmoid(v); }, x), Keep::inputs,
      [](auto& r) { pull_back(r, [](const auto& v) { return silu_slope(v, sigmoid(v)); }); });
  return recomputable(std::move(y), [](const auto& in) { return silu(in[0]); });
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  require<ShapeError>(gate.shape() == up.shape(), "swiglu: gate has shape ", gate.shape(), ", up ",
                      up.shape());
  const auto value = [](const Batch& a, const Batch& b) { return a * sigmoid(a) * b; };
  Tensor y = record("swiglu", {gate, up}, map(value, gate, up), Keep::inputs, [](auto& r) {
    const Tensor grad = r.grad(), a = r.in(0), b = r.in(1);
    if constexpr (std::remove_reference_t<decltype(r)>::recorded) {
      const Tensor s = sigmoid(a);
      r.to(0, grad * b * silu_slope(a, s));
      r.to(1, grad * (a * s));
    } else {  // both in one pass, with one exponential
      Tensor da = Tensor::empty(a.shape()), db = Tensor::empty(a.shape());
      kernels::map_pair(
          a.size(), da.mutable_data(), db.mutable_data(),
          [](const Batch& g, const Batch& x, const Batch& y) {
            const Batch s = sigmoid(x);
            return std::pair(g * y * silu_slope(x, s), g * (x * s));
          },
          grad.data(), a.data(), b.data());
      r.to(0, std::move(da));
      r.to(1, std::move(db));
    }
  });
  return recomputable(std::move(y), [](const auto& in) { return swiglu(in[0], in[1]); });
}

Tensor softplus(const Tensor& x) {
  // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): the exponential cannot overflow. NaN comes through
  // the second term.
  const auto value = [](const Batch& v) { return max(v, Batch(0)) + log1p(exp(-abs(v))); };
  return record("softplus", {x}, map(value, x), Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return sigmoid(v); }); });
}

namespace {

Tensor erf_gelu(const Tensor& x) {
  return record(
      "gelu", {x}, map([](const Batch& v) { return v * kernels::normal(v).distribution; }, x),
      Keep::inputs, [](auto& r) { pull_back(r, [](const auto& v) { return gelu_slope(v); }); });
}

Tensor tanh_gelu(const Tensor& x) {
  // (1 + tanh u) / 2 = sigmoid(2u): one exponential, and no cancellation for negative x.
  constexpr real a = real(2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi),
                 b = a * real(0.044715);  // 2u = a x + b x^3
  const auto value = [](const Batch& v) { return v * sigmoid(v * (a + b * (v * v))); };
  return record("gelu", {x}, map(value, x), Keep::inputs, [](auto& r) {
    pull_back(r, [](const auto& v) {
      const auto square = v * v;
      const auto s = sigmoid(v * (a + b * square));
      return s * (real(1) + v * (real(1) - s) * (a + 3 * b * square));  // s + x s (1 - s) (2u)'
    });
  });
}

}  // namespace

Tensor gelu(const Tensor& x, Gelu form) {
  return recomputable(form == Gelu::erf ? erf_gelu(x) : tanh_gelu(x),
                      [form](const auto& in) { return gelu(in[0], form); });
}

// From the nearer end: both are reached exactly.
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight) {
  const Array &from = a.array(), &to = b.array(), &w = weight.array();
  return record("lerp", {a, b, weight},
                xt::where(w < real(0.5), from + w * (to - from), to + (w - real(1)) * (to - from)),
                Keep::inputs, [](auto& r) {
                  r.to(0, r.grad() * (real(1) - r.in(2)));
                  r.to(1, r.grad() * r.in(2));
                  r.to(2, r.grad() * (r.in(1) - r.in(0)));
                });
}

Tensor lerp(const Tensor& a, const Tensor& b, real weight) {
  const bool near_a = weight < real(0.5);
  return record("lerp", {a, b},
                (near_a ? a : b).array() + (near_a ? weight : weight - 1) * (b.array() - a.array()),
                Keep::nothing, [weight](auto& r) {
                  r.to(0, r.grad() * (1 - weight));
                  r.to(1, r.grad() * weight);
                });
}

// ---- steps

namespace {

template <class F>
Tensor step(const char* op, const Tensor& x, StepGradient gradient, const F& f) {
  const Tensor value = map(f, x);
  if (gradient == StepGradient::zero) return value;
  return record(op, {x}, value, Keep::nothing, [](auto& r) { r.to(0, r.grad()); });
}

}  // namespace

Tensor floor(const Tensor& x, StepGradient gradient) {
  return step("floor", x, gradient, [](const Batch& v) { return floor(v); });
}
Tensor ceil(const Tensor& x, StepGradient gradient) {
  return step("ceil", x, gradient, [](const Batch& v) { return ceil(v); });
}
Tensor round(const Tensor& x, StepGradient gradient) {
  return step("round", x, gradient, [](const Batch& v) { return nearbyint(v); });
}
Tensor sign(const Tensor& x, StepGradient gradient) {
  return step("sign", x, gradient, [](const Batch& v) {
    return select(v > Batch(0), Batch(1), select(v < Batch(0), Batch(-1), v));
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION
