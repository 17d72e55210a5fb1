// Softmax, its relatives and cross-entropy, forward and backward, on rows of plain memory.
// Axes, checks and the tape: ops/softmax.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

// All matrices are (rows, n), all vectors (rows).

/// y = log(sum_j exp(x_j)).
void logsumexp(const real* x, std::size_t rows, std::size_t n, real* y);
/// y_i = exp(x_i) / sum_j exp(x_j); zeros for a row of -inf.
void softmax(const real* x, std::size_t rows, std::size_t n, real* y);
/// y_i = x_i - logsumexp(x); -inf for a row of -inf.
void log_softmax(const real* x, std::size_t rows, std::size_t n, real* y);
/// dx = y (grad - <grad, y>): the Jacobian diag(y) - y y^T is never built.
void softmax_vjp(const real* grad, const real* y, std::size_t rows, std::size_t n, real* dx);
/// dx = grad - exp(y) sum(grad).
void log_softmax_vjp(const real* grad, const real* y, std::size_t rows, std::size_t n, real* dx);

/// What a row of logits is compared with: all of the weight on `targets[row]`, or with smoothing s,
/// 1 - s there and s spread evenly over the n classes. Rows whose target is `ignore` do not count.
struct Targets {
  const std::int64_t* targets;
  std::int64_t ignore;
  real smoothing;
};
/// loss = -sum_j q_j log p_j with p = softmax(x) and q the target distribution, and, unless dx is
/// null, its gradient dx = scale (p - q); 0 where ignored.
void cross_entropy(const real* x, Targets targets, real scale, std::size_t rows, std::size_t n,
                   real* loss, real* dx);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
