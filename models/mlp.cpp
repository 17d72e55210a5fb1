// Mlp; see mlp.hpp.
#include <xgrad/models/mlp.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Mlp::Mlp(MlpOptions o) : Module(o.seed), options(std::move(o)) {
  require(options.sizes.size() >= 2, "Mlp: needs at least 2 sizes (input, output), got ",
          options.sizes.size());
  for (std::size_t i = 0; i + 1 < options.sizes.size(); ++i)
    layers.emplace(LinearOptions{.in = options.sizes[i], .out = options.sizes[i + 1]});
}

Tensor Mlp::operator()(Tensor x) const {
  const Scope here = enter();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    x = layers[i](x);
    if (i + 1 < layers.size()) x = options.activation(x);
  }
  return x;
}

}  // namespace xgrad::inline XGRAD_PRECISION
