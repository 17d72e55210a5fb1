// VqVae: shapes, codes that say all that the decoder saw, gradients, training, state, errors.
#include <xgrad/models/vqvae.hpp>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/optim/adam.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

std::shared_ptr<Quantizer> plain(std::size_t codes = 16, std::size_t dim = 3) {
  return std::make_shared<VectorQuantizer>(VectorQuantizerOptions{
      .codebook = std::make_shared<Codebook>(CodebookOptions{.codes = codes, .dim = dim})});
}

struct Kind {
  std::string name;
  std::function<std::shared_ptr<Quantizer>()> make;
};

/// One of each kind of quantizer and of codebook, of width 3.
std::vector<Kind> kinds() {
  const auto with = [](std::shared_ptr<CodebookBase> codebook, double codebook_weight = 1) {
    return std::make_shared<VectorQuantizer>(
        VectorQuantizerOptions{.codebook = std::move(codebook),
                               .estimator = std::make_shared<Rotation>(),
                               .codebook_weight = codebook_weight});
  };
  return {
      {"Codebook", [] { return plain(); }},
      {"EmaCodebook",
       [=] {
         return with(std::make_shared<EmaCodebook>(
                         EmaCodebookOptions{.codes = 16, .dim = 3, .restart_below = 0.2}),
                     0);
       }},
      {"SimCodebook",
       [=] {
         return with(std::make_shared<SimCodebook>(SimCodebookOptions{.codes = 16, .dim = 3}));
       }},
      {"DiagonalCodebook",
       [=] {
         return with(
             std::make_shared<DiagonalCodebook>(DiagonalCodebookOptions{.codes = 16, .dim = 3}));
       }},
      {"Fsq",
       [] {
         return std::make_shared<Fsq>(FsqOptions{.levels = {3, 4, 5}});
       }},
      {"Lfq", [] { return std::make_shared<Lfq>(LfqOptions{.dim = 3, .sharpness = 1}); }},
      {"ResidualVq",
       [] {
         const auto stage = [] {
           return std::make_shared<Codebook>(CodebookOptions{.codes = 8, .dim = 3});
         };
         return std::make_shared<ResidualVq>(ResidualVqOptions{.codebooks = {stage(), stage()}});
       }},
  };
}

MlpVqVaeOptions mlp(std::shared_ptr<Quantizer> quantizer) {
  return {.features = 10, .hidden = 12, .tokens = 2, .quantizer = std::move(quantizer), .seed = 1};
}

Tensor images(std::size_t count, std::size_t channels, std::size_t height, std::size_t width) {
  Rng rng(5);
  return randn({count, channels, height, width}, rng);
}

/// The loss of a training step, with gradients left in the parameters.
real step(VqVae& model, const Tensor& x) {
  Tape tape;
  const auto [y, latents] = model(x);
  const Tensor loss = mse_loss(y, x) + latents.loss;
  tape.backward(loss);
  return loss.item();
}

}  // namespace

TEST_CASE("an MlpVqVae makes tokens of vectors and vectors of tokens", "[models][vqvae]") {
  MlpVqVae model(mlp(plain()));
  Rng rng(2);
  const Tensor x = randn({5, 10}, rng);
  const auto [y, latents] = model(x);
  CHECK(y.shape() == Shape{5, 10});
  CHECK(latents.quantized.shape() == Shape{5, 2, 3});
  CHECK(latents.codes.shape() == std::vector<std::size_t>{5, 2});
  CHECK((model.encode(x) == latents.codes));
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.named_parameters()) names.push_back(name);
  CHECK(names == std::vector<std::string>{"encoder.1.weight", "encoder.1.bias", "encoder.3.weight",
                                          "encoder.3.bias", "encoder.5.weight", "encoder.5.bias",
                                          "decoder.1.weight", "decoder.1.bias", "decoder.3.weight",
                                          "decoder.3.bias", "decoder.5.weight", "decoder.5.bias",
                                          "quantizer.codebook.weight"});
}

