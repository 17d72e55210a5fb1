// What the parts of this study share; see study.hpp.
#include "study.hpp"

#include <algorithm>

#include "support/progress.hpp"

namespace study {

const std::vector<std::string>& schemes() {
  static const std::vector<std::string> names{"nope", "learned",  "sinusoidal",
                                              "rope", "relative", "alibi"};
  return names;
}

std::shared_ptr<Position> make_scheme(const std::string& name, const Sizes& sizes) {
  if (name == "learned")
    return std::make_shared<LearnedPosition>(
        LearnedPositionOptions{.length = sizes.length, .dim = sizes.dim, .wrap = true});
  return make_position(name, {.heads = sizes.heads});
}

Batch windows(const std::vector<std::int64_t>& text, std::size_t count, std::size_t length) {
  Batch batch{Indices::from_shape({count, length}), Indices::from_shape({count, length})};
  const std::size_t last = text.size() - length - 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t start = i * last / std::max<std::size_t>(1, count - 1);
    std::copy_n(text.data() + start, length, batch.x.data() + i * length);
    std::copy_n(text.data() + start + 1, length, batch.y.data() + i * length);
  }
  return batch;
}

double train(const Gpt& model, const Training& how,
             const std::function<Batch(std::int64_t step)>& batch_of) {
  const double start = examples::steady_seconds();
  ParameterGroup matrices, vectors{.weight_decay = 0};
  for (const Tensor& parameter : model.parameters())
    (parameter.ndim() >= 2 ? matrices : vectors).parameters.push_back(parameter);
  AdamW optimizer({matrices, vectors},
                  {.lr = how.lr, .betas = {0.9, 0.99}, .weight_decay = how.weight_decay});
  const Schedule factor = schedule::cosine(
      {.warmup = std::min<std::int64_t>(20, how.steps / 10), .steps = how.steps, .end = 0.1});
  for (std::int64_t step = 0; step < how.steps; ++step) {
    const Batch batch = batch_of(step);
    Tape tape;
    tape.backward(cross_entropy(model(batch.x), batch.y, {.ignore_index = ignored}));
    clip_grad_norm(model.parameters(), 1);
    optimizer.set_lr_factor(factor(step));
    optimizer.step();
    optimizer.zero_grad();
  }
  return examples::steady_seconds() - start;
}

}  // namespace study
