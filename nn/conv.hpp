// Convolution layers over sequences and images, and their transposes. The sums themselves are
// core/ops/conv.cpp.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Kernel, stride, padding and dilation: one number, or in two dimensions {height, width}.
struct ConvLayerOptions {
  std::size_t in, out;  ///< channels
  Ints kernel;
  Ints stride = 1, padding = 0, dilation = 1;
  std::size_t groups = 1;
  bool bias = true;
};
struct ConvTransposeLayerOptions {
  std::size_t in, out;  ///< channels
  Ints kernel;
  Ints stride = 1, padding = 0, output_padding = 0;
  std::size_t groups = 1;
  bool bias = true;
  Ints dilation = 1;
};

/// What the four layers below have in common: a weight over a window, and a bias. Initial values
/// are uniform in ±1/sqrt(weight's second size times the kernel's), PyTorch's default.
template <class Options>
struct ConvLayer : Module {
  ConvLayer(Module* owner, std::string name, const char* type, std::size_t rank, Options options);

  const Options options;
  Parameter weight, bias;

 protected:
  std::string describe() const override;
};

/// conv1d: x (N, in, L) -> (N, out, L'); weight (out, in/groups, k), bias (out,).
struct Conv1d : ConvLayer<ConvLayerOptions> {
  explicit Conv1d(ConvLayerOptions options) : Conv1d(nullptr, "", std::move(options)) {}
  Conv1d(Module* owner, std::string name, ConvLayerOptions options)
      : ConvLayer(owner, std::move(name), "Conv1d", 1, std::move(options)) {}
  Tensor operator()(const Tensor& x) const;
};

/// conv2d: x (N, in, H, W) -> (N, out, H', W'); weight (out, in/groups, kH, kW), bias (out,).
struct Conv2d : ConvLayer<ConvLayerOptions> {
  explicit Conv2d(ConvLayerOptions options) : Conv2d(nullptr, "", std::move(options)) {}
  Conv2d(Module* owner, std::string name, ConvLayerOptions options)
      : ConvLayer(owner, std::move(name), "Conv2d", 2, std::move(options)) {}
  Tensor operator()(const Tensor& x) const;
};

/// conv_transpose1d: x (N, in, L) -> (N, out, L'); weight (in, out/groups, k), bias (out,).
struct ConvTranspose1d : ConvLayer<ConvTransposeLayerOptions> {
  explicit ConvTranspose1d(ConvTransposeLayerOptions options)
      : ConvTranspose1d(nullptr, "", std::move(options)) {}
  ConvTranspose1d(Module* owner, std::string name, ConvTransposeLayerOptions options)
      : ConvLayer(owner, std::move(name), "ConvTranspose1d", 1, std::move(options)) {}
  Tensor operator()(const Tensor& x) const;
};

/// conv_transpose2d: x (N, in, H, W) -> (N, out, H', W'); weight (in, out/groups, kH, kW).
struct ConvTranspose2d : ConvLayer<ConvTransposeLayerOptions> {
  explicit ConvTranspose2d(ConvTransposeLayerOptions options)
      : ConvTranspose2d(nullptr, "", std::move(options)) {}
  ConvTranspose2d(Module* owner, std::string name, ConvTransposeLayerOptions options)
      : ConvLayer(owner, std::move(name), "ConvTranspose2d", 2, std::move(options)) {}
  Tensor operator()(const Tensor& x) const;
};

}  // namespace xgrad::inline XGRAD_PRECISION
