// Attention, fused and spelled out. The tiles, and how the gradient comes about, are in
// kernels/attention.cpp.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/kernels/attention.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/recompute.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using kernels::AttentionSizes;
using kernels::AttentionTerms;
using kernels::HeadRows;

/// `keys` is the argument that holds them, called `name`.
void check_options(const char* op, const AttentionSizes& s, const AttentionOptions& options,
                   const char* name, const Shape& keys) {
  const auto& [slopes, bias, rotation] = options.positions;
  require(slopes.empty() || slopes.size() == s.heads, op, ": ", slopes.size(), " slopes for ",
          s.heads, " heads");
  require(options.causal || (!bias.defined() && options.window.size == 0), op, ": a ",
          bias.defined() ? "bias by distance" : "window",
          " looks back, so attention must be causal");
  require<ShapeError>(
      !bias.defined() || (bias.ndim() == 2 && bias.size(0) == s.heads && bias.size(1) >= s.keys),
      op, ": bias by distance ", bias.defined() ? bias.shape() : Shape(), " does not fit ",
      Shape{s.heads, s.keys}, ", or more distances");
  require(options.window.size > 0 || options.window.sinks == 0, op, ": ", options.window.sinks,
          " sinks without a window");
  if (const Tensor& cos = rotation.cos, &sin = rotation.sin; cos.defined()) {
    require<ShapeError>(sin.defined() && cos.ndim() == 2 && cos.shape() == sin.shape() &&
                            2 * cos.size(1) <= s.width,
                        op, ": rotation tables ", cos.shape(), " and ",
                        sin.defined() ? sin.shape() : Shape(),
                        " must be (positions, r/2) with r <= ", s.width);
    require<ShapeError>(rotation.start + s.keys <= cos.size(0), op, ": ", s.keys,
                        " keys from position ", rotation.start, " on are beyond rotation tables ",
                        cos.shape());
    require<ShapeError>(s.queries <= s.keys, op, ": ", s.queries, " queries on ", s.keys,
                        " keys would begin before the rotation's start");
  }
  const Tensor& padding = options.key_padding;
  require<ShapeError>(!padding.defined() || padding.shape() == Shape{s.batch, s.keys}, op,
                      ": key_padding has shape ", padding.defined() ? padding.shape() : Shape(),
                      ", ", name, " ", keys, " needs ", Shape{s.batch, s.keys});
  require(options.dropout >= 0 && options.dropout <= 1, op, ": dropout must be in [0, 1], got ",
          options.dropout);
  require(options.dropout == 0 || options.rng, op, ": dropout needs a random stream");
}

AttentionSizes check_apart(const Tensor& q, const Tensor& k, const Tensor& v,
                           const AttentionOptions& options) {
  require<ShapeError>(
      q.ndim() == 4 && k.ndim() == 4 && v.ndim() == 4 && k.size(0) == q.size(0) &&
          v.size(0) == q.size(0) && k.size(3) == q.size(3) && k.size(1) == v.size(1) &&
          k.size(2) == v.size(2) && k.size(1) > 0 && q.size(1) % k.size(1) == 0,
      "attention: q ", q.shape(), ", k ", k.shape(), ", v ", v.shape(),
      " do not fit (B, H, Tq, d), (B, K, Tk, d), (B, K, Tk, e) with H a multiple of K");
  const AttentionSizes sizes{q.size(0), q.size(1), k.size(1), q.size(2),
                             k.size(2), q.size(3), v.size(3)};
  check_options("attention", sizes, options, "k", k.shape());
  return sizes;
}

/// The sizes of a projection that holds queries, keys and values.
AttentionSizes split(const char* op, const Tensor& qkv, std::size_t heads, std::size_t kv_heads) {
  const std::size_t rows = heads + 2 * kv_heads;
  require(kv_heads > 0 && heads % kv_heads == 0, op, ": ", heads, " heads are not a multiple of ",
          kv_heads, " key heads");
  require<ShapeError>(qkv.ndim() == 3 && qkv.size(2) % std::max<std::size_t>(1, rows) == 0, op,
                      ": qkv ", qkv.shape(), " does not fit (B, T, ", rows, " d) for ", heads,
                      " heads and twice ", kv_heads, " key heads");
  const std::size_t T = qkv.size(1), d = qkv.size(2) / rows;
  return {qkv.size(0), heads, kv_heads, T, T, d, d};
}

AttentionSizes check_packed(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                            const AttentionOptions& options) {
  const AttentionSizes sizes = split("self_attention", qkv, heads, kv_heads);
  check_options("self_attention", sizes, options, "qkv", qkv.shape());
  return sizes;
}

