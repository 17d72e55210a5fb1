// Adam and AdamW; see adam.hpp.
#include <xgrad/optim/adam.hpp>

#include <cmath>

#include <xgrad/core/kernels/update.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace detail {

void check_adam(const char* name, Betas betas, double eps) {
  for (const double beta : {betas.first, betas.second})
    require(beta >= 0 && beta < 1, name, ": betas must be in [0, 1), got ", beta);
  require(eps >= 0 && std::isfinite(eps), name, ": eps must be finite and at least 0, got ", eps);
}

kernels::AdamStep adamw_step(double lr, Betas betas, double eps, double weight_decay,
                             std::int64_t step) {
  const auto [beta1, beta2] = betas;
  const auto t = static_cast<double>(step);
  return {.lr = static_cast<real>(lr / (1 - std::pow(beta1, t))),
          .keep = static_cast<real>(1 - lr * weight_decay),
          .weight_decay = 0,
          .new_share1 = static_cast<real>(1 - beta1),
          .beta2 = static_cast<real>(beta2),
          .new_share2 = static_cast<real>(1 - beta2),
          .root2 = static_cast<real>(std::sqrt(1 - std::pow(beta2, t))),
          .eps = static_cast<real>(eps)};
}

}  // namespace detail

Adam::Adam(const char* name, const ParameterGroups& parameters, AdamOptions options, Decay decay)
    : Optimizer(name, parameters, options.lr, options.weight_decay, {"exp_avg", "exp_avg_sq"}),
      options_(options),
      decay_(decay) {
  detail::check_adam(name, options.betas, options.eps);
}

Adam::Adam(const ParameterGroups& parameters, AdamOptions options)
    : Adam("Adam", parameters, options, Decay::into_gradient) {}

AdamW::AdamW(const ParameterGroups& parameters, AdamWOptions options)
    : Adam("AdamW", parameters, {options.lr, options.betas, options.eps, options.weight_decay},
           Decay::decoupled) {}

void Adam::update(Slot& slot, const Tensor& grad, double lr) {
  const bool decoupled = decay_ == Decay::decoupled;
  kernels::AdamStep step = detail::adamw_step(lr, options_.betas, options_.eps,
                                              decoupled ? slot.weight_decay : 0, slot.step);
  if (!decoupled) step.weight_decay = static_cast<real>(slot.weight_decay);
  Tensor& p = slot.parameter;
  kernels::adam(p.size(), p.mutable_data(), grad.data(), slot.state[0].mutable_data(),
                slot.state[1].mutable_data(), step);
}

}  // namespace xgrad::inline XGRAD_PRECISION
