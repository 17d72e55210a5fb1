// Attention in tiles: softmax(scale q k^T + bias) v without ever holding a row of scores.
// Bound by arithmetic: two products of matrices forward, five backward, each a few vectors wide.
#pragma once

#include <cstddef>

#include <xgrad/core/random.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// The heads of a tensor where they lie: row t of head h of sample b begins at
/// data + b batch + h head + t row, and is contiguous. Serves heads that stand apart, (B, H, T, d),
/// heads side by side in a projection, (B, T, H d), and a cache with room for more rows.
template <class Number>
struct HeadRows {
  Number* data;
  std::size_t batch, head, row;
  Number* at(std::size_t b, std::size_t h, std::size_t t) const {
    return data + b * batch + h * head + t * row;
  }
};
using Heads = HeadRows<const real>;
using MutableHeads = HeadRows<real>;

struct AttentionSizes {
  std::size_t batch, heads, kv_heads;  // query head h reads key head h kv_heads / heads
  std::size_t queries, keys;           // query i stands at position keys - queries + i
  std::size_t width, value_width;      // of a head's row in q and k, and in v and the result
};

/// What is done to the scores beside scaling them. All pointers may be null.
struct AttentionTerms {
  real scale = 1;
  bool causal = true;             // query i sees the keys at or before its position,
  std::size_t window = 0;         // if not 0, of these the last `window`
  std::size_t sinks = 0;          // and the keys 0, …, sinks - 1
  const real* slopes = nullptr;   // (heads,): slope * |distance| is taken off
  const real* bias = nullptr;     // (heads, bias_stride): bias[distance] is added; causal only
  std::size_t bias_stride = 0;    // at least keys
  const real* padding = nullptr;  // (batch, keys): keys that are not 0 here are not seen
  // Row p of the tables, (…, half), turns the features of position p; keys only if turn_keys.
  const real *cos = nullptr, *sin = nullptr;
  std::size_t half = 0;
  bool interleaved = false, turn_keys = true;
  real dropout = 0;  // word n of the stream decides on weight n of (batch, heads, queries, keys)
  Rng stream{};
};

/// out = weights v, and lse (batch, heads, queries) = log of the sum of exp(scores) of each row, by
/// which the backward pass knows the weights again. A row that sees no key has out 0 and lse -inf.
void attention(const AttentionSizes& sizes, const AttentionTerms& terms, const Heads& q,
               const Heads& k, const Heads& v, const MutableHeads& out, real* lse);

/// out = k, row t turned as position first + t says.
void turn_keys(const AttentionSizes& sizes, const AttentionTerms& terms, std::size_t first,
               std::size_t rows, const Heads& k, const MutableHeads& out);

/// The gradients, written over dq, dk, dv and, unless null, dbias (heads, bias_stride), from `grad`,
/// that of out.
void attention_vjp(const AttentionSizes& sizes, const AttentionTerms& terms, const Heads& q,
                   const Heads& k, const Heads& v, const Heads& out, const real* lse,
                   const Heads& grad, const MutableHeads& dq, const MutableHeads& dk,
                   const MutableHeads& dv, real* dbias);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
