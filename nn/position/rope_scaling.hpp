// How fast the pairs of a Rope turn, and how they are slowed down for texts longer than those that
// a model was trained on. Turning them is rope.hpp.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct RopeFrequencies {
  std::vector<double> theta;    ///< (r/2,): pair i turns by p theta[i] at position p
  double attention_factor = 1;  ///< multiplies queries and keys where they are turned, so what
                                ///< these features add to a score by its square
  bool operator==(const RopeFrequencies&) const = default;
};

/// The frequencies for `rotary` = r features, given the base and the length of the text so far. Any
/// function will do; it may start from rope_scaling::none.
using RopeScaling =
    std::function<RopeFrequencies(double base, std::size_t rotary, std::size_t length)>;

/// Those in use, as Hugging Face's files name and compute them. `factor` >= 1 is how many times
/// longer texts get than `original_length`, that of the training. Settings out of range throw
/// std::invalid_argument.
namespace rope_scaling {

/// As trained: theta_i = base^(-2i/r).
RopeFrequencies none(double base, std::size_t rotary, std::size_t length);

/// Position interpolation: theta / factor. Chen et al. 2023 (2306.15595).
RopeScaling linear(double factor);

/// A base that leaves the fastest pair as it is and slows the slowest down by factor:
/// base factor^(r/(r-2)). Known as NTK-aware; YaRN (2309.00071), section 3.1.
RopeScaling ntk(double factor);

struct DynamicOptions {
  double factor;
  std::size_t original_length;
};
/// The same with the factor grown to what a text of T tokens needs: base (factor T / original -
/// (factor - 1))^(r/(r-2)), none up to the original length. A key that stands in a cache keeps its
/// angle, so T is the cache's capacity from the first token on: a cache with more room than the
/// text needs slows down more than the text needs.
RopeScaling dynamic(DynamicOptions options);

struct YarnOptions {
  double factor;
  std::size_t original_length;
  double beta_fast = 32;  ///< pairs that turn more often within original_length stay as trained
  double beta_slow = 1;   ///< those that turn less often are slowed down by factor
  bool truncate = true;   ///< round these limits outwards to whole pairs
  std::optional<double> attention_factor{};  ///< if not given, as below
  double mscale = 0, mscale_all_dim = 0;
};
/// Fast pairs as trained, slow ones interpolated, a ramp between; and sharper scores: unless given,
/// the attention factor is m(mscale) / m(mscale_all_dim) if neither is 0, else m(1), where m(x) =
/// 0.1 x ln(factor) + 1. Peng et al. 2023 (2309.00071).
RopeScaling yarn(YarnOptions options);

struct Llama3Options {
  double factor;
  double low_freq_factor, high_freq_factor;  ///< turns within original_length: fewer than low are
                                             ///< slowed down by factor, more than high as trained
  std::size_t original_length;
};
/// YaRN's idea with a ramp over the number of turns instead of the pair's index. Llama 3.1
/// (2407.21783).
RopeScaling llama3(Llama3Options options);

}  // namespace rope_scaling

}  // namespace xgrad::inline XGRAD_PRECISION
