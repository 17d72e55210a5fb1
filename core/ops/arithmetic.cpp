// Arithmetic, comparison and selection: two or three tensors, element by element, with
// broadcasting. Functions of one tensor are in elementwise.cpp. Values and rules are lazy
// expressions: one pass each.
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Tensor operator+(const Tensor& a, const Tensor& b) {
  return record("add", {a, b}, a.array() + b.array(), Keep::nothing, [](auto& r) {
    r.to(0, r.grad());
    r.to(1, r.grad());
  });
}

Tensor operator-(const Tensor& a, const Tensor& b) {
  return record("sub", {a, b}, a.array() - b.array(), Keep::nothing, [](auto& r) {
    r.to(0, r.grad());
    r.to(1, -r.grad());
  });
}

Tensor operator*(const Tensor& a, const Tensor& b) {
  return record("mul", {a, b}, a.array() * b.array(), Keep::others, [](auto& r) {
    if (r.needs(0)) r.to(0, r.grad() * r.in(1));
    if (r.needs(1)) r.to(1, r.grad() * r.in(0));
  });
}

Tensor operator/(const Tensor& a, const Tensor& b) {
  return record("div", {a, b}, a.array() / b.array(), [](auto& r) {
    r.to(0, r.grad() / r.in(1));
    r.to(1, -r.grad() * r.out() / r.in(1));  // d(a/b)/db = -a/b^2 = -(a/b)/b
  });
}

Tensor operator+(const Tensor& a, real b) {
  return record("add", {a}, a.array() + b, Keep::nothing, [](auto& r) { r.to(0, r.grad()); });
}
Tensor operator*(const Tensor& a, real b) {
  return record("mul", {a}, a.array() * b, Keep::nothing, [b](auto& r) { r.to(0, r.grad() * b); });
}
Tensor operator-(const Tensor& a, real b) { return a + -b; }
Tensor operator/(const Tensor& a, real b) {
  return record("div", {a}, a.array() / b, Keep::nothing, [b](auto& r) { r.to(0, r.grad() / b); });
}
Tensor operator+(real a, const Tensor& b) { return b + a; }
Tensor operator*(real a, const Tensor& b) { return b * a; }
Tensor operator-(real a, const Tensor& b) {
  return record("sub", {b}, a - b.array(), Keep::nothing, [](auto& r) { r.to(0, -r.grad()); });
}
Tensor operator/(real a, const Tensor& b) {
  return record("div", {b}, a / b.array(), [](auto& r) { r.to(0, -r.grad() * r.out() / r.in(0)); });
}
Tensor operator-(const Tensor& x) {
  return record("neg", {x}, -x.array(), Keep::nothing, [](auto& r) { r.to(0, -r.grad()); });
}

Tensor pow(const Tensor& x, real exponent) {
  if (exponent == 2) return square(x);
  return record("pow", {x}, xt::pow(x.array(), exponent), Keep::inputs, [exponent](auto& r) {
    const real lower =
        exponent == 0 ? 0 : exponent - 1;  // x^0 has slope 0 at x = 0 too, not 0 * infinity
    r.to(0, r.grad() * (exponent * pow(r.in(0), lower)));
  });
}

Tensor pow(const Tensor& a, const Tensor& b) {
  return record("pow", {a, b}, xt::pow(a.array(), b.array()), [](auto& r) {
    r.to(0, r.grad() * r.in(1) *
                pow(r.in(0), where(equal(r.in(1), real(0)), real(0), r.in(1) - real(1))));
    // d(a^b)/db = a^b log a. Where a = 0, log 1 stands in for log 0, so that derivatives of any
    // order are 0.
    r.to(1, r.grad() * r.out() * log(where(equal(r.in(0), real(0)), real(1), r.in(0))));
  });
}

Tensor square(const Tensor& x) {
  return record("square", {x}, x.array() * x.array(), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() * r.in(0) * real(2)); });
}

// ---- extrema

