// Causal attention; see attention.hpp.
#include <xgrad/nn/attention.hpp>

#include <cmath>
#include <limits>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// What is added to the scores: -m_h (i - j) where query i sees key j, -inf where it does not. One
/// plane per head, or a single one without slopes: (H or 1, Tq, Tk).
Tensor score_bias(const AttentionOptions& options, std::size_t queries, std::size_t keys) {
  const std::size_t planes = std::max<std::size_t>(1, options.slopes.size());
  const auto offset = static_cast<std::int64_t>(keys) - static_cast<std::int64_t>(queries);
  Tensor bias = Tensor::empty({planes, queries, keys});
  real* out = bias.mutable_data();
  for (std::size_t h = 0; h < planes; ++h) {
    const real slope = options.slopes.empty() ? 0 : options.slopes[h];
    for (std::size_t i = 0; i < queries; ++i)
      for (std::size_t j = 0; j < keys; ++j) {
        const std::int64_t distance =
            static_cast<std::int64_t>(i) + offset - static_cast<std::int64_t>(j);
        *out++ = options.causal && distance < 0 ? -std::numeric_limits<real>::infinity()
                                                : -slope * static_cast<real>(std::abs(distance));
      }
  }
  return bias;
}

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

Tensor composite::attention(const Tensor& q, const Tensor& k, const Tensor& v,
                            const AttentionOptions& options) {
  require<ShapeError>(
      q.ndim() == 4 && k.ndim() == 4 && v.ndim() == 4 && k.size(0) == q.size(0) &&
          v.size(0) == q.size(0) && k.size(3) == q.size(3) && k.size(1) == v.size(1) &&
          k.size(2) == v.size(2) && k.size(1) > 0 && q.size(1) % k.size(1) == 0,
      "attention: q ", q.shape(), ", k ", k.shape(), ", v ", v.shape(),
      " do not fit (B, H, Tq, d), (B, K, Tk, d), (B, K, Tk, e) with H a multiple of K");
  const std::size_t B = q.size(0), H = q.size(1), queries = q.size(2), d = q.size(3);
  const std::size_t K = k.size(1), keys = k.size(2), e = v.size(3), group = H / K;
  require(options.slopes.empty() || options.slopes.size() == H,
          "attention: ", options.slopes.size(), " slopes for ", H, " heads");
  const Tensor& padding = options.key_padding;
  require<ShapeError>(
      !padding.defined() || padding.shape() == Shape{B, keys}, "attention: key_padding has shape ",
      padding.defined() ? padding.shape() : Shape(), ", k ", k.shape(), " needs ", Shape{B, keys});
  require(options.dropout == 0 || options.rng, "attention: dropout needs a random stream");
  const auto scale =
      static_cast<real>(options.scale.value_or(1 / std::sqrt(static_cast<double>(d))));

  // Query heads in groups of `group` share a key head: the group is a batch axis that k and v
  // broadcast over.
  const Tensor grouped = reshape(q, {B, K, group, queries, d});
  Tensor scores = scale * matmul(grouped, reshape(k, {B, K, 1, keys, d}),
                                 {.transpose_b = true});  // (B, K, g, Tq, Tk)
  if (options.causal || !options.slopes.empty()) {
    const Tensor bias = score_bias(options, queries, keys);
    scores = scores + (bias.size(0) == 1 ? bias : reshape(bias, {K, group, queries, keys}));
  }
  if (padding.defined())
    scores = masked_fill(scores, reshape(padding, {B, 1, 1, 1, keys}),
                         -std::numeric_limits<real>::infinity());
  Tensor weights = softmax(scores);
  if (options.dropout > 0)
    weights = dropout(weights, static_cast<real>(options.dropout), *options.rng);
  return reshape(matmul(weights, reshape(v, {B, K, 1, keys, e})), {B, H, queries, e});
}

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

Tensor CausalSelfAttention::operator()(const Tensor& x, std::size_t start) const {
  const Scope here = enter();
  require<ShapeError>(x.ndim() == 3, "CausalSelfAttention: needs (B, T, ", options.dim, "), got ",
                      x.shape());
  const std::size_t B = x.size(0), T = x.size(1), D = options.dim, H = options.heads,
                    K = options.kv_heads, d = D / H;
  const Tensor qkv = c_attn(x);  // (B, T, (H + 2K) d)
  const auto heads = [&](std::size_t first, std::size_t count) {
    const Tensor part = slice(qkv, -1, static_cast<std::int64_t>(first * d),
                              static_cast<std::int64_t>((first + count) * d));
    return permute(reshape(part, {B, T, count, d}), {0, 2, 1, 3});  // (B, heads, T, d)
  };
  const Tensor q = options.position->on_query(heads(0, H), start);
  const Tensor k = options.position->on_key(heads(H, K), start);
  const Tensor y = composite::attention(q, k, heads(H + K, K),
                                        {.slopes = options.position->slopes(H),
                                         .dropout = is_training() ? options.dropout : 0,
                                         .rng = &rng_});
  return resid_dropout(c_proj(reshape(permute(y, {0, 2, 1, 3}), {B, T, D})));
}

std::string CausalSelfAttention::describe() const {
  return concat_text(
      options.dim, ", ", options.heads, " heads",
      options.kv_heads == options.heads ? "" : concat_text(" on ", options.kv_heads, " key heads"));
}

}  // namespace xgrad::inline XGRAD_PRECISION
