// Adam and AdamW; see adam.hpp.
#include <xgrad/optim/adam.hpp>

#include <cmath>

#include <xgrad/core/kernels/update.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Adam::Adam(const char* name, const ParameterGroups& parameters, AdamOptions options, Decay decay)
    : Optimizer(name, parameters, options.lr, options.weight_decay, {"exp_avg", "exp_avg_sq"}),
      options_(options),
      decay_(decay) {
  for (const double beta : {options.betas.first, options.betas.second})
    require(beta >= 0 && beta < 1, name, ": betas must be in [0, 1), got ", beta);
  require(options.eps >= 0 && std::isfinite(options.eps), name,
          ": eps must be finite and at least 0, got ", options.eps);
}

Adam::Adam(const ParameterGroups& parameters, AdamOptions options)
    : Adam("Adam", parameters, options, Decay::into_gradient) {}

AdamW::AdamW(const ParameterGroups& parameters, AdamWOptions options)
    : Adam("AdamW", parameters, {options.lr, options.betas, options.eps, options.weight_decay},
           Decay::decoupled) {}

void Adam::update(Slot& slot, double lr) {
  const auto [beta1, beta2] = options_.betas;
  const auto t = static_cast<double>(slot.step);
  const bool decoupled = decay_ == Decay::decoupled;
  Tensor& p = slot.parameter;
  kernels::adam(p.size(), p.mutable_data(), p.grad().data(), slot.state[0].mutable_data(),
                slot.state[1].mutable_data(),
                {.lr = static_cast<real>(lr / (1 - std::pow(beta1, t))),
                 .keep = static_cast<real>(decoupled ? 1 - lr * slot.weight_decay : 1),
                 .weight_decay = static_cast<real>(decoupled ? 0 : slot.weight_decay),
                 .new_share1 = static_cast<real>(1 - beta1),
                 .beta2 = static_cast<real>(beta2),
                 .new_share2 = static_cast<real>(1 - beta2),
                 .root2 = static_cast<real>(std::sqrt(1 - std::pow(beta2, t))),
                 .eps = static_cast<real>(options_.eps)});
}

}  // namespace xgrad::inline XGRAD_PRECISION
