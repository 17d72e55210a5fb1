// Schedules; see schedule.hpp.
#include <xgrad/optim/schedule.hpp>

#include <cmath>
#include <numbers>
#include <utility>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION::schedule {
namespace {

/// The warm-up, then `proper`, a function of the steps since.
template <class F>
Schedule after_warmup(const char* name, std::int64_t warmup, F proper) {
  require(warmup >= 0, name, ": warmup must not be negative, got ", warmup);
  return [name, warmup, proper = std::move(proper)](std::int64_t step) {
    require(step >= 0, name, ": the step must not be negative, got ", step);
    if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup + 1);
    return static_cast<double>(proper(step - warmup));
  };
}

/// Falls from 1 to `end` along `shape`, which maps [0, 1] to [1, 0].
template <class F>
Schedule decay(const char* name, const DecayOptions& options, F shape) {
  require(options.steps > options.warmup, name, ": steps must exceed warmup, got ", options.steps,
          " and ", options.warmup);
  require(options.end >= 0 && options.end <= 1, name, ": end must be in [0, 1], got ", options.end);
  const std::int64_t length = options.steps - options.warmup;
  return after_warmup(name, options.warmup, [length, end = options.end, shape](std::int64_t step) {
    if (step >= length) return end;
    return end + (1 - end) * shape(static_cast<double>(step) / static_cast<double>(length));
  });
}

}  // namespace

Schedule constant(ConstantOptions options) {
  return after_warmup("constant", options.warmup, [](std::int64_t) { return 1; });
}

Schedule step_decay(StepDecayOptions options) {
  require(options.every >= 1, "step_decay: every must be at least 1, got ", options.every);
  require(options.gamma >= 0 && options.gamma <= 1, "step_decay: gamma must be in [0, 1], got ",
          options.gamma);
  return after_warmup("step_decay", options.warmup,
                      [every = options.every, gamma = options.gamma](std::int64_t step) {
                        return std::pow(gamma, static_cast<double>(step / every));
                      });
}

Schedule linear(DecayOptions options) {
  return decay("linear", options, [](double x) { return 1 - x; });
}

Schedule cosine(DecayOptions options) {
  return decay("cosine", options,
               [](double x) { return (1 + std::cos(std::numbers::pi * x)) / 2; });
}

}  // namespace xgrad::inline XGRAD_PRECISION::schedule
