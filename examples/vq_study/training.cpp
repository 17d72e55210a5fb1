// How an autoencoder is trained and judged, the same for every method; see study.hpp.
#include <algorithm>
#include <cmath>

#include "study.hpp"
#include "support/progress.hpp"

namespace study {
namespace {

/// Rows of x by their numbers.
Tensor rows_of(const Tensor& x, const std::vector<std::int64_t>& numbers) {
  Indices rows = Indices::from_shape({numbers.size()});
  std::copy(numbers.begin(), numbers.end(), rows.begin());
  return index_select(x, 0, rows);
}

Tensor random_batch(const Tensor& x, std::size_t size, Rng rng) {
  std::vector<std::int64_t> numbers(size);
  for (std::int64_t& number : numbers) number = static_cast<std::int64_t>(rng.below(x.size(0)));
  return rows_of(x, numbers);
}

/// Different ones.
Tensor random_rows(const Tensor& x, std::size_t count, Rng rng) {
  std::vector<std::int64_t> numbers = rng.permutation(static_cast<std::int64_t>(x.size(0)));
  numbers.resize(std::min(count, numbers.size()));
  return rows_of(x, numbers);
}

/// Adam on all parameters, the codebook's with a rate of their own.
Adam optimizer_of(const VqVae& model, const Made& made, const Method& method) {
  constexpr double lr = 1e-3;
  ParameterGroup network, codes{.lr = lr * method.codebook_lr};
  for (const auto& [name, parameter] : model.named_parameters())
    if (parameter.requires_grad())
      (made.codebook && name.starts_with("quantizer.") ? codes : network)
          .parameters.push_back(parameter);
  std::vector<ParameterGroup> groups{network};
  if (!codes.parameters.empty()) groups.push_back(codes);
  return Adam(groups, {.lr = lr});
}

}  // namespace

void train(VqVae& model, const Made& made, const Method& method, const Data& data,
           std::uint64_t seed, const Training& how) {
  const Rng rng = Rng(seed).fork("training");
  if (made.codebook) {
    const Pause no_tape;
    made.codebook->initialise(model.encoder(random_rows(data.train, how.first, rng.fork("first"))));
  }
  Adam optimizer = optimizer_of(model, made, method);
  double seconds = 0;
  std::int64_t next_look = 0;
  for (std::int64_t step = 0;; ++step) {
    if (how.look && step == next_look * how.steps / how.looks) {
      model.eval();
      how.look(model, step, seconds);
      model.train();
      while (next_look * how.steps / how.looks <= step) ++next_look;
    }
    if (step == how.steps) return;
    const double start = examples::steady_seconds();
    const Tensor x =
        random_batch(data.train, how.batch, rng.fork(static_cast<std::uint64_t>(step)));
    {
      Tape tape;
      const auto [y, latents] = model(x);
      tape.backward(mse_loss(y, x) / static_cast<real>(data.variance) + latents.loss);
    }
    optimizer.step();
    optimizer.zero_grad();
    seconds += examples::steady_seconds() - start;
  }
}

Row evaluate(VqVae& model, const Made& made, const Data& data) {
  const Pause no_tape;
  const auto [y, latents] = model(data.test);
  const Usage& usage = latents.usage;
  Row row{{"rec", mse_loss(y, data.test).item() / data.variance},
          {"utilization", usage.utilization},
          {"perplexity", usage.perplexity},
          {"qerr", nullptr},
          {"norm_ratio", nullptr},
          {"mean_z", nullptr}};
  if (!made.codebook) return row;
  row["qerr"] = usage.qerr;
  row["norm_ratio"] = usage.norm_ratio;
  row["mean_z"] = mean(norm(model.encoder(data.test), 2, {-1})).item();
  return row;
}

Image image_of(const Tensor& x, std::size_t i) {
  const bool flat = x.ndim() == 2;
  const std::size_t channels = flat ? 1 : x.size(1), count = x.size() / x.size(0) / channels,
                    width = flat ? static_cast<std::size_t>(
                                       std::lround(std::sqrt(static_cast<double>(count))))
                                 : x.size(3);
  Image image{.width = width, .height = count / width};
  for (std::size_t p = 0; p < count; ++p)
    for (std::size_t colour = 0; colour < 3; ++colour) {
      const real value = x.data()[(i * channels + std::min(colour, channels - 1)) * count + p];
      image.rgb.push_back(
          static_cast<std::uint8_t>(std::lround(255 * std::clamp(value, real(0), real(1)))));
    }
  return image;
}

}  // namespace study
