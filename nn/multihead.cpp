// Multi-head attention; see multihead.hpp.
#include <xgrad/nn/multihead.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

MultiheadAttentionOptions checked(MultiheadAttentionOptions o) {
  require(o.heads > 0 && o.dim > 0 && o.dim % o.heads == 0, "MultiheadAttention: width ", o.dim,
          " is not divisible by ", o.heads, " heads");
  require(o.dropout >= 0 && o.dropout <= 1, "MultiheadAttention: dropout must be in [0, 1], got ",
          o.dropout);
  return o;
}

Tensor glorot_init(std::size_t out, std::size_t in, Rng rng) {
  const auto bound = static_cast<real>(std::sqrt(6 / static_cast<double>(in + out)));
  return init::uniform(zeros({out, in}), -bound, bound, rng);
}

}  // namespace

MultiheadAttention::MultiheadAttention(Module* owner, std::string name, MultiheadAttentionOptions o)
    : Module(owner, std::move(name)),
      options(checked(o)),
      in_proj_weight(this, "in_proj_weight",
                     glorot_init(3 * o.dim, o.dim, init_rng("in_proj_weight"))),
      in_proj_bias(this, "in_proj_bias", o.bias ? zeros(3 * o.dim) : Tensor()),
      out_proj(this, "out_proj", {.in = o.dim, .out = o.dim, .bias = o.bias}),
      rng_(init_rng("dropout")) {
  if (o.bias) init::constant(out_proj.bias, 0);
}

Tensor MultiheadAttention::operator()(const Tensor& query, const Tensor& key, const Tensor& value,
                                      const MultiheadMask& mask) const {
  const Scope here = enter();
  const std::size_t D = options.dim, H = options.heads;
  require<ShapeError>(query.ndim() == 3 && key.ndim() == 3 && query.size(0) == key.size(0) &&
                          query.size(2) == D && key.size(2) == D && value.shape() == key.shape(),
                      "MultiheadAttention(", describe(), "): query ", query.shape(), ", key ",
                      key.shape(), ", value ", value.shape(), " do not fit (B, Tq, ", D,
                      "), (B, Tk, ", D, "), (B, Tk, ", D, ")");
  const Shape keys{key.size(0), key.size(1)};
  require<ShapeError>(!mask.key_padding.defined() || mask.key_padding.shape() == keys,
                      "MultiheadAttention(", describe(), "): key_padding has shape ",
                      mask.key_padding.defined() ? mask.key_padding.shape() : Shape(), ", key ",
                      key.shape(), " needs ", keys);
  const auto rows = static_cast<std::int64_t>(D);
  const auto weights = split(in_proj_weight, rows);
  const auto biases = options.bias ? split(in_proj_bias, rows) : std::vector<Tensor>(3);
  const auto heads = [&](const Tensor& x, std::size_t part) {
    const Tensor y = linear(x, weights[part], biases[part]);
    return permute(reshape(y, {y.size(0), y.size(1), H, D / H}), {0, 2, 1, 3});  // (B, H, T, d)
  };
  const auto attend =
      options.attention == AttentionImpl::fused ? &attention : &composite::attention;
  const Tensor y = attend(heads(query, 0), heads(key, 1), heads(value, 2),
                          {.causal = mask.causal,
                           .key_padding = mask.key_padding,
                           .dropout = is_training() ? options.dropout : 0,
                           .rng = &rng_});
  return out_proj(reshape(permute(y, {0, 2, 1, 3}), query.shape()));
}

std::string MultiheadAttention::describe() const {
  return concat_text(options.dim, ", ", options.heads, " heads");
}

}  // namespace xgrad::inline XGRAD_PRECISION
