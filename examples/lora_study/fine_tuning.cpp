// One fine-tuning run, the same for every method but for what is trained and by which steps.
#include <algorithm>
#include <cmath>

#include "study.hpp"
#include "support/progress.hpp"

namespace study {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// Whether to look after `done` of `steps` steps: at the start, after the first, and 16 times more.
bool look_after(std::int64_t done, std::int64_t steps) {
  constexpr std::int64_t parts = 16;
  return done <= 1 || done * parts / steps > (done - 1) * parts / steps;
}

}  // namespace

Weights effective_weights(Gpt& model) {
  lora::merge(model, {.keep_base = true});
  Weights all;
  for (const auto& [name, module] : model.named_modules())
    if (const auto* layer = dynamic_cast<const Linear*>(module))
      all.insert(all.end(), layer->weight.data(), layer->weight.data() + layer->weight.size());
  lora::unmerge(model);
  return all;
}

Run fine_tune(const Task& task, const Settings& settings, const Method& method, double lr,
              std::uint64_t seed) {
  const std::size_t others = memory::stats().current;  // of tensors that are not this run's
  const std::unique_ptr<Gpt> model = task.make_model(seed);
  const Weights start = effective_weights(*model);
  method.prepare(*model, settings, [&](std::size_t number) {
    // Batches that no step sees: numbered from -1 down.
    const Batch batch = task.batch_of(seed, -1 - static_cast<std::int64_t>(number));
    return cross_entropy((*model)(batch.x), batch.y);
  });
  const std::unique_ptr<Optimizer> optimizer = method.optimizer(*model, lr);
  const Schedule factor =
      schedule::cosine({.warmup = std::min<std::int64_t>(10, settings.steps / 10),
                        .steps = settings.steps,
                        .end = 0.1});
  Run run{};
  for (const Tensor& parameter : model->trainable_parameters()) run.trainable += parameter.size();
  const auto look = [&](std::int64_t step) {
    Look& now = run.looks.emplace_back(Look{step, task.held_out_loss(*model), {}});
    if (!std::isfinite(now.loss)) return false;
    now.moved = effective_weights(*model);
    for (std::size_t i = 0; i < start.size(); ++i) now.moved[i] -= start[i];
    return true;
  };
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    if (look_after(step, settings.steps) && !look(step)) break;
    if (step == 1) memory::reset_peak();  // all that a step needs is there after the first
    const double began = examples::steady_seconds();
    const Batch batch = task.batch_of(seed, step);
    {
      Tape tape;
      tape.backward(cross_entropy((*model)(batch.x), batch.y));
    }
    optimizer->set_lr_factor(factor(step));
    optimizer->step();
    optimizer->zero_grad();
    seconds.push_back(examples::steady_seconds() - began);
    if (step == 1) run.peak_bytes = memory::stats().peak - others;
  }
  if (std::isfinite(run.final_loss())) look(settings.steps);
  run.seconds_per_step = median(seconds);
  return run;
}

}  // namespace study
