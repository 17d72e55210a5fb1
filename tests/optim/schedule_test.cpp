// Schedules at points computed by hand.
#include <xgrad/optim/schedule.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "catch.hpp"

using namespace xgrad;

namespace {

template <class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

void check_factor(const Schedule& factor, std::int64_t step, double expected) {
  INFO("step " << step);
  CHECK_THAT(factor(step), WithinAbs(expected, 1e-15));
}

}  // namespace

TEST_CASE("every schedule warms up along (s + 1) / (warmup + 1)", "[optim]") {
  for (const Schedule& factor :
       {schedule::constant({.warmup = 3}), schedule::step_decay({.warmup = 3, .every = 10}),
        schedule::linear({.warmup = 3, .steps = 10}),
        schedule::cosine({.warmup = 3, .steps = 10})}) {
    check_factor(factor, 0, 0.25);
    check_factor(factor, 1, 0.5);
    check_factor(factor, 2, 0.75);
    check_factor(factor, 3, 1);
  }
}

TEST_CASE("constant stays at 1", "[optim]") {
  check_factor(schedule::constant(), 0, 1);
  check_factor(schedule::constant(), 1'000'000'000'000, 1);
}

TEST_CASE("step_decay drops by gamma after every so many steps", "[optim]") {
  const Schedule factor = schedule::step_decay({.every = 3, .gamma = 0.5});
  for (const auto& [step, expected] :
       {std::pair{0, 1.0}, {2, 1.0}, {3, 0.5}, {5, 0.5}, {6, 0.25}, {30, 1.0 / 1024}})
    check_factor(factor, step, expected);
  const Schedule warmed = schedule::step_decay({.warmup = 2, .every = 3, .gamma = 0.5});
  check_factor(warmed, 4, 1);
  check_factor(warmed, 5, 0.5);
  const Schedule once = schedule::step_decay({.every = 2, .gamma = 0});
  check_factor(once, 1, 1);
  check_factor(once, 2, 0);
}

TEST_CASE("linear falls to its end and stays there", "[optim]") {
  const Schedule factor = schedule::linear({.warmup = 2, .steps = 6, .end = 0.2});
  for (const auto& [step, expected] :
       {std::pair{2, 1.0}, {3, 0.8}, {4, 0.6}, {5, 0.4}, {6, 0.2}, {7, 0.2}, {999, 0.2}})
    check_factor(factor, step, expected);
}

TEST_CASE("cosine falls to its end and stays there", "[optim]") {
  const Schedule factor = schedule::cosine({.warmup = 2, .steps = 8, .end = 0.1});
  check_factor(factor, 2, 1);
  check_factor(factor, 4, 0.1 + 0.9 * 0.75);  // cos(pi/3) = 1/2
  check_factor(factor, 5, 0.55);              // half way
  check_factor(factor, 6, 0.1 + 0.9 * 0.25);
  check_factor(factor, 8, 0.1);
  check_factor(factor, 1000, 0.1);
  check_factor(schedule::cosine({.steps = 4}), 1, (2 + std::sqrt(2.0)) / 4);
  check_factor(schedule::cosine({.steps = 4}), 4, 0);
}

TEST_CASE("schedules refuse settings and steps that make no sense", "[optim]") {
  CHECK(message([] { schedule::constant({.warmup = -1}); }) ==
        "constant: warmup must not be negative, got -1");
  CHECK(message([] { schedule::cosine({.warmup = -1, .steps = 5}); }) ==
        "cosine: warmup must not be negative, got -1");
  CHECK(message([] { schedule::step_decay({.every = 0}); }) ==
        "step_decay: every must be at least 1, got 0");
  CHECK(message([] { schedule::step_decay({.gamma = 1.5}); }) ==
        "step_decay: gamma must be in [0, 1], got 1.5");
  CHECK(message([] { schedule::linear({}); }) == "linear: steps must exceed warmup, got 0 and 0");
  CHECK(message([] { schedule::linear({.steps = 5, .end = -0.5}); }) ==
        "linear: end must be in [0, 1], got -0.5");
  CHECK(message([] { schedule::cosine({.warmup = 5, .steps = 5}); }) ==
        "cosine: steps must exceed warmup, got 5 and 5");
  CHECK(message([] { schedule::cosine({.steps = 5})(-1); }) ==
        "cosine: the step must not be negative, got -1");
  CHECK(message([] { schedule::constant()(-7); }) ==
        "constant: the step must not be negative, got -7");
}
