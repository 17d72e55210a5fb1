// Linear: the affine map. What may be attached to it (LoRA) and quantised relatives are not here.
#pragma once

#include <xgrad/nn/adaptable.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct LinearOptions {
  std::size_t in, out;
  bool bias = true;
};

/// y = x W^T + b. x (..., in) -> (..., out); weight (out, in), bias (out,).
/// Initial values are uniform in ±1/sqrt(in), PyTorch's default.
struct Linear : Adaptable {
  explicit Linear(LinearOptions options) : Linear(nullptr, "", options) {}
  Linear(Module* owner, std::string name, LinearOptions options);
  Tensor operator()(const Tensor& x) const;

  std::size_t inputs() const override { return options.in; }
  std::size_t outputs() const override { return options.out; }
  Tensor stored_weight() const override { return weight; }
  Tensor stored_bias() const override { return bias; }
  bool looks_up() const override { return false; }

  const LinearOptions options;
  Parameter weight, bias;

 protected:
  std::string describe() const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
