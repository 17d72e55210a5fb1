// Activations with a setting, and the one that learns it. Those without are in core/ops.hpp.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// x where x > 0, else slope x. Maas, Hannun & Ng 2013.
Tensor leaky_relu(const Tensor& x, real slope = real(0.01));
/// x where x > 0, else alpha (e^x - 1). Clevert, Unterthiner & Hochreiter 2016 (1511.07289).
Tensor elu(const Tensor& x, real alpha = 1);
/// leaky_relu whose slopes are numbers to learn: weight (1,) for all of x, of any shape; or (C,),
/// one for each channel of x (N, C, ...). The derivative at 0 is the slope, as in PyTorch.
/// He et al. 2015 (1502.01852).
Tensor prelu(const Tensor& x, const Tensor& weight);

struct PReluOptions {
  std::size_t channels = 1;  ///< slopes: one for all, or one for each channel
  double init = 0.25;        ///< of each slope
};

/// prelu: x (...), or (N, channels, ...), to the same shape; weight (channels,). Weight decay pulls
/// the slopes to 0; He et al. use none.
struct PRelu : Module {
  explicit PRelu(PReluOptions options = {}) : PRelu(nullptr, "", options) {}
  PRelu(Module* owner, std::string name, PReluOptions options = {});
  Tensor operator()(const Tensor& x) const;

  const PReluOptions options;
  Parameter weight;

 protected:
  std::string describe() const override { return std::to_string(options.channels); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
