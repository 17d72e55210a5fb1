// VqVae: autoencoders whose latents are codes, with any quantizer. How a quantizer chooses codes,
// and what gradient it gives, is nn/vq.hpp's.
#pragma once

#include <xgrad/nn/conv.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/vq.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// What an autoencoder makes of x: x again, and the codes that it had to go through.
struct Reconstruction {
  Tensor x;
  Quantized latents;  ///< its loss is to be added to that of x
};

/// Encoder, quantizer, decoder. van den Oord, Vinyals & Kavukcuoglu 2017 (1711.00937).
///
///     const auto [y, latents] = model(x);
///     tape.backward(mse_loss(y, x) + latents.loss);
///
/// `seed` fixes the initial values of encoder and decoder; the quantizer, which exists already, has
/// its own. A model of your own derives from this and fills `encoder`, which must end with the
/// latents' vectors along the last axis, (B, ..., d), and `decoder`, which starts from there.
struct VqVae : Module {
  /// Throws std::invalid_argument without a quantizer.
  VqVae(std::shared_ptr<Quantizer> quantizer, std::uint64_t seed);
  Reconstruction operator()(const Tensor& x);
  /// The codes of x, (B, ...): the latents' shape without the last axis. Records nothing and
  /// changes nothing, in training either.
  Indices encode(const Tensor& x) const;
  /// What operator() reconstructs from latents with these codes, to the last bit. Throws what the
  /// quantizer throws for codes that it does not have.
  Tensor decode(const Indices& codes) const;

  Sequential encoder{this, "encoder"};
  const std::shared_ptr<Quantizer> quantizer;
  Sequential decoder{this, "decoder"};
};

struct MlpVqVaeOptions {
  std::size_t features;      ///< of x
  std::size_t hidden = 256;  ///< width of the two layers in the encoder, and in the decoder
  std::size_t tokens = 8;    ///< latents of each x, of the quantizer's width d
  std::shared_ptr<Quantizer> quantizer;
  std::uint64_t seed = 0;
};

/// x (B, features) through features -> hidden -> hidden -> tokens d with GELU between them, and
/// back in mirror image: latents (B, tokens, d).
struct MlpVqVae : VqVae {
  explicit MlpVqVae(MlpVqVaeOptions options);
  const MlpVqVaeOptions options;
};

struct ConvVqVaeOptions {
  std::size_t channels;     ///< of x
  std::size_t hidden = 64;  ///< channels of the layers between
  std::shared_ptr<Quantizer> quantizer;
  std::uint64_t seed = 0;
};

/// Images x (B, channels, H, W), H and W multiples of 4: two convolutions of stride 2 and one of
/// stride 1, with GELU between them, and back by transposed ones. One latent for each 4 x 4
/// pixels; they lie channel-last, (B, H/4, W/4, d), as quantizers want them.
struct ConvVqVae : VqVae {
  explicit ConvVqVae(ConvVqVaeOptions options);
  const ConvVqVaeOptions options;
};

}  // namespace xgrad::inline XGRAD_PRECISION
