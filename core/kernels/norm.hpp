// Layer norm and RMS norm, forward and backward, on rows of plain memory.
// Checks, optional weights and the tape: ops/norm.cpp.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// y = (x - mean) rstd weight + bias with rstd = 1/sqrt(var + eps), biased variance. x, y (rows,
/// n), weight and bias (n), mean and rstd (rows): what backward needs besides x.
void layer_norm(const real* x, const real* weight, const real* bias, real eps, std::size_t rows,
                std::size_t n, real* y, real* mean, real* rstd);
/// y = x rstd weight with rstd = 1/sqrt(mean(x^2) + eps).
void rms_norm(const real* x, const real* weight, real eps, std::size_t rows, std::size_t n, real* y,
              real* rstd);

/// The gradients of all inputs in one pass over grad and x. Null pointers in `to` are gradients
/// nobody wants.
struct NormGradients {
  real *x, *weight, *bias;
};
void layer_norm_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                    const real* rstd, std::size_t rows, std::size_t n, NormGradients to);
void rms_norm_vjp(const real* grad, const real* x, const real* weight, const real* rstd,
                  std::size_t rows, std::size_t n, NormGradients to);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