TEST_CASE("a ConvVqVae makes one code of 4 x 4 pixels, on images of any such size",
          "[models][vqvae]") {
  ConvVqVae model({.channels = 2, .hidden = 6, .quantizer = plain(), .seed = 1});
  const Tensor x = images(3, 2, 8, 12);
  const auto [y, latents] = model(x);
  CHECK(y.shape() == Shape{3, 2, 8, 12});
  CHECK(latents.quantized.shape() == Shape{3, 2, 3, 3});
  CHECK(latents.codes.shape() == std::vector<std::size_t>{3, 2, 3});
  CHECK(model(images(1, 2, 16, 4)).x.shape() == Shape{1, 2, 16, 4});
}

TEST_CASE("a ConvVqVae quantizes the channels of one place, not a run of pixels",
          "[models][vqvae]") {
  const auto quantizer = plain();
  const ConvVqVae model({.channels = 1, .hidden = 6, .quantizer = quantizer, .seed = 1});
  const Tensor x = images(2, 1, 8, 12);
  const Indices codes = model.encode(x);
  const Tensor z = model.encoder(x);  // (2, 2, 3, 3): image, row, column, channel
  for (std::size_t b = 0; b < 2; ++b)
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t j = 0; j < 3; ++j) {
        std::vector<real> vector;
        for (std::size_t c = 0; c < 3; ++c) vector.push_back(z.array()(b, i, j, c));
        CHECK(quantizer->encode(tensor(vector, {1, 3}))(0) == codes(b, i, j));
      }
}

TEST_CASE("codes say all that a VqVae's decoder saw, with every quantizer", "[models][vqvae]") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    MlpVqVae flat(mlp(kind.make()));
    ConvVqVae square({.channels = 1, .hidden = 6, .quantizer = kind.make(), .seed = 1});
    Rng rng(2);
    const std::vector<std::pair<VqVae*, Tensor>> pairs{{&flat, randn({40, 10}, rng)},
                                                       {&square, images(10, 1, 8, 8)}};
    for (const auto& [model, x] : pairs) {
      (*model)(x);  // begins where its first batch says
      const Indices codes = model->encode(x);
      const auto [in_training, chosen] = (*model)(x);
      CHECK((chosen.codes == codes));
      CHECK(chosen.usage.utilization > 0);
      model->eval();
      const auto [y, latents] = (*model)(x);
      CHECK((model->encode(x) == latents.codes));
      CHECK(same(model->decode(latents.codes), y));
      CHECK(latents.loss.item() == 0);
    }
  }
}

TEST_CASE("training makes a VqVae reconstruct, with every quantizer", "[models][vqvae]") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    MlpVqVae model(mlp(kind.make()));
    Rng rng(2);
    const Tensor factors = randn({64, 2}, rng), x = matmul(factors, randn({2, 10}, rng));
    Adam optimizer(model.trainable_parameters(), {.lr = 1e-2});
    const auto error = [&] {
      model.eval();
      const real now = mse_loss(model(x).x, x).item();
      model.train();
      return now;
    };
    step(model, x);
    const real first = error();
    for (int i = 0; i < 200; ++i) {
      step(model, x);
      optimizer.step();
      optimizer.zero_grad();
    }
    CHECK(error() < real(0.6) * first);
  }
}

