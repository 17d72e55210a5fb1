// Gpt; see gpt.hpp.
#include <xgrad/models/gpt.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

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

Tensor Gpt::embed(const Indices& ids, std::size_t start) const {
  require<ShapeError>(ids.dimension() == 2, "Gpt: needs ids (B, T), got ", ids.dimension(),
                      " axes");
  Tensor x = embedding(wte.weight, ids);  // (B, T, D)
  if (options.position) x = options.position->on_embedding(x, start);
  return drop(x);
}

Tensor Gpt::operator()(const Indices& ids, std::size_t start) const {
  const Scope here = enter();
  Tensor x = embed(ids, start);
  for (std::size_t i = 0; i < h.size(); ++i) {
    const auto block = [&layer = h[i], start](const std::vector<Tensor>& in) {
      return layer(in[0], start);
    };
    x = options.recompute ? checkpoint(block, {x}) : block({x});
  }
  return linear(ln_f(x), wte.weight);
}

GptCache Gpt::make_cache(std::size_t batch, std::size_t capacity) const {
  GptCache cache;
  for (std::size_t i = 0; i < h.size(); ++i)
    cache.blocks.push_back(h[i].attn.make_cache(batch, capacity));
  return cache;
}

Tensor Gpt::operator()(const Indices& ids, GptCache& cache) const {
  const Scope here = enter();
  require(cache.blocks.size() == h.size(), "Gpt: a cache of ", cache.blocks.size(),
          " blocks for a model of ", h.size());
  const Pause pause;
  Tensor x = embed(ids, cache.length());
  for (std::size_t i = 0; i < h.size(); ++i) x = h[i](x, cache.blocks[i]);
  return linear(ln_f(x), wte.weight);
}

namespace {

/// The next token, drawn by the inverse distribution function, in double, so that the same seed
/// gives the same text.
std::int64_t sample(std::span<const real> logits, const GenerateOptions& options, Rng& rng) {
  require<std::runtime_error>(
      std::none_of(logits.begin(), logits.end(), [](real v) { return std::isnan(v); }),
      "generate: the model gives NaN");
  const std::size_t kept = options.temperature == 0 ? 1
                           : options.top_k          ? std::min(options.top_k, logits.size())
                                                    : logits.size();
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](std::size_t a, std::size_t b) {
                      return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
                    });
  std::vector<double> cumulative;
  for (std::size_t i = 0; i < kept; ++i) {
    const double p = kept == 1
                         ? 1
                         : std::exp((static_cast<double>(logits[order[i]]) - logits[order[0]]) /
                                    options.temperature);
    cumulative.push_back(p + (i ? cumulative.back() : 0));
  }
  const double u = rng.uniform64() * cumulative.back();
  const auto chosen =
      std::upper_bound(cumulative.begin(), cumulative.end() - 1, u) - cumulative.begin();
  return static_cast<std::int64_t>(order[static_cast<std::size_t>(chosen)]);
}

/// The last `count` of the tokens, (1, count).
Indices last(const std::vector<std::int64_t>& tokens, std::size_t count) {
  Indices ids = Indices::from_shape({1, count});
  std::copy(tokens.end() - static_cast<std::ptrdiff_t>(count), tokens.end(), ids.begin());
  return ids;
}

}  // namespace

std::vector<std::int64_t> generate(const Gpt& model, std::vector<std::int64_t> tokens,
                                   const GenerateOptions& options) {
  require(!tokens.empty(), "generate: the prompt is empty");
  require(options.context > 0, "generate: the context must be at least 1");
  require(options.temperature >= 0 && std::isfinite(options.temperature),
          "generate: temperature must be >= 0, got ", options.temperature);
  const Pause pause;
  Rng rng(options.seed);
  const Position* position = model.options.position.get();
  const std::size_t context =
      std::min(options.context,
               position ? position->max_length().value_or(options.context) : options.context);
  const std::size_t prompt = tokens.size(), end = prompt + options.max_tokens;
  GptCache cache = model.make_cache(1, std::min(context, end));
  while (tokens.size() < end) {
    // In a window that moves, every token changes its position: then nothing in the cache serves.
    const Tensor logits = tokens.size() <= context
                              ? model(last(tokens, tokens.size() - cache.length()), cache)
                              : model(last(tokens, context));
    const std::size_t vocab = model.options.vocab;
    tokens.push_back(sample(std::span(logits.data() + logits.size() - vocab, vocab), options, rng));
  }
  return {tokens.begin() + static_cast<std::ptrdiff_t>(prompt), tokens.end()};
}

}  // namespace xgrad::inline XGRAD_PRECISION
