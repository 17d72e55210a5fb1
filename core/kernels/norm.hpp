// Layer norm and RMS norm, forward and backward, on rows of plain memory; group norm and batch norm
// on planes of it.
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

/// x (samples, channels, size) as planes of `size` numbers, each of one sample's one channel, and
/// how they fall into sets that are normalised together: set s has the `count` planes s apart,
/// s apart + step, …
struct Planes {
  std::size_t samples, channels, size, sets, count, apart, step;
};
/// y = (x - mean) / sqrt(var + eps) weight + bias; weight and bias (channels) may be null. mean and
/// var (sets) are measured, biased, and written if `measure`, else read.
void plane_norm(const real* x, const real* weight, const real* bias, real eps, Planes planes,
                bool measure, real* y, real* mean, real* var);
/// `measured`: mean and var depend on x.
void plane_norm_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                    const real* var, real eps, Planes planes, bool measured, NormGradients to);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
