// Alibi: scores fall with the distance, in every head at another rate.
#pragma once

#include <vector>

#include <xgrad/nn/position/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct AlibiOptions {
  double max_bias = 8;  ///< positive; the gentlest slope of 2^n heads is 2^-max_bias (MPT)
};

/// Attention with linear biases: a penalty of m_h (i - j) on the score, steeper in some heads than
/// in others. Press, Smith & Lewis 2021 (2108.12409). Slopes are constants, not parameters.
struct Alibi : Position {
  explicit Alibi(AlibiOptions options = {});
  AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                  std::size_t length) const override;

  const AlibiOptions options;
};

/// m_h = 2^(-M (h+1)/c) for the first c = 2^floor(log2 H) heads, M = max_bias; for the rest
/// 2^(-M (2(h-c)+1)/2c), which lie between those.
std::vector<real> alibi_slopes(std::size_t heads, double max_bias = 8);

}  // namespace xgrad::inline XGRAD_PRECISION
