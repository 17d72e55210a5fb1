// Position: what a scheme that tells a decoder where its tokens stand may do.
// The schemes are this file's neighbours; a model or layer that is handed one includes this alone.
#pragma once

#include <memory>
#include <optional>

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// A scheme overrides what concerns it; by default everything is left alone, so that the base class
/// itself is NoPE. One object serves all layers, and threads at once: positions are arguments, and
/// nothing depends on earlier calls. `start` is the absolute position of the first of T tokens.
/// docs/positions.md adds a scheme of one's own.
class Position : public Module {
 public:
  /// Once per model, on the embedded tokens (B, T, D).
  virtual Tensor on_embedding(const Tensor& x, std::size_t start) const;
  /// In every attention layer of `heads` query heads of `width` features, for keys at positions
  /// start, …, start + length - 1. A cache asks once, for all positions that it has room for, so
  /// that start + length, the length that a scheme may go by, is the same for every token of a
  /// text.
  virtual AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                          std::size_t length) const;
  /// Positions from here on do not exist; empty: no limit.
  virtual std::optional<std::size_t> max_length() const { return std::nullopt; }
};

/// No positions at all. A causal decoder still knows order, weakly: Kazemnejad et al. 2023
/// (2305.19466).
struct NoPosition : Position {};

}  // namespace xgrad::inline XGRAD_PRECISION