TEST_CASE("a VqVae's gradients are those of its parts", "[models][vqvae][gradcheck]") {
  // The decoder's loss is a function of its parameters as any. The encoder's, with the gradient
  // passed straight through, is <z, g> + w mean |z - q|^2 with the g and q of this step.
  if (sizeof(real) < 8) {
    SUCCEED("in double only");
    return;
  }
  const auto quantizer = plain();
  MlpVqVae model(mlp(quantizer));
  Rng rng(2);
  const Tensor x = randn({7, 10}, rng);
  model(x);
  step(model, x);
  const Tensor q = quantizer->decode(model.encode(x));
  Tensor g;
  {
    Tensor leaf = q.clone().requires_grad_();
    Tape tape;
    g = tape.gradient(mse_loss(model.decoder(leaf), x), leaf);
  }
  const auto decoder_loss = [&] { return mse_loss(model.decoder(q), x); };
  const auto encoder_loss = [&] {
    const Tensor z = model.encoder(x);
    return sum(z * g) + real(0.25) * mean(square(z - q));
  };
  const std::function<Tensor()> both[] = {encoder_loss, decoder_loss};
  const Sequential* parts[] = {&model.encoder, &model.decoder};
  for (int part = 0; part < 2; ++part)
    for (Tensor parameter : parts[part]->parameters())
      for (const std::size_t i : {std::size_t{0}, parameter.size() / 2, parameter.size() - 1}) {
        real& weight = parameter.mutable_data()[i];
        const real middle = weight, h = real(6e-6);
        weight = middle + h;
        const real up = both[part]().item();
        weight = middle - h;
        const real down = both[part]().item();
        weight = middle;
        CHECK_THAT(parameter.grad().data()[i], WithinRel((up - down) / (2 * h), real(1e-6)) ||
                                                   WithinAbs((up - down) / (2 * h), real(1e-9)));
      }
}

TEST_CASE("a VqVae's state goes into another one, quantizer and all", "[models][vqvae]") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    MlpVqVae model(mlp(kind.make()));
    Rng rng(2);
    const Tensor x = randn({40, 10}, rng);
    Adam optimizer(model.trainable_parameters(), {.lr = 1e-2});
    for (int i = 0; i < 3; ++i) {
      step(model, x);
      optimizer.step();
      optimizer.zero_grad();
    }
    MlpVqVaeOptions options = mlp(kind.make());
    options.seed = 9;
    MlpVqVae other(options);
    other.load_state_dict(model.state_dict());
    model.eval();
    other.eval();
    CHECK((other.encode(x) == model.encode(x)));
    CHECK(same(other(x).x, model(x).x));
  }
}

TEST_CASE("encoding in training changes nothing", "[models][vqvae]") {
  for (const Kind& kind : kinds()) {
    CAPTURE(kind.name);
    MlpVqVae model(mlp(kind.make()));
    Rng rng(2);
    const Tensor x = randn({40, 10}, rng);
    StateDict before;
    for (const auto& [name, value] : model.state_dict()) before.emplace_back(name, value.clone());
    Tape tape;
    model.encode(x);
    CHECK(tape.size() == 0);
    const StateDict after = model.state_dict();
    for (std::size_t i = 0; i < after.size(); ++i) CHECK(same(after[i].second, before[i].second));
  }
}

TEST_CASE("a VqVae says which shape it needs", "[models][vqvae]") {
  CHECK(error_of([] { MlpVqVae model({.features = 3, .quantizer = nullptr}); }) ==
        "VqVae: needs a quantizer");
  CHECK(error_of([] { MlpVqVae model({.features = 3, .hidden = 0, .quantizer = plain()}); }) ==
        "MlpVqVae: features, hidden and tokens must be at least 1, got 3, 0 and 8");
  CHECK(error_of([] { ConvVqVae model({.channels = 0, .quantizer = plain()}); }) ==
        "ConvVqVae: channels and hidden must be at least 1, got 0 and 64");
  MlpVqVae flat(mlp(plain()));
  CHECK(error_of<ShapeError>([&] {
          flat(zeros({2, 5, 10}));
        }) == "MlpVqVae: needs x (B, 10), got (2, 5, 10)");
  ConvVqVae square({.channels = 3, .hidden = 4, .quantizer = plain()});
  CHECK(error_of<ShapeError>([&] {
          square.encode(zeros({2, 3, 8, 6}));
        }) == "ConvVqVae: needs x (B, 3, H, W) with H and W multiples of 4, got (2, 3, 8, 6)");
  CHECK(error_of<ShapeError>([&] {
          square(zeros({2, 1, 8, 8}));
        }) == "ConvVqVae: needs x (B, 3, H, W) with H and W multiples of 4, got (2, 1, 8, 8)");
}