/// What the kernel wants to know; points into `options`.
AttentionTerms terms_of(const AttentionSizes& sizes, const AttentionOptions& options,
                        const Rng& stream) {
  const auto& [slopes, bias, rotation] = options.positions;
  AttentionTerms terms;
  terms.scale =
      static_cast<real>(options.scale.value_or(1 / std::sqrt(static_cast<double>(sizes.width))));
  terms.causal = options.causal;
  terms.window = options.window.size;
  terms.sinks = options.window.sinks;
  if (!slopes.empty()) terms.slopes = slopes.data();
  if (bias.defined()) {
    terms.bias = bias.data();
    terms.bias_stride = bias.size(1);
  }
  if (options.key_padding.defined()) terms.padding = options.key_padding.data();
  if (rotation.cos.defined()) {
    terms.half = rotation.cos.size(1);
    terms.cos = rotation.cos.data() + rotation.start * terms.half;
    terms.sin = rotation.sin.data() + rotation.start * terms.half;
    terms.interleaved = rotation.layout == RopeLayout::interleaved;
    terms.turn_keys = rotation.keys;
  }
  terms.dropout = static_cast<real>(options.dropout);
  terms.stream = stream;
  return terms;
}

/// The draws that dropout() would take for the weights.
Rng take_weights_stream(const AttentionSizes& s, const AttentionOptions& options) {
  if (options.dropout == 0) return Rng();
  const std::size_t count = s.batch * s.heads * s.queries * s.keys;
  return take_stream(*options.rng, count / 4 + (count % 4 != 0));
}

/// Heads of a tensor (B, heads, rows, width).
template <class Number>
HeadRows<Number> apart(Number* data, std::size_t heads, std::size_t rows, std::size_t width) {
  return {data, heads * rows * width, rows * width, width};
}

/// Heads of a tensor (B, rows, heads width), from head `first` on.
template <class Number>
HeadRows<Number> packed(Number* data, std::size_t first, std::size_t heads, std::size_t rows,
                        std::size_t width) {
  return {data + first * width, rows * heads * width, width, heads * width};
}

/// The inputs with the bias as their last, if there is one.
std::vector<Tensor> with_bias(std::vector<Tensor> inputs, const AttentionOptions& options) {
  if (options.positions.bias.defined()) inputs.push_back(options.positions.bias);
  return inputs;
}

/// Where the gradient of the bias, input i, goes; undefined if there is none or nobody wants it.
Tensor room_for_bias(const RawPull& r, std::size_t i, const AttentionOptions& options) {
  if (!options.positions.bias.defined()) return {};
  const Tensor bias = r.in(i);
  return r.needs(i) ? Tensor::empty(bias.shape()) : Tensor();
}

/// distances(i, j) = how far key j lies before query i, (Tq, Tk).
Indices distances(std::size_t queries, std::size_t keys) {
  Indices result = Indices::from_shape({queries, keys});
  for (std::size_t i = 0; i < queries; ++i)
    for (std::size_t j = 0; j < keys; ++j)
      result(i, j) = static_cast<std::int64_t>(i + keys) - static_cast<std::int64_t>(queries + j);
  return result;
}

/// What is added to the scores: -m_h |i - j| where query i sees key j, -inf where it does not. One
/// plane per head, or a single one without slopes: (H or 1, Tq, Tk).
Tensor slopes_and_mask(const AttentionOptions& options, const Indices& distances) {
  const std::vector<real>& slopes = options.positions.slopes;
  const std::size_t planes = std::max<std::size_t>(1, slopes.size());
  const std::size_t queries = distances.shape(0), keys = distances.shape(1);
  const auto window = static_cast<std::int64_t>(options.window.size);
  Tensor bias = Tensor::empty({planes, queries, keys});
  real* out = bias.mutable_data();
  for (std::size_t h = 0; h < planes; ++h) {
    const real slope = slopes.empty() ? 0 : slopes[h];
    for (std::size_t i = 0; i < queries; ++i)
      for (std::size_t j = 0; j < keys; ++j) {
        const std::int64_t distance = distances(i, j);
        const bool later = options.causal && distance < 0;
        const bool left = window > 0 && distance >= window && j >= options.window.sinks;
        *out++ = later || left ? -std::numeric_limits<real>::infinity()
                               : -slope * static_cast<real>(std::abs(distance));
      }
  }
  return bias;
}

}  // namespace

Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options) {
  const AttentionSizes s = check_apart(q, k, v, options);
  const Rng stream = take_weights_stream(s, options);
  Tensor y = Tensor::empty({s.batch, s.heads, s.queries, s.value_width});
  Tensor lse = Tensor::empty({s.batch, s.heads, s.queries});
  const auto query_heads = [s](auto* data, std::size_t width) {
    return apart(data, s.heads, s.queries, width);
  };
  const auto key_heads = [s](auto* data, std::size_t width) {
    return apart(data, s.kv_heads, s.keys, width);
  };
  kernels::attention(s, terms_of(s, options, stream), query_heads(q.data(), s.width),
                     key_heads(k.data(), s.width), key_heads(v.data(), s.value_width),
                     query_heads(y.mutable_data(), s.value_width), lse.mutable_data());
  return record_fused(
      "attention", "composite::attention", with_bias({q, k, v}, options), y, Keep::everything,
      [=](RawPull& r) {
        const Tensor q = r.in(0), k = r.in(1), v = r.in(2), y = r.out(), grad = r.grad();
        Tensor dq = Tensor::empty(q.shape()), dk = Tensor::empty(k.shape()),
               dv = Tensor::empty(v.shape()), dbias = room_for_bias(r, 3, options);
        kernels::attention_vjp(
            s, terms_of(s, options, stream), query_heads(q.data(), s.width),
            key_heads(k.data(), s.width), key_heads(v.data(), s.value_width),
            query_heads(y.data(), s.value_width), lse.data(),
            query_heads(grad.data(), s.value_width), query_heads(dq.mutable_data(), s.width),
            key_heads(dk.mutable_data(), s.width), key_heads(dv.mutable_data(), s.value_width),
            dbias.defined() ? dbias.mutable_data() : nullptr);
        r.to(0, std::move(dq));
        r.to(1, std::move(dk));
        r.to(2, std::move(dv));
        if (dbias.defined()) r.to(3, std::move(dbias));
      });
}

