// Activations; see activation.hpp.
#include <xgrad/nn/activation.hpp>

#include <limits>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// min(x, 0), with derivative 1 at 0: what relu leaves of x. Functions here are sums of the two, so
/// an infinity never meets a gradient of 0 on a side that is not taken.
Tensor below_zero(const Tensor& x) { return clamp(x, -std::numeric_limits<real>::infinity(), 0); }

}  // namespace

Tensor leaky_relu(const Tensor& x, real slope) { return relu(x) + slope * below_zero(x); }

Tensor elu(const Tensor& x, real alpha) { return relu(x) + alpha * expm1(below_zero(x)); }

Tensor prelu(const Tensor& x, const Tensor& weight) {
  require<ShapeError>(weight.ndim() == 1, "prelu: needs a weight (1,) or (C,), got shape ",
                      weight.shape());
  const std::size_t channels = weight.size();
  require<ShapeError>(channels == 1 || (x.ndim() >= 2 && x.shape()[1] == channels),
                      "prelu: weight ", weight.shape(), " needs an input (N, ", channels,
                      ", ...), got ", x.shape());
  Shape beside(channels == 1 ? 0 : x.ndim() - 1, 1);  // () or (C, 1, ..., 1)
  if (channels != 1) beside[0] = channels;
  return relu(x) + reshape(weight, beside) * below_zero(x);
}

PRelu::PRelu(Module* owner, std::string name, PReluOptions o)
    : Module(owner, std::move(name)),
      options((require(o.channels > 0, "PRelu: needs channels > 0, got 0"), o)),
      weight(this, "weight", full({o.channels}, static_cast<real>(o.init))) {}

Tensor PRelu::operator()(const Tensor& x) const {
  const Scope here = enter();
  return prelu(x, weight);
}

}  // namespace xgrad::inline XGRAD_PRECISION
