// Causal self-attention as a layer: projections around attention() of core/ops.hpp.
// Positions come from outside, as an object (position/position.hpp).
#pragma once

#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/position/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Which code computes attention; the results differ by rounding alone.
enum class AttentionImpl {
  fused,      ///< attention(): fast, O(T) memory
  composite,  ///< composite::attention(): O(T^2) memory, any number of derivatives
};

struct CausalSelfAttentionOptions {
  std::size_t dim, heads;
  std::size_t kv_heads = 0;  ///< 0: as many as heads; must divide heads
  bool bias = true;
  double dropout = 0;                          ///< of the attention weights and of the result
  std::shared_ptr<const Position> position{};  ///< its in_attention; none: NoPE. Layers share it:
                                               ///< its parameters are none of theirs
  AttentionWindow window{};
  AttentionImpl attention = AttentionImpl::fused;
};

/// Multi-head causal self-attention: x (B, T, dim) -> (B, T, dim). One projection c_attn holds the
/// rows of queries (dim), keys and values (kv_heads * dim/heads each), as in GPT-2 when kv_heads =
/// heads.
struct CausalSelfAttention : Module {
  CausalSelfAttention(Module* owner, std::string name, CausalSelfAttentionOptions options);
  explicit CausalSelfAttention(CausalSelfAttentionOptions options)
      : CausalSelfAttention(nullptr, "", std::move(options)) {}
  /// `start`: absolute position of the first token.
  Tensor operator()(const Tensor& x, std::size_t start = 0) const;
  /// The next tokens of the texts in the cache, which they join: text b's stand at positions
  /// cache.lengths[b], …. Always fused; it has no gradient, so a tape must be paused.
  Tensor operator()(const Tensor& x, KeyValueCache& cache) const;
  /// A cache for `batch` texts of up to `capacity` tokens, as long as the parameters stay.
  KeyValueCache make_cache(std::size_t batch, std::size_t capacity) const;

  const CausalSelfAttentionOptions options;
  Linear c_attn, c_proj;
  Dropout resid_dropout;

 protected:
  void on_reseed(Rng rng) override { rng_ = rng; }
  std::string describe() const override;

 private:
  void check_input(const Tensor& x) const;
  AttentionPositions positions(std::size_t start, std::size_t length) const;

  mutable Rng rng_;  // for dropout of the weights
};

}  // namespace xgrad::inline XGRAD_PRECISION
