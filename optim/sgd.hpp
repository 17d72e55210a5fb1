// Stochastic gradient descent, the simplest optimizer: one subtraction, optionally with momentum.
// What it shares with the others is optimizer.hpp.
#pragma once

#include <xgrad/optim/optimizer.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct SGDOptions {
  double lr = 1e-3;         ///< learning rate, at least 0
  double momentum = 0;      ///< share of the running sum that each step keeps, at least 0
  double dampening = 0;     ///< share of the gradient that does not enter the sum
  bool nesterov = false;    ///< looks one step ahead; needs momentum > 0 and no dampening
  double weight_decay = 0;  ///< L2: adds weight_decay * p to the gradient
};

/// With g the gradient,
///
///     d <- g + weight_decay p
///     b <- momentum b + (1 - dampening) d     at the first step b <- d
///     p <- p - lr b                           with nesterov p <- p - lr (d + momentum b)
///
/// As torch.optim.SGD; Nesterov's momentum as Sutskever et al. 2013, On the importance of
/// initialization and momentum in deep learning. State: "momentum_buffer" (b), if momentum > 0.
class SGD : public Optimizer {
 public:
  explicit SGD(const ParameterGroups& parameters, SGDOptions options = {});

 protected:
  void update(Slot& slot, const Tensor& grad, double lr) override;

 private:
  const SGDOptions options_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
