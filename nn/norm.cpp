// The layers that normalise; see norm.hpp.
#include <xgrad/nn/norm.hpp>

namespace xgrad::inline XGRAD_PRECISION {

LayerNorm::LayerNorm(Module* owner, std::string name, LayerNormOptions o)
    : Module(owner, std::move(name)),
      options(
          (require(o.dim > 0 && o.eps >= 0, "LayerNorm(", o.dim, "): needs dim > 0 and eps >= 0"),
           o)),
      weight(this, "weight", ones({o.dim})),
      bias(this, "bias", o.bias ? zeros({o.dim}) : Tensor()) {}

Tensor LayerNorm::operator()(const Tensor& x) const {
  const Scope here = enter();
  return layer_norm(x, weight, bias, static_cast<real>(options.eps));
}

RMSNorm::RMSNorm(Module* owner, std::string name, RMSNormOptions o)
    : Module(owner, std::move(name)),
      options((require(o.dim > 0 && o.eps >= 0, "RMSNorm(", o.dim, "): needs dim > 0 and eps >= 0"),
               o)),
      weight(this, "weight", ones({o.dim})) {}

Tensor RMSNorm::operator()(const Tensor& x) const {
  const Scope here = enter();
  return rms_norm(x, weight, static_cast<real>(options.eps));
}

GroupNorm::GroupNorm(Module* owner, std::string name, GroupNormOptions o)
    : Module(owner, std::move(name)),
      options((require(o.groups > 0 && o.channels > 0 && o.channels % o.groups == 0 && o.eps >= 0,
                       "GroupNorm(", o.groups, ", ", o.channels,
                       "): needs groups that divide the channels and eps >= 0"),
               o)),
      weight(this, "weight", o.affine ? ones({o.channels}) : Tensor()),
      bias(this, "bias", o.affine ? zeros({o.channels}) : Tensor()) {}

Tensor GroupNorm::operator()(const Tensor& x) const {
  const Scope here = enter();
  return group_norm(x, options.groups, weight, bias, static_cast<real>(options.eps));
}

BatchNorm::BatchNorm(Module* owner, std::string name, BatchNormLayerOptions o)
    : Module(owner, std::move(name)),
      options(
          (require(o.channels > 0 && o.eps >= 0 && o.momentum >= 0 && o.momentum <= 1, "BatchNorm(",
                   o.channels, "): needs channels > 0, eps >= 0 and momentum in [0, 1]"),
           o)),
      weight(this, "weight", o.affine ? ones({o.channels}) : Tensor()),
      bias(this, "bias", o.affine ? zeros({o.channels}) : Tensor()),
      running_mean(this, "running_mean", zeros({o.channels})),
      running_var(this, "running_var", ones({o.channels})) {}

Tensor BatchNorm::operator()(const Tensor& x) const {
  const Scope here = enter();
  return batch_norm(x, running_mean, running_var, weight, bias,
                    {.training = is_training(),
                     .momentum = static_cast<real>(options.momentum),
                     .eps = static_cast<real>(options.eps)});
}

}  // namespace xgrad::inline XGRAD_PRECISION
