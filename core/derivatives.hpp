// Derivatives of functions as wholes: Jacobians, Hessians and products with them.
// One gradient at a time is Tape::gradient.
#pragma once

#include <functional>

#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// A function of one tensor; several variables are captured or stacked.
using Function = std::function<Tensor(const Tensor&)>;

/// dy_i/dx_j for y = f(x): the shape of y followed by the shape of x. One forward pass and one
/// sweep per element of y. Not itself recorded.
Tensor jacobian(const Function& f, const Tensor& x);

/// d2y/(dx_i dx_j) for a scalar y = f(x): the shape of x twice. One recorded gradient and one sweep
/// per element of x. Throws ShapeError if y has more than one element, std::logic_error if f uses a
/// fused operation.
Tensor hessian(const Function& f, const Tensor& x);

/// The Hessian of a scalar f at x times v, without forming it: d/dx <df/dx, v>, at the price of a
/// few evaluations. v has x's shape, and so has the result. Pearlmutter 1994, "Fast exact
/// multiplication by the Hessian".
Tensor hvp(const Function& f, const Tensor& x, const Tensor& v);

/// The Jacobian's transpose times v: the gradient of <v, f(x)>. v has y's shape, the result x's.
Tensor vjp(const Function& f, const Tensor& x, const Tensor& v);

}  // namespace xgrad::inline XGRAD_PRECISION