Tensor self_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                      const AttentionOptions& options) {
  const AttentionSizes s = check_packed(qkv, heads, kv_heads, options);
  const Rng stream = take_weights_stream(s, options);
  Tensor y = Tensor::empty({s.batch, s.queries, s.heads * s.width});
  Tensor lse = Tensor::empty({s.batch, s.heads, s.queries});
  const auto part = [s](auto* data, std::size_t first) {
    return packed(data, first, s.heads + 2 * s.kv_heads, s.queries, s.width);
  };
  const auto result = [s](auto* data) { return packed(data, 0, s.heads, s.queries, s.width); };
  const std::size_t keys = s.heads, values = s.heads + s.kv_heads;  // where these heads begin
  kernels::attention(s, terms_of(s, options, stream), part(qkv.data(), 0), part(qkv.data(), keys),
                     part(qkv.data(), values), result(y.mutable_data()), lse.mutable_data());
  return record_fused("self_attention", "composite::self_attention", with_bias({qkv}, options), y,
                      Keep::everything, [=](RawPull& r) {
                        const Tensor qkv = r.in(0), y = r.out(), grad = r.grad();
                        Tensor d = Tensor::empty(qkv.shape()), dbias = room_for_bias(r, 1, options);
                        real* to = d.mutable_data();
                        kernels::attention_vjp(s, terms_of(s, options, stream), part(qkv.data(), 0),
                                               part(qkv.data(), keys), part(qkv.data(), values),
                                               result(y.data()), lse.data(), result(grad.data()),
                                               part(to, 0), part(to, keys), part(to, values),
                                               dbias.defined() ? dbias.mutable_data() : nullptr);
                        r.to(0, std::move(d));
                        if (dbias.defined()) r.to(1, std::move(dbias));
                      });
}

Tensor cached_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                        KeyValueCache& cache, std::optional<double> scale) {
  AttentionSizes s = split("cached_attention", qkv, heads, kv_heads);
  require(cache.keys.defined() && cache.values.defined(),
          "cached_attention: the cache has no room");
  const Shape room = cache.keys.shape();
  require<ShapeError>(room == cache.values.shape() && room.size() == 4 && room[0] == s.batch &&
                          room[1] == kv_heads && room[3] == s.width &&
                          cache.lengths.size() == s.batch,
                      "cached_attention: a cache of keys ", room, ", values ", cache.values.shape(),
                      " and ", cache.lengths.size(), " lengths does not fit (", s.batch, ", ",
                      kv_heads, ", capacity, ", s.width, ")");
  s.keys = room[2];
  for (const std::size_t length : cache.lengths)
    require<ShapeError>(length + s.queries <= s.keys, "cached_attention: ", length + s.queries,
                        " tokens are more than the cache ", room, " has room for");
  const AttentionOptions options{
      .window = cache.window, .scale = scale, .positions = cache.positions};
  check_options("cached_attention", s, options, "qkv", qkv.shape());
  require<std::logic_error>(detail::count_wanting(with_bias({qkv}, options)) == 0,
                            "cached_attention: has no gradient; pause the tape or detach()");

  Tensor y = Tensor::empty({s.batch, s.queries, heads * s.width});
  Tensor lse = Tensor::empty({s.batch, heads, s.queries});
  real *keys = cache.keys.mutable_data(), *values = cache.values.mutable_data(),
       *out = y.mutable_data(), *out_lse = lse.mutable_data();
  // Texts of different lengths: each is a problem of its own.
  const auto attend = [&](std::size_t b) {
    const std::size_t first = cache.lengths[b], rows = heads + 2 * kv_heads;
    AttentionSizes one = s;
    one.batch = 1;
    one.keys = first + s.queries;
    const auto part = [&](std::size_t head) {
      return packed(qkv.data() + b * s.queries * rows * s.width, head, rows, s.queries, s.width);
    };
    const auto in_cache = [&](real* x, std::size_t row) {
      return apart(x + (b * kv_heads * s.keys + row) * s.width, kv_heads, s.keys, s.width);
    };
    const auto read = [&](const real* x) {
      return apart(x + b * kv_heads * s.keys * s.width, kv_heads, s.keys, s.width);
    };
    AttentionTerms terms = terms_of(s, options, Rng());
    // Turned on their way into the cache, for all texts to come.
    kernels::turn_keys(one, terms, first, s.queries, part(heads), in_cache(keys, first));
    terms.turn_keys = false;
    AttentionTerms plain = terms;
    plain.half = 0;
    kernels::turn_keys(one, plain, first, s.queries, part(heads + kv_heads),
                       in_cache(values, first));
    kernels::attention(one, terms, part(0), read(keys), read(values),
                       packed(out + b * s.queries * heads * s.width, 0, heads, s.queries, s.width),
                       out_lse + b * heads * s.queries);
  };
  // Many texts share the threads; of few, each has them all.
  parallel_for(s.batch, s.batch < 8 ? s.batch : 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin; b < end; ++b) attend(b);
  });
  for (std::size_t& length : cache.lengths) length += s.queries;
  return y;
}

