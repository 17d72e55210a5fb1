// Multi-head attention of queries to keys and values that may come from elsewhere.
// For decoders, with positions and shared key heads, see attention.hpp.
#pragma once

#include <xgrad/nn/attention.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct MultiheadAttentionOptions {
  std::size_t dim, heads;  ///< heads divides dim
  bool bias = true;
  double dropout = 0;  ///< of the attention weights, while training
  AttentionImpl attention = AttentionImpl::fused;
};

/// Which keys a query does not see.
struct MultiheadMask {
  Tensor key_padding{};  ///< (B, Tk), not 0 where a key is padding; none: all are seen
  bool causal = false;   ///< query i sees keys j <= i + Tk - Tq
};

/// softmax(q k^T / sqrt(dim/heads)) v for each head, q, k and v being projections of query (B, Tq,
/// dim), key and value (B, Tk, dim); all heads projected once more -> (B, Tq, dim). Self-attention
/// is `attn(x, x, x)`, cross-attention `attn(x, memory, memory)`. A query that sees no key attends
/// to zeros, so it gives out_proj.bias, where PyTorch gives NaN. Padding must be finite all the
/// same. Vaswani et al. 2017 (1706.03762), section 3.2.2.
///
/// Loads the state of torch.nn.MultiheadAttention with batch_first and equal sizes: in_proj_weight
/// (3 dim, dim), rows of queries, keys, values, at first uniform in ±sqrt(6/(4 dim)) (Glorot);
/// in_proj_bias (3 dim,) and out_proj.bias, zeros; out_proj.weight, as in Linear.
struct MultiheadAttention : Module {
  explicit MultiheadAttention(MultiheadAttentionOptions options)
      : MultiheadAttention(nullptr, "", options) {}
  MultiheadAttention(Module* owner, std::string name, MultiheadAttentionOptions options);
  Tensor operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                    const MultiheadMask& mask = {}) const;

  const MultiheadAttentionOptions options;
  Parameter in_proj_weight, in_proj_bias;
  Linear out_proj;

 protected:
  void on_reseed(Rng rng) override { rng_ = rng; }
  std::string describe() const override;

 private:
  mutable Rng rng_;  // for dropout
};

}  // namespace xgrad::inline XGRAD_PRECISION
