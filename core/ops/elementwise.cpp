// Functions of one tensor, element by element. Those of two are in arithmetic.cpp.
// Values come from one vectorised pass (kernels/map.hpp). Rules that only multiply are lazy
// expressions like any other; where the derivative is itself a function worth a kernel, `pull_back`
// reads one formula both ways.
#include <numbers>

#include <xgrad/core/kernels/map.hpp>
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
  if constexpr (R::recorded)
    r.to(0, r.grad() * slope(r.in(0)));
  else
    r.to(0, map([&](const Batch& g, const Batch& x) { return g * slope(x); }, Tensor(r.grad()),
                r.in(0)));
}

// Where exp overflows to infinity its reciprocal is the 0 that is wanted.
Batch sigmoid(const Batch& x) { return real(1) / (real(1) + exp(-x)); }

// Phi(x), the distribution function of the standard normal; erfc keeps digits where 1 + erf would
// cancel.
Batch normal_cdf(const Batch& x) { return real(0.5) * erfc(x * real(-1 / std::numbers::sqrt2)); }

template <class X>
X normal_pdf(const X& x) {
  return real(std::numbers::inv_sqrtpi / std::numbers::sqrt2) * exp(real(-0.5) * (x * x));
}

// What the derivative of gelu is made of, for its own derivatives.
Tensor normal_cdf(const Tensor& x) {
  return record("normal_cdf", {x}, map([](const Batch& v) { return normal_cdf(v); }, x),
                Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return normal_pdf(v); }); });
}

}  // namespace

Tensor exp(const Tensor& x) {
  return record("exp", {x}, map([](const Batch& v) { return exp(v); }, x), Keep::output,
                [](auto& r) { r.to(0, r.grad() * r.out()); });
}

Tensor log(const Tensor& x) {
  return record("log", {x}, map([](const Batch& v) { return log(v); }, x), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() / r.in(0)); });
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

Tensor silu(const Tensor& x) {
  return record("silu", {x}, map([](const Batch& v) { return v * sigmoid(v); }, x), Keep::inputs,
                [](auto& r) {
                  pull_back(r, [](const auto& v) {
                    const auto s = sigmoid(v);
                    return s * (real(1) + v * (real(1) - s));  // (x s)' = s + x s (1 - s)
                  });
                });
}

Tensor softplus(const Tensor& x) {
  // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|): the exponential cannot overflow. NaN comes through
  // the second term.
  const auto value = [](const Batch& v) { return max(v, Batch(0)) + log1p(exp(-abs(v))); };
  return record("softplus", {x}, map(value, x), Keep::inputs,
                [](auto& r) { pull_back(r, [](const auto& v) { return sigmoid(v); }); });
}

Tensor gelu(const Tensor& x, Gelu form) {
  if (form == Gelu::erf)
    return record("gelu", {x}, map([](const Batch& v) { return v * normal_cdf(v); }, x),
                  Keep::inputs, [](auto& r) {
                    pull_back(r, [](const auto& v) {
                      return normal_cdf(v) + v * normal_pdf(v);
                    });  // Phi' is the density
                  });
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

}  // namespace xgrad::inline XGRAD_PRECISION