// Where neither comparison holds, an input is NaN, and so is the sum.
Tensor maximum(const Tensor& a, const Tensor& b) {
  const Array &x = a.array(), &y = b.array();
  return record("maximum", {a, b}, xt::where(x >= y, x, xt::where(x < y, y, x + y)), Keep::inputs,
                [](auto& r) {
                  r.to(0, where(r.in(0) > r.in(1), r.grad(),
                                where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
                  r.to(1, where(r.in(1) > r.in(0), r.grad(),
                                where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
                });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  const Array &x = a.array(), &y = b.array();
  return record("minimum", {a, b}, xt::where(x <= y, x, xt::where(x > y, y, x + y)), Keep::inputs,
                [](auto& r) {
                  r.to(0, where(r.in(0) < r.in(1), r.grad(),
                                where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
                  r.to(1, where(r.in(1) < r.in(0), r.grad(),
                                where(equal(r.in(0), r.in(1)), r.grad() * real(0.5), real(0))));
                });
}

Tensor clamp(const Tensor& x, real low, real high) {
  require(low <= high, "clamp: needs low <= high, got ", low, " and ", high);
  const Array& v = x.array();
  return record("clamp", {x}, xt::where(v < low, low, xt::where(v > high, high, v)), Keep::inputs,
                [low, high](auto& r) {
                  r.to(0,
                       where(r.in(0) >= low, where(r.in(0) <= high, r.grad(), real(0)), real(0)));
                });
}

Tensor abs(const Tensor& x) {
  return record("abs", {x}, xt::abs(x.array()), Keep::inputs, [](auto& r) {
    r.to(0, where(r.in(0) > real(0), r.grad(), where(r.in(0) < real(0), -r.grad(), real(0))));
  });
}

// ---- comparison: constant almost everywhere, so nothing is recorded

namespace {

template <class Condition>
Tensor truth(const char* op, const InputList& inputs, const Condition& condition) {
  return detail::evaluate(op, inputs, xt::where(condition, real(1), real(0)));
}

}  // namespace

Tensor operator<(const Tensor& a, const Tensor& b) {
  return truth("less", {a, b}, a.array() < b.array());
}
Tensor operator>(const Tensor& a, const Tensor& b) {
  return truth("greater", {a, b}, a.array() > b.array());
}
Tensor operator<=(const Tensor& a, const Tensor& b) {
  return truth("less_equal", {a, b}, a.array() <= b.array());
}
Tensor operator>=(const Tensor& a, const Tensor& b) {
  return truth("greater_equal", {a, b}, a.array() >= b.array());
}
Tensor operator<(const Tensor& a, real b) { return truth("less", {a}, a.array() < b); }
Tensor operator>(const Tensor& a, real b) { return truth("greater", {a}, a.array() > b); }
Tensor operator<=(const Tensor& a, real b) { return truth("less_equal", {a}, a.array() <= b); }
Tensor operator>=(const Tensor& a, real b) { return truth("greater_equal", {a}, a.array() >= b); }
Tensor equal(const Tensor& a, const Tensor& b) {
  return truth("equal", {a, b}, xt::equal(a.array(), b.array()));
}
Tensor equal(const Tensor& a, real b) { return truth("equal", {a}, xt::equal(a.array(), b)); }

// ---- selection: the gradient goes where the number came from

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  return record("where", {a, b, condition},
                xt::where(xt::not_equal(condition.array(), real(0)), a.array(), b.array()),
                Keep::others, [](auto& r) {
                  r.to(0, where(equal(r.in(2), real(0)), real(0), r.grad()));
                  r.to(1, where(equal(r.in(2), real(0)), r.grad(), real(0)));
                });
}

// An infinity that somebody asked for is an input like others, not one that the operation made: a
// tape that checks values lets it pass.
Tensor where(const Tensor& condition, const Tensor& a, real b) {
  if (std::isinf(b)) return where(condition, a, scalar(b));
  return record("where", {a, condition},
                xt::where(xt::not_equal(condition.array(), real(0)), a.array(), b), Keep::others,
                [](auto& r) { r.to(0, where(equal(r.in(1), real(0)), real(0), r.grad())); });
}

Tensor where(const Tensor& condition, real a, const Tensor& b) {
  if (std::isinf(a)) return where(condition, scalar(a), b);
  return record("where", {b, condition},
                xt::where(xt::not_equal(condition.array(), real(0)), a, b.array()), Keep::others,
                [](auto& r) { r.to(0, where(equal(r.in(1), real(0)), r.grad(), real(0))); });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, real value) {
  require<ShapeError>(broadcast_shapes("masked_fill", x.shape(), mask.shape()) == x.shape(),
                      "masked_fill: the mask ", mask.shape(), " has more elements than x ",
                      x.shape());
  return where(mask, value, x);
}

}  // namespace xgrad::inline XGRAD_PRECISION
