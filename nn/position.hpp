// Position schemes: how a decoder is told where its tokens stand.
// Each is a small object with one interface, handed to the model; attention does not know which one
// it holds.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// What a scheme may do, and by default leaves alone: the base class itself is NoPE.
/// `start` is the absolute position of the first of T tokens.
class Position : public Module {
 public:
  /// Once per model, on the embedded tokens (B, T, D).
  virtual Tensor on_embedding(const Tensor& x, std::size_t start) const;
  /// In every attention layer of `heads` query heads of `width` features.
  virtual AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                          std::size_t length) const;
  /// Positions from here on do not exist; empty: no limit.
  virtual std::optional<std::size_t> max_length() const { return std::nullopt; }
};

/// No positions at all. A causal decoder still knows order, weakly: Kazemnejad et al. 2023
/// (2305.19466).
struct NoPosition : Position {};

struct LearnedPositionOptions {
  std::size_t length, dim;
};

/// A trained vector per position, added to the embeddings (GPT-2). weight (length, dim), initially
/// N(0, 0.02^2).
struct LearnedPosition : Position {
  explicit LearnedPosition(LearnedPositionOptions options);
  Tensor on_embedding(const Tensor& x, std::size_t start) const override;
  std::optional<std::size_t> max_length() const override { return options.length; }

  const LearnedPositionOptions options;
  Parameter weight;
};

/// Embeddings times sqrt(D), plus PE[p, 2i] = sin(p 10000^(-2i/D)), PE[p, 2i+1] = cos(same):
/// Vaswani et al. 2017 (1706.03762), section 3.5.
struct SinusoidalPosition : Position {
  Tensor on_embedding(const Tensor& x, std::size_t start) const override;
};

struct RopeOptions {
  double base = 10000;
  std::size_t rotary_dim = 0;  ///< features turned, even; 0: all of the head's
  RopeLayout layout = RopeLayout::half_split;
};

/// Rotary position embedding: queries and keys are turned by p base^(-2i/r), so scores depend on
/// distances alone. Su et al. 2021, RoFormer (2104.09864). Angles are computed in double.
class Rope : public Position {
 public:
  explicit Rope(RopeOptions options = {});
  AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                  std::size_t length) const override;

 private:
  const RopeOptions options_;
  mutable std::mutex mutex_;
  mutable Tensor cos_, sin_;  // (capacity, r/2), grown as longer texts come
};

/// Attention with linear biases: a penalty of m_h (i - j) on the score, steeper in some heads than
/// in others. Press, Smith & Lewis 2021 (2108.12409). Slopes are constants, not parameters.
struct Alibi : Position {
  AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                  std::size_t length) const override;
};

/// m_h = 2^(-8(h+1)/c) for the first c = 2^floor(log2 H) heads, 2^(-4(2(h-c)+1)/c) for the rest.
std::vector<real> alibi_slopes(std::size_t heads);

/// The scheme called rope, alibi, nope, learned or sinusoidal. `length` and `dim` serve the learned
/// table. Throws std::invalid_argument for another name.
std::shared_ptr<Position> make_position(std::string_view name, LearnedPositionOptions options);

}  // namespace xgrad::inline XGRAD_PRECISION
