// Arithmetic, comparison and selection: two or three tensors, element by element, with
// broadcasting. Functions of one tensor are in elementwise.cpp. A value is one vectorised pass, a
// rule a lazy expression.
#include <cmath>
#include <functional>

#include <xgrad/core/kernels/broadcast.hpp>
#include <xgrad/core/kernels/map.hpp>
#include <xgrad/core/kernels/power.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using kernels::Batch;

/// f of tensors that broadcast.
template <class F, class... T>
Tensor combine([[maybe_unused]] const char* op, const F& f, const Tensor& first, const T&... more) {
  if (((more.shape() == first.shape()) && ...)) {
    Tensor y = Tensor::empty(first.shape());
    kernels::map(y.size(), y.mutable_data(), f, first.data(), more.data()...);
    return y;
  }
  Shape shape = first.shape();
  ((shape = broadcast_shapes(op, shape, more.shape())), ...);
  Tensor y = Tensor::empty(shape);
  if (y.size() > 0)
    kernels::map_broadcast(shape, y.mutable_data(), f,
                           kernels::Operand{first.data(), first.shape()},
                           kernels::Operand{more.data(), more.shape()}...);
  return y;
}

/// f(x, b) as a function of x.
template <class F>
auto with(const F& f, real b) {
  return [f, b](const Batch& x) { return f(x, Batch(b)); };
}

constexpr std::plus<> plus;
constexpr std::minus<> minus;
constexpr std::multiplies<> times;
constexpr std::divides<> over;

/// Hands input i the gradient times, or over, input j: a lazy expression, unless shapes differ; for
/// where xtensor has to broadcast along the last axis it is slow.
template <class R, class F>
void pull(R& r, std::size_t i, const F& f, std::size_t j) {
  if (!r.needs(i)) return;
  if (r.shape(0) == r.shape(1))
    r.to(i, f(r.grad(), r.in(j)));
  else
    r.to(i, f(Tensor(r.grad()), Tensor(r.in(j))));
}

}  // namespace

Tensor operator+(const Tensor& a, const Tensor& b) {
  return record("add", {a, b}, combine("add", plus, a, b), Keep::nothing, [](auto& r) {
    r.to(0, r.grad());
    r.to(1, r.grad());
  });
}

Tensor operator-(const Tensor& a, const Tensor& b) {
  return record("sub", {a, b}, combine("sub", minus, a, b), Keep::nothing, [](auto& r) {
    r.to(0, r.grad());
    r.to(1, -r.grad());
  });
}

Tensor operator*(const Tensor& a, const Tensor& b) {
  return record("mul", {a, b}, combine("mul", times, a, b), Keep::others, [](auto& r) {
    pull(r, 0, times, 1);  // d(ab)/da = b
    pull(r, 1, times, 0);  // d(ab)/db = a
  });
}

Tensor operator/(const Tensor& a, const Tensor& b) {
  return record("div", {a, b}, combine("div", over, a, b), [](auto& r) {
    pull(r, 0, over, 1);
    if (r.needs(1)) {  // d(a/b)/db = -a/b^2 = -(a/b)/b
      const Tensor g = r.grad(), y = r.out(), b = r.in(1);
      r.to(1, -g * y / b);
    }
  });
}

Tensor operator+(const Tensor& a, real b) {
  return record("add", {a}, combine("add", with(plus, b), a), Keep::nothing,
                [](auto& r) { r.to(0, r.grad()); });
}
Tensor operator*(const Tensor& a, real b) {
  return record("mul", {a}, combine("mul", with(times, b), a), Keep::nothing,
                [b](auto& r) { r.to(0, r.grad() * b); });
}
Tensor operator-(const Tensor& a, real b) { return a + -b; }
Tensor operator/(const Tensor& a, real b) {
  return record("div", {a}, combine("div", with(over, b), a), Keep::nothing,
                [b](auto& r) { r.to(0, r.grad() / b); });
}
Tensor operator+(real a, const Tensor& b) { return b + a; }
Tensor operator*(real a, const Tensor& b) { return b * a; }
Tensor operator-(real a, const Tensor& b) {
  const auto value = [a](const Batch& x) { return a - x; };
  return record("sub", {b}, combine("sub", value, b), Keep::nothing,
                [](auto& r) { r.to(0, -r.grad()); });
}
Tensor operator/(real a, const Tensor& b) {
  const auto value = [a](const Batch& x) { return a / x; };
  return record("div", {b}, combine("div", value, b),
                [](auto& r) { r.to(0, -r.grad() * r.out() / r.in(0)); });
}
Tensor operator-(const Tensor& x) {
  return record("neg", {x}, combine("neg", std::negate<>(), x), Keep::nothing,
                [](auto& r) { r.to(0, -r.grad()); });
}

Tensor pow(const Tensor& a, const Tensor& b) {
  const auto value = [](const Batch& x, const Batch& y) { return kernels::power(x, y); };
  return record("pow", {a, b}, combine("pow", value, a, b), [](auto& r) {
    r.to(0, r.grad() * r.in(1) *
                pow(r.in(0), where(equal(r.in(1), real(0)), real(0), r.in(1) - real(1))));
    // d(a^b)/db = a^b log a. Where a = 0, log 1 stands in for log 0, so that derivatives of any
    // order are 0.
    r.to(1, r.grad() * r.out() * log(where(equal(r.in(0), real(0)), real(1), r.in(0))));
  });
}

