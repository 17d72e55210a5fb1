// What optimizers do to numbers: one pass over a parameter, its gradient and its moments.
// When to do it, and with which constants, is optim's business.
//
// All of it is bound by memory: an Adam step moves 7 reals per element for some 15 operations.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// Constants of one SGD step. Reals, but computed in double by the caller.
struct SgdStep {
  real lr;
  real weight_decay;  // added to the gradient, times the parameter
  real momentum;
  real new_share;  // how much of the gradient enters the momentum buffer
  bool nesterov;
};

/// p <- p - lr d, where d is the decayed gradient g, or its running sum in b, which may be null.
void sgd(std::size_t count, real* p, const real* g, real* b, const SgdStep& step);

/// Constants of one Adam step. Reals, but computed in double by the caller.
struct AdamStep {
  real lr;            // already divided by 1 - beta1^t
  real keep;          // what decoupled weight decay leaves of the parameter: 1 - lr weight_decay
  real weight_decay;  // the other kind: added to the gradient, times the parameter
  real new_share1;    // 1 - beta1
  real beta2;
  real new_share2;  // 1 - beta2
  real root2;       // sqrt(1 - beta2^t)
  real eps;
};

/// p <- keep p - lr m / (sqrt(v) / root2 + eps), once m and v, the running means of the decayed
/// gradient g and of its square, are brought up to date.
void adam(std::size_t count, real* p, const real* g, real* m, real* v, const AdamStep& step);

/// Sum of x^2 in double, the same for any number of threads.
double sum_of_squares(std::size_t count, const real* x);

void scale(std::size_t count, real* x, real factor);

/// Limits x to [-limit, limit]; NaN stays.
void limit_magnitude(std::size_t count, real* x, real limit);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
