// Mlp: the multilayer perceptron.
#pragma once

#include <xgrad/nn/linear.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct MlpOptions {
  std::vector<std::size_t> sizes;  ///< of input, hidden layers and output: at least two
  std::function<Tensor(const Tensor&)> activation = [](const Tensor& x) { return relu(x); };
  std::uint64_t seed = 0;
};

/// Linear layers with an activation between them: (..., sizes.front()) -> (..., sizes.back()).
struct Mlp : Module {
  explicit Mlp(MlpOptions options);
  Tensor operator()(Tensor x) const;

  const MlpOptions options;
  ModuleList<Linear> layers{this, "layers"};
};

}  // namespace xgrad::inline XGRAD_PRECISION
