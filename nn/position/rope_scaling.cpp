// Frequencies of a Rope; see rope_scaling.hpp.
#include <xgrad/nn/position/rope_scaling.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION::rope_scaling {
namespace {

void check_factor(const char* name, double factor) {
  require(factor >= 1 && std::isfinite(factor), "rope_scaling::", name,
          ": factor must be a finite number >= 1, got ", factor);
}

void check_original(const char* name, std::size_t length) {
  require(length > 0, "rope_scaling::", name, ": original_length must be positive");
}

/// theta, of which a share from 0 to 1 is slowed down.
double slowed(double theta, double share, double factor) {
  return (1 - share) * theta + share * theta / factor;
}

/// The base with which pair 0 turns as before and the last one `factor` times slower.
double stretched(double base, std::size_t rotary, double factor) {
  const auto r = static_cast<double>(rotary);
  return base * std::pow(factor, r / (r - 2));
}

}  // namespace

RopeFrequencies none(double base, std::size_t rotary, std::size_t /*length*/) {
  RopeFrequencies result;
  // The exponent divides by the rotary width, not by the head's.
  for (std::size_t i = 0; i < rotary / 2; ++i)
    result.theta.push_back(
        std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary)));
  return result;
}

RopeScaling linear(double factor) {
  check_factor("linear", factor);
  return [factor](double base, std::size_t rotary, std::size_t length) {
    RopeFrequencies result = none(base, rotary, length);
    for (double& theta : result.theta) theta /= factor;
    return result;
  };
}

RopeScaling ntk(double factor) {
  check_factor("ntk", factor);
  return [factor](double base, std::size_t rotary, std::size_t length) {
    return none(stretched(base, rotary, factor), rotary, length);
  };
}

RopeScaling dynamic(DynamicOptions o) {
  check_factor("dynamic", o.factor);
  check_original("dynamic", o.original_length);
  return [o](double base, std::size_t rotary, std::size_t length) {
    const double times = static_cast<double>(std::max(length, o.original_length)) /
                         static_cast<double>(o.original_length);
    return none(stretched(base, rotary, o.factor * times - (o.factor - 1)), rotary, length);
  };
}

RopeScaling yarn(YarnOptions o) {
  check_factor("yarn", o.factor);
  check_original("yarn", o.original_length);
  require(o.beta_slow > 0 && o.beta_fast > o.beta_slow,
          "rope_scaling::yarn: needs 0 < beta_slow < beta_fast, got ", o.beta_slow, " and ",
          o.beta_fast);
  const auto magnitude = [&](double mscale) { return 0.1 * mscale * std::log(o.factor) + 1; };
  const bool ratio = o.mscale != 0 && o.mscale_all_dim != 0;
  const double attention_factor = o.attention_factor.value_or(
      ratio ? magnitude(o.mscale) / magnitude(o.mscale_all_dim) : magnitude(1));
  return [o, attention_factor](double base, std::size_t rotary, std::size_t length) {
    const auto r = static_cast<double>(rotary);
    // The pair, as a fraction, that turns so many times: original theta / 2 pi = turns.
    const auto pair_that = [&](double turns) {
      const double original = static_cast<double>(o.original_length);
      return r * std::log(original / (2 * std::numbers::pi * turns)) / (2 * std::log(base));
    };
    double low = pair_that(o.beta_fast), high = pair_that(o.beta_slow);
    if (o.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, r - 1);
    if (low == high) high += 0.001;
    RopeFrequencies result = none(base, rotary, length);
    for (std::size_t i = 0; i < result.theta.size(); ++i) {
      const double share = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
      result.theta[i] = slowed(result.theta[i], share, o.factor);
    }
    result.attention_factor = attention_factor;
    return result;
  };
}

RopeScaling llama3(Llama3Options o) {
  check_factor("llama3", o.factor);
  check_original("llama3", o.original_length);
  require(o.low_freq_factor > 0 && o.high_freq_factor > o.low_freq_factor,
          "rope_scaling::llama3: needs 0 < low_freq_factor < high_freq_factor, got ",
          o.low_freq_factor, " and ", o.high_freq_factor);
  return [o](double base, std::size_t rotary, std::size_t length) {
    RopeFrequencies result = none(base, rotary, length);
    for (double& theta : result.theta) {
      const double turns = static_cast<double>(o.original_length) * theta / (2 * std::numbers::pi);
      const double kept = std::clamp(
          (turns - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor), 0.0, 1.0);
      theta = slowed(theta, 1 - kept, o.factor);
    }
    return result;
  };
}

}  // namespace xgrad::inline XGRAD_PRECISION::rope_scaling
