// Linear: the affine map. Its adapters (LoRA) and quantised relatives are not here.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct LinearOptions {
  std::size_t in, out;
  bool bias = true;
};

/// y = x W^T + b. x (..., in) -> (..., out); weight (out, in), bias (out,).
/// Initial values are uniform in ±1/sqrt(in), PyTorch's default.
struct Linear : Module {
  explicit Linear(LinearOptions options) : Linear(nullptr, "", options) {}
  Linear(Module* owner, std::string name, LinearOptions options);
  Tensor operator()(const Tensor& x) const;

  const LinearOptions options;
  Parameter weight, bias;

 protected:
  std::string describe() const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
