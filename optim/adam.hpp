// Adam and AdamW: steps of about lr per element, whatever the size of its gradients.
// What they share with other optimizers is optimizer.hpp.
#pragma once

#include <xgrad/optim/optimizer.hpp>

namespace xgrad::inline XGRAD_PRECISION {

namespace kernels {
struct AdamStep;
}

/// How much of the running means of the gradient and of its square each step keeps; both in [0, 1).
struct Betas {
  double first = 0.9, second = 0.999;
};

struct AdamOptions {
  double lr = 1e-3;         ///< learning rate, at least 0
  Betas betas = {};         ///< {0.9, 0.999}
  double eps = 1e-8;        ///< keeps the denominator away from 0, at least 0
  double weight_decay = 0;  ///< L2: adds weight_decay * p to the gradient
};

struct AdamWOptions {
  double lr = 1e-3;
  Betas betas = {};
  double eps = 1e-8;
  double weight_decay = 1e-2;  ///< decoupled: each step takes lr * weight_decay of p away
};

/// With g the gradient and t the parameter's count of steps,
///
///     m <- beta1 m + (1 - beta1) g            running mean of the gradient, from 0
///     v <- beta2 v + (1 - beta2) g^2          and of its square
///     p <- p - lr m' / (sqrt(v') + eps)       m' = m / (1 - beta1^t), v' = v / (1 - beta2^t)
///
/// where the primes undo the pull of the zeros at the start. Kingma & Ba 2015 (1412.6980),
/// algorithm 1. Weight decay enters g, which becomes g + weight_decay p. As torch.optim.Adam.
/// State: "exp_avg" (m), "exp_avg_sq" (v).
class Adam : public Optimizer {
 public:
  explicit Adam(const ParameterGroups& parameters, AdamOptions options = {});

 protected:
  enum class Decay { into_gradient, decoupled };
  Adam(const char* name, const ParameterGroups& parameters, AdamOptions options, Decay decay);
  void update(Slot& slot, const Tensor& grad, double lr) override;

 private:
  const AdamOptions options_;
  const Decay decay_;
};

/// Adam whose weight decay does not pass through the running means: p <- (1 - lr weight_decay) p
/// before the step. Loshchilov & Hutter 2019 (1711.05101), algorithm 2. As torch.optim.AdamW.
class AdamW : public Adam {
 public:
  explicit AdamW(const ParameterGroups& parameters, AdamWOptions options = {});
};

namespace detail {

// The formula, for optimizers that apply it to something besides parameters (lora_pro.cpp).

/// Throws std::invalid_argument, naming the optimizer, for settings that Adam refuses.
void check_adam(const char* name, Betas betas, double eps);
/// What kernels::adam needs to take step number t = 1, 2, … of AdamW.
kernels::AdamStep adamw_step(double lr, Betas betas, double eps, double weight_decay,
                             std::int64_t t);

}  // namespace detail

}  // namespace xgrad::inline XGRAD_PRECISION
