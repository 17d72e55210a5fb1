// Normalisation, by rows: LayerNorm and RMSNorm; by channels: GroupNorm and BatchNorm.
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

struct GroupNormOptions {
  std::size_t groups, channels;
  double eps = 1e-5;
  bool affine = true;  ///< learn a weight and a bias per channel
};

/// Each sample's groups of adjacent channels to mean 0 and variance 1, then * weight + bias.
/// x (N, channels, ...); weight (channels,) ones, bias (channels,) zeros.
struct GroupNorm : Module {
  explicit GroupNorm(GroupNormOptions options) : GroupNorm(nullptr, "", options) {}
  GroupNorm(Module* owner, std::string name, GroupNormOptions options);
  Tensor operator()(const Tensor& x) const;

  const GroupNormOptions options;
  Parameter weight, bias;

 protected:
  std::string describe() const override {
    return concat_text(options.groups, " groups of ", options.channels);
  }
};

struct BatchNormLayerOptions {
  std::size_t channels;
  double momentum = 0.1;  ///< how far the running statistics move towards each batch's
  double eps = 1e-5;
  bool affine = true;  ///< learn a weight and a bias per channel
};

/// Each channel to mean 0 and variance 1, over the batch while training and by running averages in
/// evaluation, then * weight + bias. x (N, channels) or (N, channels, ...), so PyTorch's
/// BatchNorm1d, 2d and 3d at once, with their state except num_batches_tracked, which nothing
/// reads: drop that key from files of theirs.
struct BatchNorm : Module {
  explicit BatchNorm(BatchNormLayerOptions options) : BatchNorm(nullptr, "", options) {}
  BatchNorm(Module* owner, std::string name, BatchNormLayerOptions options);
  /// While training, moves running_mean and running_var.
  Tensor operator()(const Tensor& x) const;

  const BatchNormLayerOptions options;
  Parameter weight, bias;                 // (channels,), ones and zeros
  StateBuffer running_mean, running_var;  // (channels,), zeros and ones

 protected:
  std::string describe() const override { return std::to_string(options.channels); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
