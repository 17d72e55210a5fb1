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
            .attention = o.attention}),
      ln_2(this, "ln_2", {.dim = o.dim, .bias = o.bias}),
      mlp(this, "mlp", {.dim = o.dim, .bias = o.bias, .dropout = o.dropout}) {}

Tensor GptBlock::operator()(const Tensor& x, std::size_t start) const {
  const Scope here = enter();
  const Tensor y = x + attn(ln_1(x), start);
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

Tensor Gpt::operator()(const Indices& ids, std::size_t start) const {
  const Scope here = enter();
  require<ShapeError>(ids.dimension() == 2, "Gpt: needs ids (B, T), got ", ids.dimension(),
                      " axes");
  Tensor x = embedding(wte.weight, ids);  // (B, T, D)
  if (options.position) x = options.position->on_embedding(x, start);
  x = drop(x);
  for (std::size_t i = 0; i < h.size(); ++i) {
    const auto block = [&layer = h[i], start](const std::vector<Tensor>& in) {
      return layer(in[0], start);
    };
    x = options.recompute ? checkpoint(block, {x}) : block({x});
  }
  return linear(ln_f(x), wte.weight);
}

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
  const std::size_t prompt = tokens.size();
  while (tokens.size() < prompt + options.max_tokens) {
    const std::size_t length = std::min(tokens.size(), context);
    Indices window = Indices::from_shape({1, length});
    std::copy(tokens.end() - static_cast<std::ptrdiff_t>(length), tokens.end(), window.begin());
    const Tensor logits = model(window);
    const real* last = logits.data() + (length - 1) * model.options.vocab;

    std::vector<std::int64_t> order(model.options.vocab);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return last[a] > last[b]; });
    const std::size_t kept = options.temperature == 0 ? 1
                             : options.top_k          ? std::min(options.top_k, order.size())
                                                      : order.size();
    std::vector<double> cumulative;
    for (std::size_t i = 0; i < kept; ++i) {
      const double p = kept == 1 ? 1
                                 : std::exp((static_cast<double>(last[order[i]]) - last[order[0]]) /
                                            options.temperature);
      cumulative.push_back(p + (i ? cumulative.back() : 0));
    }
    // Inverse distribution function, in double, so that the same seed gives the same text.
    const double u = rng.uniform64() * cumulative.back();
    const auto chosen =
        std::upper_bound(cumulative.begin(), cumulative.end() - 1, u) - cumulative.begin();
    tokens.push_back(order[static_cast<std::size_t>(chosen)]);
  }
  return {tokens.begin() + static_cast<std::ptrdiff_t>(prompt), tokens.end()};
}

}  // namespace xgrad::inline XGRAD_PRECISION
