// LayerNorm and RMSNorm; see norm.hpp.
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
  return layer_norm(x, weight, bias, static_cast<real>(options.eps));
}

RMSNorm::RMSNorm(Module* owner, std::string name, RMSNormOptions o)
    : Module(owner, std::move(name)),
      options((require(o.dim > 0 && o.eps >= 0, "RMSNorm(", o.dim, "): needs dim > 0 and eps >= 0"),
               o)),
      weight(this, "weight", ones({o.dim})) {}

Tensor RMSNorm::operator()(const Tensor& x) const {
  return rms_norm(x, weight, static_cast<real>(options.eps));
}

}  // namespace xgrad::inline XGRAD_PRECISION