Tensor square(const Tensor& x) {
  const auto value = [](const Batch& v) { return v * v; };
  return record("square", {x}, combine("square", value, x), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() * r.in(0) * real(2)); });
}

// ---- extrema

// Where neither comparison holds, an input is NaN, and so is the sum.
Tensor maximum(const Tensor& a, const Tensor& b) {
  const auto value = [](const Batch& x, const Batch& y) {
    return select(x >= y, x, select(x < y, y, x + y));
  };
  return record("maximum", {a, b}, combine("maximum", value, a, b), Keep::inputs, [](auto& r) {
    r.to(0, where(r.in(0) > r.in(1), r.grad(),
                  where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
    r.to(1, where(r.in(1) > r.in(0), r.grad(),
                  where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
  });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  const auto value = [](const Batch& x, const Batch& y) {
    return select(x <= y, x, select(x > y, y, x + y));
  };
  return record("minimum", {a, b}, combine("minimum", value, a, b), Keep::inputs, [](auto& r) {
    r.to(0, where(r.in(0) < r.in(1), r.grad(),
                  where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
    r.to(1, where(r.in(1) < r.in(0), r.grad(),
                  where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
  });
}

Tensor clamp(const Tensor& x, real low, real high) {
  require(low <= high, "clamp: needs low <= high, got ", low, " and ", high);
  const auto value = [low, high](const Batch& v) {
    return select(v < Batch(low), Batch(low), select(v > Batch(high), Batch(high), v));
  };
  return record("clamp", {x}, combine("clamp", value, x), Keep::inputs, [low, high](auto& r) {
    r.to(0, where(r.in(0) >= low, where(r.in(0) <= high, r.grad(), real(0)), real(0)));
  });
}

Tensor abs(const Tensor& x) {
  const auto value = [](const Batch& v) { return abs(v); };
  return record("abs", {x}, combine("abs", value, x), Keep::inputs, [](auto& r) {
    r.to(0, where(r.in(0) > real(0), r.grad(), where(r.in(0) < real(0), -r.grad(), real(0))));
  });
}

// ---- comparison: constant almost everywhere, so nothing is recorded

namespace {

/// 1 where f holds, else 0.
template <class F, class... T>
Tensor truth(const char* op, const F& f, const T&... x) {
  const auto value = [&f](const auto&... v) { return select(f(v...), Batch(1), Batch(0)); };
  return combine(op, value, x...);
}

}  // namespace

Tensor operator<(const Tensor& a, const Tensor& b) { return truth("less", std::less<>(), a, b); }
Tensor operator<(const Tensor& a, real b) { return truth("less", with(std::less<>(), b), a); }
Tensor operator>(const Tensor& a, const Tensor& b) {
  return truth("greater", std::greater<>(), a, b);
}
Tensor operator>(const Tensor& a, real b) { return truth("greater", with(std::greater<>(), b), a); }
Tensor operator<=(const Tensor& a, const Tensor& b) {
  return truth("less_equal", std::less_equal<>(), a, b);
}
Tensor operator<=(const Tensor& a, real b) {
  return truth("less_equal", with(std::less_equal<>(), b), a);
}
Tensor operator>=(const Tensor& a, const Tensor& b) {
  return truth("greater_equal", std::greater_equal<>(), a, b);
}
Tensor operator>=(const Tensor& a, real b) {
  return truth("greater_equal", with(std::greater_equal<>(), b), a);
}
Tensor equal(const Tensor& a, const Tensor& b) { return truth("equal", std::equal_to<>(), a, b); }
Tensor equal(const Tensor& a, real b) { return truth("equal", with(std::equal_to<>(), b), a); }

// ---- selection: the gradient goes where the number came from

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const auto value = [](const Batch& x, const Batch& y, const Batch& c) {
    return select(c == Batch(0), y, x);
  };
  return record("where", {a, b}, combine("where", value, a, b, condition), Keep::nothing,
                [condition](auto& r) {
                  const Tensor grad = r.grad();
                  if (r.needs(0)) r.to(0, where(condition, grad, real(0)));
                  if (r.needs(1)) r.to(1, where(condition, real(0), grad));
                });
}

// An infinity that somebody asked for is an input like others, not one that the operation made: a
// tape that checks values lets it pass.
Tensor where(const Tensor& condition, const Tensor& a, real b) {
  if (std::isinf(b)) return where(condition, a, scalar(b));
  const auto value = [b](const Batch& x, const Batch& c) {
    return select(c == Batch(0), Batch(b), x);
  };
  return record("where", {a}, combine("where", value, a, condition), Keep::nothing,
                [condition](auto& r) { r.to(0, where(condition, Tensor(r.grad()), real(0))); });
}

Tensor where(const Tensor& condition, real a, const Tensor& b) {
  if (std::isinf(a)) return where(condition, scalar(a), b);
  const auto value = [a](const Batch& y, const Batch& c) {
    return select(c == Batch(0), y, Batch(a));
  };
  return record("where", {b}, combine("where", value, b, condition), Keep::nothing,
                [condition](auto& r) { r.to(0, where(condition, real(0), Tensor(r.grad()))); });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, real value) {
  require<ShapeError>(broadcast_shapes("masked_fill", x.shape(), mask.shape()) == x.shape(),
                      "masked_fill: the mask ", mask.shape(), " has more elements than x ",
                      x.shape());
  return where(mask, value, x);
}

}  // namespace xgrad::inline XGRAD_PRECISION
