// RelativeBias: a trained number per head and distance, far distances in common buckets.
#pragma once

#include <xgrad/nn/position/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct RelativeBiasOptions {
  std::size_t heads;
  std::size_t buckets = 32;  ///< at least 2
  std::size_t max_distance =
      128;  ///< more than buckets / 2; from here on all share the last bucket
};

/// Adds weight[bucket(n), h] to the score of head h where a key lies n before the query (T5).
/// Raffel et al. 2020 (1910.10683), section 2.1; the score is divided by sqrt(d) before, as T5's is
/// not. weight (buckets, heads), initially N(0, 0.02^2); all layers share it.
struct RelativeBias : Position {
  explicit RelativeBias(RelativeBiasOptions options);
  /// Throws ShapeError for another number of heads.
  AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                  std::size_t length) const override;
  /// Distances below buckets/2 = e have a bucket each; from there on it is e +
  /// floor(log(n/e) / log(max_distance/e) (buckets - e)), at most buckets - 1.
  std::size_t bucket(std::size_t distance) const;

  const RelativeBiasOptions options;
  Parameter weight;
};

}  // namespace xgrad::inline XGRAD_PRECISION
