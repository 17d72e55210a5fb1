// VqVae; see vqvae.hpp.
#include <xgrad/models/vqvae.hpp>

#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

std::int64_t integer(std::size_t size) { return static_cast<std::int64_t>(size); }

Tensor activation(const Tensor& x) { return gelu(x); }

/// Three Linear layers with GELU between them.
void add_layers(Sequential& to, std::size_t in, std::size_t hidden, std::size_t out) {
  to.emplace<Linear>(LinearOptions{.in = in, .out = hidden});
  to.add(activation);
  to.emplace<Linear>(LinearOptions{.in = hidden, .out = hidden});
  to.add(activation);
  to.emplace<Linear>(LinearOptions{.in = hidden, .out = out});
}

}  // namespace

VqVae::VqVae(std::shared_ptr<Quantizer> q, std::uint64_t seed)
    : Module(seed), quantizer(std::move(q)) {
  require(quantizer != nullptr, "VqVae: needs a quantizer");
  adopt("quantizer", *quantizer);
}

Reconstruction VqVae::operator()(const Tensor& x) {
  const Scope here = enter();
  Quantized latents = (*quantizer)(encoder(x));
  return {decoder(latents.quantized), std::move(latents)};
}

Indices VqVae::encode(const Tensor& x) const {
  const Scope here = enter();
  const Pause no_tape;
  return quantizer->encode(encoder(x));
}

Tensor VqVae::decode(const Indices& codes) const {
  const Scope here = enter();
  return decoder(quantizer->decode(codes));
}

MlpVqVae::MlpVqVae(MlpVqVaeOptions o) : VqVae(o.quantizer, o.seed), options(std::move(o)) {
  const std::size_t features = options.features, hidden = options.hidden, tokens = options.tokens,
                    d = quantizer->dim();
  require(features > 0 && hidden > 0 && tokens > 0,
          "MlpVqVae: features, hidden and tokens must be at least 1, got ", features, ", ", hidden,
          " and ", tokens);
  encoder.add([features](const Tensor& x) {
    require<ShapeError>(x.ndim() == 2 && x.size(1) == features, "MlpVqVae: needs x (B, ", features,
                        "), got ", x.shape());
    return x;
  });
  add_layers(encoder, features, hidden, tokens * d);
  encoder.add([shape = Ints{-1, integer(tokens), integer(d)}](const Tensor& z) {
    return reshape(z, shape);  // (B, tokens, d)
  });
  decoder.add([](const Tensor& z) { return flatten(z, 1); });
  add_layers(decoder, tokens * d, hidden, features);
}

ConvVqVae::ConvVqVae(ConvVqVaeOptions o) : VqVae(o.quantizer, o.seed), options(std::move(o)) {
  const std::size_t channels = options.channels, hidden = options.hidden, d = quantizer->dim();
  require(channels > 0 && hidden > 0, "ConvVqVae: channels and hidden must be at least 1, got ",
          channels, " and ", hidden);
  encoder.add([channels](const Tensor& x) {
    require<ShapeError>(
        x.ndim() == 4 && x.size(1) == channels && x.size(2) % 4 == 0 && x.size(3) % 4 == 0,
        "ConvVqVae: needs x (B, ", channels, ", H, W) with H and W multiples of 4, got ",
        x.shape());
    return x;
  });
  const auto halve = [](std::size_t in, std::size_t out) {
    return ConvLayerOptions{.in = in, .out = out, .kernel = 4, .stride = 2, .padding = 1};
  };
  const auto keep = [](std::size_t in, std::size_t out) {
    return ConvLayerOptions{.in = in, .out = out, .kernel = 3, .padding = 1};
  };
  const auto twice = [](std::size_t in, std::size_t out) {
    return ConvTransposeLayerOptions{.in = in, .out = out, .kernel = 4, .stride = 2, .padding = 1};
  };
  encoder.emplace<Conv2d>(halve(channels, hidden));
  encoder.add(activation);
  encoder.emplace<Conv2d>(halve(hidden, hidden));
  encoder.add(activation);
  encoder.emplace<Conv2d>(keep(hidden, d));
  // A code is a vector of channels at one place. Read as (-1, d) without this, it would be a run
  // of pixels of one channel.
  encoder.add([](const Tensor& z) { return permute(z, {0, 2, 3, 1}); });  // (B, H/4, W/4, d)
  decoder.add([](const Tensor& z) { return permute(z, {0, 3, 1, 2}); });
  decoder.emplace<Conv2d>(keep(d, hidden));
  decoder.add(activation);
  decoder.emplace<ConvTranspose2d>(twice(hidden, hidden));
  decoder.add(activation);
  decoder.emplace<ConvTranspose2d>(twice(hidden, channels));
}

}  // namespace xgrad::inline XGRAD_PRECISION
