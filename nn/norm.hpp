// Normalisation over the last axis: LayerNorm and RMSNorm.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct LayerNormOptions {
  std::size_t dim;
  double eps = 1e-5;
  bool bias = true;
};

/// (x - mean)/sqrt(var + eps) * weight + bias over the last axis. x (..., dim); weight (dim,) ones,
/// bias (dim,) zeros.
struct LayerNorm : Module {
  explicit LayerNorm(LayerNormOptions options) : LayerNorm(nullptr, "", options) {}
  LayerNorm(Module* owner, std::string name, LayerNormOptions options);
  Tensor operator()(const Tensor& x) const;

  const LayerNormOptions options;
  Parameter weight, bias;

 protected:
  std::string describe() const override { return std::to_string(options.dim); }
};

struct RMSNormOptions {
  std::size_t dim;
  double eps = 1e-6;
};

/// x/sqrt(mean(x^2) + eps) * weight over the last axis. x (..., dim); weight (dim,) ones.
struct RMSNorm : Module {
  explicit RMSNorm(RMSNormOptions options) : RMSNorm(nullptr, "", options) {}
  RMSNorm(Module* owner, std::string name, RMSNormOptions options);
  Tensor operator()(const Tensor& x) const;

  const RMSNormOptions options;
  Parameter weight;

 protected:
  std::string describe() const override { return std::to_string(options.dim); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
