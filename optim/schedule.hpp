// Schedules: how the learning rate changes over a training run, as plain functions of the step.
// They know no optimizer; set_lr_factor takes what they give.
#pragma once

#include <cstdint>
#include <functional>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// The factor, in [0, 1], by which learning rates are multiplied at a step; steps count from 0.
///
///     const Schedule factor = schedule::cosine({.warmup = 100, .steps = 5000, .end = 0.1});
///     for (std::int64_t step = 0; step < 5000; ++step) {
///       optimizer.set_lr_factor(factor(step));
///
/// A schedule throws std::invalid_argument for a negative step.
using Schedule = std::function<double(std::int64_t step)>;

/// All schedules begin with a linear warm-up, if asked to: (s + 1) / (warmup + 1) for s < warmup,
/// which is never 0 and would reach 1 at s = warmup, where the schedule proper begins (nanoGPT's
/// form). Settings outside their ranges throw std::invalid_argument.
namespace schedule {

struct ConstantOptions {
  std::int64_t warmup = 0;  ///< steps, at least 0
};
/// 1.
Schedule constant(ConstantOptions options = {});

struct StepDecayOptions {
  std::int64_t warmup = 0;
  std::int64_t every = 1;  ///< steps between two drops, at least 1
  double gamma = 0.1;      ///< factor of each drop, in [0, 1]
};
/// gamma^k after k times `every` steps, counted from the end of the warm-up.
Schedule step_decay(StepDecayOptions options);

struct DecayOptions {
  std::int64_t warmup = 0;
  std::int64_t steps = 0;  ///< length of the run, warm-up included: above `warmup`
  double end = 0;          ///< factor at `steps` and ever after, in [0, 1]
};
/// A straight line from 1 to `end`: 1 - (1 - end) x, where x = (s - warmup) / (steps - warmup).
Schedule linear(DecayOptions options);
/// Half a cosine: end + (1 - end) (1 + cos(pi x)) / 2 with the same x. As Loshchilov & Hutter 2017
/// (1608.03983), without restarts.
Schedule cosine(DecayOptions options);

}  // namespace schedule
}  // namespace xgrad::inline XGRAD_PRECISION
