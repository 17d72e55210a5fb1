// Gpt: the decoder-only transformer, with any position scheme.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <xgrad/nn/attention.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/feedforward.hpp>
#include <xgrad/nn/norm.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct GptOptions {
  std::size_t vocab = 256;
  std::size_t layers = 4, heads = 4, dim = 128;
  std::size_t kv_heads = 0;              ///< 0: as many as heads
  double dropout = 0;                    ///< of embeddings, attention weights and residual branches
  bool bias = true;                      ///< in Linear and LayerNorm
  std::shared_ptr<Position> position{};  ///< none: NoPE
  AttentionWindow window{};
  AttentionImpl attention = AttentionImpl::fused;
  bool recompute = false;  ///< checkpoint() every block: less memory, forward twice
  std::uint64_t seed = 0;
};

/// One pre-norm block: x + attn(ln_1(x)), then + mlp(ln_2(x)). (B, T, dim) -> (B, T, dim).
struct GptBlock : Module {
  GptBlock(Module* owner, std::string name, const GptOptions& options);
  Tensor operator()(const Tensor& x, std::size_t start) const;
  Tensor operator()(const Tensor& x, KeyValueCache& cache) const;

  LayerNorm ln_1;
  CausalSelfAttention attn;
  LayerNorm ln_2;
  FeedForward mlp;
};

/// What the blocks remember of the tokens that they have seen.
struct GptCache {
  std::vector<KeyValueCache> blocks;

  /// Tokens of each text so far.
  const std::vector<std::size_t>& lengths() const { return blocks.front().lengths; }
  /// Forgets all but the first lengths[b] tokens of each text b. Throws std::invalid_argument for
  /// more than there are.
  void truncate(const std::vector<std::size_t>& lengths);
  /// Forgets all texts but these, which are 0, 1, … from then on.
  void keep(const std::vector<std::size_t>& texts);
};

/// GPT-2's architecture and parameter names (Radford et al. 2019): embedding, blocks, final norm,
/// and a head that shares the embedding's weight. A position scheme's parameters stand under wpe.
/// Initial values: embeddings and a position scheme's tables N(0, 0.02^2); matrices of the blocks
/// N(0, 1/(3 in)), which at GPT-2's width is its 0.02^2 and at smaller ones learns faster; residual
/// projections 1/sqrt(2 layers) of that; biases 0.
struct Gpt : Module {
  explicit Gpt(GptOptions options);
  /// Logits of the next token at every position. ids (B, T) -> (B, T, vocab). `start`: position of
  /// the first token.
  Tensor operator()(const Indices& ids, std::size_t start = 0) const;
  /// The same for the next tokens of texts whose earlier ones are in the cache, which these join:
  /// text b's stand at positions cache.lengths()[b], …. Costs what the new tokens cost. Nothing is
  /// recorded.
  Tensor operator()(const Indices& ids, GptCache& cache) const;
  /// Logits of the one token that follows each text, (B, vocab), after text b has gone on by the
  /// tokens of texts[b], at least one. Texts may differ in their number: those with fewer are
  /// padded on the right, where no token of theirs sees it, and the cache forgets the padding. It
  /// costs what tokens cost, and needs room in the cache and positions. Nothing is recorded.
  Tensor next(const std::vector<std::span<const std::int64_t>>& texts, GptCache& cache) const;
  /// An empty cache for `batch` texts of up to `capacity` tokens.
  GptCache make_cache(std::size_t batch, std::size_t capacity) const;

  const GptOptions options;
  Embedding wte;
  Dropout drop;
  ModuleList<GptBlock> h;
  LayerNorm ln_f;

 private:
  Tensor embed(const Indices& ids, const std::vector<std::size_t>& starts) const;
  Tensor decode(const Indices& ids, GptCache& cache) const;
  Tensor head(const Tensor& x) const;
};

}  // namespace xgrad::inline XGRAD_PRECISION
