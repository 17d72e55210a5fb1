// Stochastic gradient descent; see sgd.hpp.
#include <xgrad/optim/sgd.hpp>

#include <cmath>

#include <xgrad/core/kernels/update.hpp>

namespace xgrad::inline XGRAD_PRECISION {

SGD::SGD(const ParameterGroups& parameters, SGDOptions options)
    : Optimizer("SGD", parameters, options.lr, options.weight_decay,
                options.momentum == 0 ? std::vector<std::string>{}
                                      : std::vector<std::string>{"momentum_buffer"}),
      options_(options) {
  require(options.momentum >= 0 && std::isfinite(options.momentum),
          "SGD: momentum must be finite and at least 0, got ", options.momentum);
  require(std::isfinite(options.dampening), "SGD: dampening must be finite, got ",
          options.dampening);
  require(!options.nesterov || (options.momentum > 0 && options.dampening == 0),
          "SGD: nesterov needs a momentum above 0 and no dampening, got momentum ",
          options.momentum, " and dampening ", options.dampening);
}

void SGD::update(Slot& slot, const Tensor& grad, double lr) {
  Tensor& p = slot.parameter;
  // The buffer starts as zeros, so that the first sum is the gradient itself, once it is not
  // dampened.
  const double dampening = slot.step == 1 ? 0 : options_.dampening;
  kernels::sgd(p.size(), p.mutable_data(), grad.data(),
               slot.state.empty() ? nullptr : slot.state[0].mutable_data(),
               {.lr = static_cast<real>(lr),
                .weight_decay = static_cast<real>(slot.weight_decay),
                .momentum = static_cast<real>(options_.momentum),
                .new_share = static_cast<real>(1 - dampening),
                .nesterov = options_.nesterov});
}

}  // namespace xgrad::inline XGRAD_PRECISION
