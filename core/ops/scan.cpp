// Cumulative operations: each number depends on those before it along one axis. Reductions, which
// keep only the last, are in reduce.cpp.
// The gradient of a step-by-step computation is another one, from the end to the start; here both
// are the linear recurrence h_i = a_i h_{i-1} + b_i, so derivatives of any order stay O(n).
#include <limits>

#include <xgrad/core/kernels/scan.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// x one place later along `axis`: (first, x_0, …, x_{n-2}).
Tensor delayed(const Tensor& x, std::size_t axis, real first) {
  Shape shape = x.shape();
  shape[axis] = 1;
  const auto along = static_cast<std::int64_t>(axis);
  return slice(concat({full(shape, first), x}, along), along, 0,
               static_cast<std::int64_t>(x.shape()[axis]));
}

Tensor running_sum(const Tensor& x, std::size_t axis, bool reverse) {
  Tensor y = Tensor::empty(x.shape());
  kernels::cumsum(x.data(), kernels::line_of(x.shape(), axis), reverse, y.mutable_data());
  // x_i is part of y_i and of all that come later.
  return record("cumsum", {x}, y, Keep::nothing,
                [axis, reverse](auto& r) { r.to(0, running_sum(r.grad(), axis, !reverse)); });
}

Tensor recurrence(const Tensor& a, const Tensor& b, std::size_t axis, bool reverse) {
  Tensor h = Tensor::empty(b.shape());
  kernels::linear_recurrence(a.data(), b.data(), kernels::line_of(b.shape(), axis), reverse,
                             h.mutable_data());
  return record("linear_recurrence", {a, b}, h, [axis, reverse](auto& r) {
    // Forward, h_i = a_i h_{i-1} + b_i. What reaches h_i in all is s_i = g_i + a_{i+1} s_{i+1}: the
    // reverse recurrence. b_i takes it whole, a_i times h_{i-1}. Backward, h and s change places.
    const Tensor h = r.out();
    Tensor s = recurrence(r.in(0), r.grad(), axis, !reverse);
    if (r.needs(0)) r.to(0, reverse ? h * delayed(s, axis, 0) : s * delayed(h, axis, 0));
    r.to(1, std::move(s));
  });
}

}  // namespace

Tensor cumsum(const Tensor& x, std::int64_t axis) {
  return running_sum(x, normalize_axis("cumsum", axis, x.ndim()), false);
}

Tensor linear_recurrence(const Tensor& a, const Tensor& b, std::int64_t axis, bool reverse) {
  const Shape shape = broadcast_shapes("linear_recurrence", a.shape(), b.shape());
  const std::size_t along = normalize_axis("linear_recurrence", axis, shape.size());
  return recurrence(a.shape() == shape ? a : broadcast_to(a, shape),
                    b.shape() == shape ? b : broadcast_to(b, shape), along, reverse);
}

Tensor cumprod(const Tensor& x, std::int64_t axis) {
  const std::size_t along = normalize_axis("cumprod", axis, x.ndim());
  Tensor y = Tensor::empty(x.shape());
  kernels::cumprod(x.data(), kernels::line_of(x.shape(), along), y.mutable_data());
  return record("cumprod", {x}, y, [along](auto& r) {
    // dy_i/dx_k = y_{k-1} (x_{k+1} … x_i) for i >= k. The factors in brackets, weighted by g_i and
    // summed, obey s_k = g_k + x_{k+1} s_{k+1}: no division, so a 0 among them does no harm.
    r.to(0, recurrence(r.in(0), r.grad(), along, true) * delayed(r.out(), along, 1));
  });
}

Tensor logcumsumexp(const Tensor& x, std::int64_t axis) {
  const std::size_t along = normalize_axis("logcumsumexp", axis, x.ndim());
  Tensor y = Tensor::empty(x.shape());
  kernels::logcumsumexp(x.data(), kernels::line_of(x.shape(), along), y.mutable_data());
  return record("logcumsumexp", {x}, y, [along](auto& r) {
    // dy_i/dx_k = e^(x_k - y_i) = e^(x_k - y_k) e^(y_k - y_i), and the second factor, weighted and
    // summed over i >= k, obeys s_k = g_k + e^(y_k - y_{k+1}) s_{k+1}. y never falls, so no
    // exponent is positive. Where y = -inf, 0 stands in for it: e^(-inf - 0) is the 0 that is
    // wanted.
    constexpr real inf = std::numeric_limits<real>::infinity();
    const Tensor x = r.in(0), out = r.out(), y = where(equal(out, -inf), real(0), out);
    r.to(0, exp(x - y) * recurrence(exp(delayed(out, along, -inf) - y), r.grad(), along, true));
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION
