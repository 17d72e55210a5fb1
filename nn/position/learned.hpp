// LearnedPosition: a trained vector per absolute position.
#pragma once

#include <xgrad/nn/position/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct LearnedPositionOptions {
  std::size_t length, dim;
  bool wrap = false;  ///< position p uses row p mod length; else it ends where the table ends
};

/// Row p of a table is added to the embedding at position p (GPT-2). weight (length, dim),
/// initially N(0, 0.02^2). Throws ShapeError for another width, and beyond the table unless it
/// wraps.
struct LearnedPosition : Position {
  explicit LearnedPosition(LearnedPositionOptions options);
  Tensor on_embedding(const Tensor& x, std::size_t start) const override;
  std::optional<std::size_t> max_length() const override;

  const LearnedPositionOptions options;
  Parameter weight;
};

}  // namespace xgrad::inline XGRAD_PRECISION