Tensor composite::attention(const Tensor& q, const Tensor& k, const Tensor& v,
                            const AttentionOptions& options) {
  const auto [B, H, K, queries, keys, d, e] = check_apart(q, k, v, options);
  const std::size_t group = H / K;
  const auto& [slopes, bias, rotation] = options.positions;
  const Tensor& padding = options.key_padding;
  const auto scale =
      static_cast<real>(options.scale.value_or(1 / std::sqrt(static_cast<double>(d))));
  const auto turned = [&r = rotation](const Tensor& x, std::size_t first) {
    const auto rows = [&](const Tensor& table) {
      const auto start = static_cast<std::int64_t>(r.start + first);
      return slice(table, 0, start, start + static_cast<std::int64_t>(x.size(2)));
    };
    return r.cos.defined() ? rope(x, rows(r.cos), rows(r.sin), r.layout) : x;
  };

  // Query heads in groups of `group` share a key head: the group is a batch axis that k and v
  // broadcast over.
  const Tensor grouped = reshape(turned(q, keys - queries), {B, K, group, queries, d});
  const Tensor shared = reshape(rotation.keys ? turned(k, 0) : k, {B, K, 1, keys, d});
  Tensor scores = scale * matmul(grouped, shared, {.transpose_b = true});  // (B, K, g, Tq, Tk)
  const Indices distance = distances(queries, keys);
  if (bias.defined()) {
    // Later keys have no column; the mask takes them out, whatever they find in column 0.
    Indices columns = Indices::from_shape({distance.size()});
    std::transform(distance.begin(), distance.end(), columns.begin(),
                   [](std::int64_t n) { return std::max<std::int64_t>(n, 0); });
    scores = scores + reshape(index_select(bias, 1, columns), {K, group, queries, keys});
  }
  if (options.causal || !slopes.empty()) {
    const Tensor terms = slopes_and_mask(options, distance);
    scores = scores + (terms.size(0) == 1 ? terms : reshape(terms, {K, group, queries, keys}));
  }
  if (padding.defined())
    scores = masked_fill(scores, reshape(padding, {B, 1, 1, 1, keys}),
                         -std::numeric_limits<real>::infinity());
  Tensor weights = softmax(scores);
  if (options.dropout > 0)
    weights = dropout(weights, static_cast<real>(options.dropout), *options.rng);
  return reshape(matmul(weights, reshape(v, {B, K, 1, keys, e})), {B, H, queries, e});
}

Tensor composite::self_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                                 const AttentionOptions& options) {
  const AttentionSizes s = check_packed(qkv, heads, kv_heads, options);
  const auto part = [&](std::size_t first, std::size_t count) {
    const Tensor rows = slice(qkv, -1, static_cast<std::int64_t>(first * s.width),
                              static_cast<std::int64_t>((first + count) * s.width));
    return permute(reshape(rows, {s.batch, s.keys, count, s.width}), {0, 2, 1, 3});
  };
  const Tensor y = composite::attention(part(0, heads), part(heads, kv_heads),
                                        part(heads + kv_heads, kv_heads), options);
  return reshape(permute(y, {0, 2, 1, 3}), {s.batch, s.keys, heads * s.width});
}

}  // namespace xgrad::inline XGRAD_PRECISION
