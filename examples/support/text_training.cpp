// Batches of text and a plain training run; see text_training.hpp.
#include "text_training.hpp"

#include <algorithm>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/clip.hpp>
#include <xgrad/optim/schedule.hpp>

#include "progress.hpp"

namespace examples {

using namespace xgrad;

Batch windows(std::span<const std::int64_t> text, std::span<const std::size_t> starts,
              std::size_t length) {
  Batch batch{Indices::from_shape({starts.size(), length}),
              Indices::from_shape({starts.size(), length})};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    std::copy_n(text.data() + starts[i], length, batch.x.data() + i * length);
    std::copy_n(text.data() + starts[i] + 1, length, batch.y.data() + i * length);
  }
  return batch;
}

Batch spread_windows(std::span<const std::int64_t> text, std::size_t count, std::size_t length) {
  const std::size_t last = text.size() - length - 1;
  std::vector<std::size_t> starts(count);
  for (std::size_t i = 0; i < count; ++i)
    starts[i] = i * last / std::max<std::size_t>(1, count - 1);
  return windows(text, starts, length);
}

Batch random_windows(std::span<const std::int64_t> text, std::size_t count, std::size_t length,
                     std::uint64_t seed, std::int64_t step) {
  Rng rng = Rng(seed).fork("batch").fork(static_cast<std::uint64_t>(step));
  std::vector<std::size_t> starts(count);
  for (std::size_t& start : starts) start = rng.below(text.size() - length);
  return windows(text, starts, length);
}

std::vector<ParameterGroup> decaying_matrices(const std::vector<Tensor>& parameters) {
  ParameterGroup matrices, vectors{.weight_decay = 0};
  for (const Tensor& parameter : parameters)
    (parameter.ndim() >= 2 ? matrices : vectors).parameters.push_back(parameter);
  return {matrices, vectors};
}

double train(const Gpt& model, const Training& how,
             const std::function<Batch(std::int64_t step)>& batch_of) {
  const double start = steady_seconds();
  AdamW optimizer(decaying_matrices(model.parameters()),
                  {.lr = how.lr, .betas = {0.9, 0.99}, .weight_decay = how.weight_decay});
  const Schedule factor = schedule::cosine(
      {.warmup = std::min<std::int64_t>(20, how.steps / 10), .steps = how.steps, .end = 0.1});
  for (std::int64_t step = 0; step < how.steps; ++step) {
    const Batch batch = batch_of(step);
    Tape tape;
    tape.backward(cross_entropy(model(batch.x), batch.y));
    clip_grad_norm(model.parameters(), 1);
    optimizer.set_lr_factor(factor(step));
    optimizer.step();
    optimizer.zero_grad();
  }
  return steady_seconds() - start;
}

}  // namespace examples
