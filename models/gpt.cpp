// Gpt; see gpt.hpp.
#include <xgrad/models/gpt.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/pause.hpp>
#include <xgrad/core/recompute.hpp>
#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {

GptBlock::GptBlock(Module* owner, std::string name, const GptOptions& o)
    : Module(owner, std::move(name)),
      ln_1(this, "ln_1", {.dim = o.dim, .bias = o.bias}),
      attn(this, "attn",
           {.dim = o.dim,
            .heads = o.heads,
            .kv_heads = o.kv_heads,
            .bias = o.bias,
            .dropout = o.dropout,
            .position = o.position,
            .window = o.window,
            .attention = o.attention}),
      ln_2(this, "ln_2", {.dim = o.dim, .bias = o.bias}),
      mlp(this, "mlp", {.dim = o.dim, .bias = o.bias, .dropout = o.dropout}) {}

Tensor GptBlock::operator()(const Tensor& x, std::size_t start) const {
  const Scope here = enter();
  const Tensor y = x + attn(ln_1(x), start);
  return y + mlp(ln_2(y));
}

Tensor GptBlock::operator()(const Tensor& x, KeyValueCache& cache) const {
  const Scope here = enter();
  const Tensor y = x + attn(ln_1(x), cache);
  return y + mlp(ln_2(y));
}

Gpt::Gpt(GptOptions o)
    : Module(o.seed),
      options(std::move(o)),
      wte(this, "wte", {.count = options.vocab, .dim = options.dim}),
      drop(this, "drop", options.dropout),
      h(this, "h"),
      ln_f(this, "ln_f", {.dim = options.dim, .bias = options.bias}) {
  require(options.layers > 0, "Gpt: needs at least 1 layer");
  for (std::size_t i = 0; i < options.layers; ++i) h.emplace(options);
  if (options.position) adopt("wpe", *options.position);
  for (auto& [name, parameter] : named_parameters()) {
    if (name.ends_with("bias")) init::constant(parameter, 0);
    if (parameter.ndim() != 2) continue;
    double deviation = 0.02;
    if (name.starts_with("h."))
      deviation = 1 / std::sqrt(3.0 * static_cast<double>(parameter.size(1)));
    if (name.ends_with("c_proj.weight"))
      deviation /= std::sqrt(2.0 * static_cast<double>(options.layers));
    init::normal(parameter, 0, static_cast<real>(deviation), init_rng(name));
  }
}

/// starts[b]: position of the first token of text b. One for all texts if they agree.
Tensor Gpt::embed(const Indices& ids, const std::vector<std::size_t>& starts) const {
  require<ShapeError>(ids.dimension() == 2, "Gpt: needs ids (B, T), got ", ids.dimension(),
                      " axes");
  Tensor x = wte(ids);  // (B, T, D)
  if (options.position) {
    if (std::equal(starts.begin() + 1, starts.end(), starts.begin())) {
      x = options.position->on_embedding(x, starts.front());
    } else {
      std::vector<Tensor> texts = split(x, 1);
      for (std::size_t b = 0; b < texts.size(); ++b)
        texts[b] = options.position->on_embedding(texts[b], starts[b]);
      x = concat(texts);
    }
  }
  return drop(x);
}

Tensor Gpt::head(const Tensor& x) const { return linear(ln_f(x), wte.weight); }

Tensor Gpt::operator()(const Indices& ids, std::size_t start) const {
  const Scope here = enter();
  Tensor x = embed(ids, {start});
  for (std::size_t i = 0; i < h.size(); ++i) {
    const auto block = [&layer = h[i], start](const std::vector<Tensor>& in) {
      return layer(in[0], start);
    };
    x = options.recompute ? checkpoint(block, {x}) : block({x});
  }
  return head(x);
}

GptCache Gpt::make_cache(std::size_t batch, std::size_t capacity) const {
  GptCache cache;
  for (std::size_t i = 0; i < h.size(); ++i)
    cache.blocks.push_back(h[i].attn.make_cache(batch, capacity));
  return cache;
}

/// What the blocks make of the next tokens, (B, T, D).
Tensor Gpt::decode(const Indices& ids, GptCache& cache) const {
  require(cache.blocks.size() == h.size(), "Gpt: a cache of ", cache.blocks.size(),
          " blocks for a model of ", h.size());
  const std::size_t texts = cache.lengths().size();
  require<ShapeError>(texts > 0 && ids.dimension() == 2 && ids.shape(0) == texts, "Gpt: ids ",
                      ids.shape(), " do not fit a cache of ", texts, " texts");
  Tensor x = embed(ids, cache.lengths());
  for (std::size_t i = 0; i < h.size(); ++i) x = h[i](x, cache.blocks[i]);
  return x;
}

Tensor Gpt::operator()(const Indices& ids, GptCache& cache) const {
  const Scope here = enter();
  const Pause pause;
  return head(decode(ids, cache));
}

Tensor Gpt::next(const std::vector<std::span<const std::int64_t>>& texts, GptCache& cache) const {
  const Scope here = enter();
  const Pause pause;
  std::size_t longest = 0;
  for (const auto& text : texts) {
    require(!text.empty(), "Gpt: next() needs a new token of every text");
    longest = std::max(longest, text.size());
  }
  Indices ids = Indices::from_shape({texts.size(), longest}),
          last = Indices::from_shape({texts.size()});
  std::fill(ids.begin(), ids.end(), 0);  // any token will do as padding
  for (std::size_t b = 0; b < texts.size(); ++b) {
    std::copy(texts[b].begin(), texts[b].end(), ids.data() + b * longest);
    last(b) = static_cast<std::int64_t>(b * longest + texts[b].size() - 1);
  }
  const Tensor x = decode(ids, cache);
  std::vector<std::size_t> lengths = cache.lengths();
  for (std::size_t b = 0; b < texts.size(); ++b) lengths[b] -= longest - texts[b].size();
  cache.truncate(lengths);
  return head(index_select(flatten(x, 0, 1), 0, last));
}

void GptCache::truncate(const std::vector<std::size_t>& to) {
  require(to.size() == lengths().size(), "GptCache: ", to.size(), " lengths for ", lengths().size(),
          " texts");
  for (std::size_t b = 0; b < to.size(); ++b)
    require(to[b] <= lengths()[b], "GptCache: text ", b, " has ", lengths()[b],
            " tokens, and cannot be cut to ", to[b]);
  for (KeyValueCache& block : blocks) block.lengths = to;
}

void GptCache::keep(const std::vector<std::size_t>& texts) {
  const Pause pause;
  Indices rows = Indices::from_shape({texts.size()});
  std::copy(texts.begin(), texts.end(), rows.begin());
  for (KeyValueCache& block : blocks) {
    block.keys = index_select(block.keys, 0, rows);
    block.values = index_select(block.values, 0, rows);
    std::vector<std::size_t> lengths;
    for (const std::size_t b : texts) lengths.push_back(block.lengths[b]);
    block.lengths = std::move(lengths);
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
