// Causal attention: the function on heads, and the layer around it.
// Positions come from outside, as an object (position.hpp).
#pragma once

#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct AttentionOptions {
  bool causal = true;             ///< query i sees keys j <= i + Tk - Tq: the last query sees all
  std::optional<double> scale{};  ///< of the scores; 1/sqrt(d) unless given
  std::vector<real>
      slopes{};  ///< ALiBi's: takes m |i - j| off the score, one m per query head; empty: none
  Tensor key_padding{};  ///< (B, Tk): keys where it is not 0 are not seen; undefined: none
  double dropout = 0;    ///< of the weights after the softmax, in [0, 1]
  Rng* rng = nullptr;    ///< for dropout
};

namespace composite {
/// softmax(scale q k^T + bias) v, spelled out in operations. q (B, H, Tq, d); k (B, K, Tk, d); v
/// (B, K, Tk, e) with H a multiple of K (query head h reads key head h K / H: grouped-query
/// attention, 2305.13245)
/// -> (B, H, Tq, e). A query that sees no key, by its place or by padding, gives zeros (PyTorch:
/// NaN). O(B H Tq Tk) memory.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});
}  // namespace composite

struct CausalSelfAttentionOptions {
  std::size_t dim, heads;
  std::size_t kv_heads = 0;  ///< 0: as many as heads; must divide heads
  bool bias = true;
  double dropout = 0;                          ///< of the attention weights and of the result
  std::shared_ptr<const Position> position{};  ///< its on_query, on_key and slopes; none: NoPE
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

  const CausalSelfAttentionOptions options;
  Linear c_attn, c_proj;
  Dropout resid_dropout;

 protected:
  void on_reseed(Rng rng) override { rng_ = rng; }
  std::string describe() const override;

 private:
  mutable Rng rng_;  // for dropout of the weights
};

}  // namespace xgrad::inline XGRAD_PRECISION
