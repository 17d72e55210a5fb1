// Rope: queries and keys turned by their positions.
// How fast they turn is rope_scaling.hpp; the turning itself is rope() and attention() of core.
#pragma once

#include <mutex>

#include <xgrad/nn/position/position.hpp>
#include <xgrad/nn/position/rope_scaling.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct RopeOptions {
  double base = 10000;
  std::size_t rotary_dim = 0;  ///< features turned, even; 0: all of the head's
  RopeLayout layout = RopeLayout::half_split;
  RopeScaling scaling = rope_scaling::none;  ///< for texts longer than those of the training
};

/// Rotary position embedding: queries and keys are turned by p base^(-2i/r), so scores depend on
/// distances alone. Su et al. 2021, RoFormer (2104.09864). Angles are computed in double.
class Rope : public Position {
 public:
  explicit Rope(RopeOptions options = {});
  AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                  std::size_t length) const override;

  const RopeOptions options;

 private:
  // The latest tables, shared by the layers. What they depend on is compared at every call, and a
  // new pair is made where it differs, so threads that ask for different ones each get theirs.
  mutable std::mutex mutex_;
  mutable RopeFrequencies frequencies_;
  mutable Tensor cos_, sin_;  // (capacity, r/2), grown as longer texts come
};

}  // namespace xgrad::inline XGRAD_PRECISION
