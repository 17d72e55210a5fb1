// Causal attention; see attention.hpp.
#include <xgrad/nn/attention.hpp>

#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

CausalSelfAttentionOptions checked(CausalSelfAttentionOptions o) {
  if (o.kv_heads == 0) o.kv_heads = o.heads;
  require(o.heads > 0 && o.dim > 0 && o.dim % o.heads == 0, "CausalSelfAttention: width ", o.dim,
          " is not divisible by ", o.heads, " heads");
  require(o.heads % o.kv_heads == 0, "CausalSelfAttention: ", o.heads,
          " heads are not divisible by ", o.kv_heads, " key heads");
  if (!o.position) o.position = std::make_shared<NoPosition>();
  return o;
}

}  // namespace

CausalSelfAttention::CausalSelfAttention(Module* owner, std::string name,
                                         CausalSelfAttentionOptions o)
    : Module(owner, std::move(name)),
      options(checked(std::move(o))),
      c_attn(this, "c_attn",
             {.in = options.dim,
              .out = options.dim + 2 * options.kv_heads * (options.dim / options.heads),
              .bias = options.bias}),
      c_proj(this, "c_proj", {.in = options.dim, .out = options.dim, .bias = options.bias}),
      resid_dropout(this, "resid_dropout", options.dropout),
      rng_(init_rng("attn_dropout")) {}

void CausalSelfAttention::check_input(const Tensor& x) const {
  require<ShapeError>(x.ndim() == 3, "CausalSelfAttention: needs (B, T, ", options.dim, "), got ",
                      x.shape());
}

AttentionPositions CausalSelfAttention::positions(std::size_t start, std::size_t length) const {
  return options.position->in_attention(options.heads, options.dim / options.heads, start, length);
}

KeyValueCache CausalSelfAttention::make_cache(std::size_t batch, std::size_t capacity) const {
  const Pause pause;
  const Shape room{batch, options.kv_heads, capacity, options.dim / options.heads};
  return {.keys = zeros(room),
          .values = zeros(room),
          .lengths = std::vector<std::size_t>(batch),
          .window = options.window,
          .positions = positions(0, capacity)};
}

Tensor CausalSelfAttention::operator()(const Tensor& x, KeyValueCache& cache) const {
  const Scope here = enter();
  check_input(x);
  require<std::logic_error>(!is_training() || options.dropout == 0,
                            "CausalSelfAttention: dropout and a cache; call eval() first");
  return c_proj(cached_attention(c_attn(x), options.heads, options.kv_heads, cache));
}

Tensor CausalSelfAttention::operator()(const Tensor& x, std::size_t start) const {
  const Scope here = enter();
  check_input(x);
  const std::size_t heads = options.heads, kv_heads = options.kv_heads;
  const Tensor qkv = c_attn(x);  // (B, T, (H + 2K) d)
  const AttentionOptions how{.window = options.window,
                             .positions = positions(start, x.size(1)),
                             .dropout = is_training() ? options.dropout : 0,
                             .rng = &rng_};
  const Tensor y = options.attention == AttentionImpl::fused
                       ? self_attention(qkv, heads, kv_heads, how)
                       : composite::self_attention(qkv, heads, kv_heads, how);
  return resid_dropout(c_proj(y));
}

std::string CausalSelfAttention::describe() const {
  return concat_text(
      options.dim, ", ", options.heads, " heads",
      options.kv_heads == options.heads ? "" : concat_text(" on ", options.kv_heads, " key heads"));
}

}  // namespace xgrad::inline XGRAD_PRECISION
