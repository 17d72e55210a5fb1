// Arithmetic, comparison and selection: two or three tensors, element by element, with broadcasting.
// Functions of one tensor are in elementwise.cpp.
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
    r.to(0, r.grad() * (exponent * pow(r.in(0), exponent - 1)));
  });
}

Tensor pow(const Tensor& a, const Tensor& b) {
  return record("pow", {a, b}, xt::pow(a.array(), b.array()), [](auto& r) {
    r.to(0, r.grad() * r.in(1) * pow(r.in(0), r.in(1) - real(1)));
  });
}

Tensor square(const Tensor& x) {
  return record("square", {x}, x.array() * x.array(), Keep::inputs,
                [](auto& r) { r.to(0, r.grad() * r.in(0) * real(2)); });
}

}  // namespace xgrad::inline XGRAD_PRECISION
