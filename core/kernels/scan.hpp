// Running sums, products and recurrences along one axis, on plain memory.
// Which axis, and derivatives: ops/scan.cpp.
#pragma once

#include <xgrad/core/kernels/line.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// y[o, i, j] = sum of x[o, k, j] over k <= i; over k >= i in reverse.
void cumsum(const real* x, Line line, bool reverse, real* y);
void cumprod(const real* x, Line line, real* y);
void logcumsumexp(const real* x, Line line, real* y);
/// h[i] = a[i] h[i - 1] + b[i]; in reverse h[i] = a[i + 1] h[i + 1] + b[i]. The first (in reverse:
/// last) h is b there, whatever a is.
void linear_recurrence(const real* a, const real* b, Line line, bool reverse, real* h);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
