// Rows of attention, apart and on one projection, fused and spelled out, with all it may do.
#include "op_table.hpp"

#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;
using Shapes = std::vector<std::vector<std::size_t>>;

/// Tables of the angles 0, 0.7, 1.4, …; position 0 is not used.
RopeTables rotation(std::size_t positions, std::size_t half, RopeLayout layout) {
  const Tensor angles =
      reshape(arange(0, static_cast<real>(positions * half)) * real(0.7),
              {static_cast<std::int64_t>(positions), static_cast<std::int64_t>(half)});
  return {.cos = cos(angles), .sin = sin(angles), .start = 1, .layout = layout};
}

/// Every third key of the first of two texts, and all of the second but its first.
Tensor padding(std::size_t keys) {
  Tensor mask = ones({2, keys});
  for (std::size_t j = 0; j < keys; ++j) mask.mutable_data()[j] = j % 3 == 2 ? 1 : 0;
  if (keys > 0) mask.mutable_data()[keys] = 0;
  return mask;
}

/// Rows of an operation on x[0], …, given its options by how many keys there are. The last input
/// may be a bias by distance.
struct Variant {
  std::string name;
  std::function<AttentionOptions(std::size_t)> options;
  bool bias = false;
};

const std::vector<Variant> variants{
    {"", [](std::size_t) { return AttentionOptions{}; }},
    {" grouped, alibi",
     [](std::size_t) {
       return AttentionOptions{.scale = 0.4,
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}}};
     }},
    {" rope",
     [](std::size_t keys) {
       return AttentionOptions{
           .positions = {.rotation = rotation(keys + 1, 2, RopeLayout::half_split)}};
     }},
    {" rope interleaved, part",
     [](std::size_t keys) {
       return AttentionOptions{
           .positions = {.rotation = rotation(keys + 3, 1, RopeLayout::interleaved)}};
     }},
    {" padding", [](std::size_t keys) { return AttentionOptions{.key_padding = padding(keys)}; }},
    {" not causal, padding, alibi",
     [](std::size_t keys) {
       return AttentionOptions{.causal = false,
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}},
                               .key_padding = padding(keys)};
     }},
    {" dropout", [](std::size_t) { return AttentionOptions{.dropout = 0.3}; }},
    {" window", [](std::size_t) { return AttentionOptions{.window = {.size = 2}}; }},
    {" window, sinks, rope",
     [](std::size_t keys) {
       return AttentionOptions{
           .window = {.size = 1, .sinks = 1},
           .positions = {.rotation = rotation(keys + 1, 2, RopeLayout::half_split)}};
     }},
    {" window, padding, alibi, dropout",
     [](std::size_t keys) {
       return AttentionOptions{.window = {.size = 2, .sinks = 1},
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}},
                               .key_padding = padding(keys),
                               .dropout = 0.3};
     }},
    {" bias", [](std::size_t) { return AttentionOptions{}; }, true},
    {" bias, window, sinks, alibi",
     [](std::size_t) {
       return AttentionOptions{.window = {.size = 2, .sinks = 1},
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}}};
     },
     true},
    {" bias, padding, rope, dropout",
     [](std::size_t keys) {
       return AttentionOptions{
           .positions = {.rotation = rotation(keys + 3, 1, RopeLayout::interleaved)},
           .key_padding = padding(keys),
           .dropout = 0.3};
     },
     true},
};

std::vector<ErrorRow> errors() {
  const Tensor q = zeros({1, 4, 3, 2}), k = zeros({1, 2, 3, 2}), qkv = zeros({2, 5, 16});
  const RopeTables turns = rotation(3, 1, RopeLayout::half_split);  // start 1: two positions
  return {
      {[=] {
         attention(q, zeros({1, 3, 3, 2}), zeros({1, 3, 3, 2}));
       },
       "attention: q (1, 4, 3, 2), k (1, 3, 3, 2), v (1, 3, 3, 2) do not fit (B, H, Tq, d), (B, K, "
       "Tk, d), (B, K, Tk, e) with H a multiple of K"},
      {[=] {
         attention(q, k, k, {.positions = {.slopes = {1, 2}}});
       },
       "attention: 2 slopes for 4 heads"},
      {[=] {
         attention(q, k, k, {.key_padding = zeros({1, 4})});
       },
       "attention: key_padding has shape (1, 4), k (1, 2, 3, 2) needs (1, 3)"},
      {[=] { attention(q, k, k, {.causal = false, .window = {.size = 2}}); },
       "attention: a window looks back, so attention must be causal"},
      {[=] {
         attention(q, k, k, {.causal = false, .positions = {.bias = zeros({4, 3})}});
       },
       "attention: a bias by distance looks back, so attention must be causal"},
      {[=] { attention(q, k, k, {.window = {.sinks = 2}}); },
       "attention: 2 sinks without a window"},
      {[=] {
         attention(q, k, k, {.positions = {.bias = zeros({2, 3})}});
       },
       "attention: bias by distance (2, 3) does not fit (4, 3), or more distances"},
      {[=] { attention(q, k, k, {.positions = {.bias = zeros({4})}}); },
       "attention: bias by distance (4,) does not fit (4, 3), or more distances"},
      {[=] {
         self_attention(qkv, 4, 2, {.positions = {.bias = zeros({4, 4})}});
       },
       "self_attention: bias by distance (4, 4) does not fit (4, 5), or more distances"},
      {[=] { self_attention(qkv, 4, 2, {.causal = false, .window = {.size = 1}}); },
       "self_attention: a window looks back, so attention must be causal"},
      {[=] { attention(q, k, k, {.dropout = 0.1}); }, "attention: dropout needs a random stream"},
      {[=] { attention(q, k, k, {.dropout = 2}); }, "attention: dropout must be in [0, 1], got 2"},
      {[=] {
         attention(q, k, k,
                   {.positions = {.rotation = {.cos = zeros({3, 2}), .sin = zeros({3, 2})}}});
       },
       "attention: rotation tables (3, 2) and (3, 2) must be (positions, r/2) with r <= 2"},
      {[=] {
         attention(q, k, k, {.positions = {.rotation = {.cos = zeros({3, 1})}}});
       },
       "attention: rotation tables (3, 1) and () must be (positions, r/2) with r <= 2"},
      {[=] { attention(q, k, k, {.positions = {.rotation = turns}}); },
       "attention: 3 keys from position 1 on are beyond rotation tables (3, 1)"},
      {[=] {
         const Tensor fewer = zeros({1, 2, 2, 2});
         attention(q, fewer, fewer, {.positions = {.rotation = turns}});
       },
       "attention: 3 queries on 2 keys would begin before the rotation's start"},
      {[=] { self_attention(qkv, 4, 3); },
       "self_attention: 4 heads are not a multiple of 3 key heads"},
      {[=] { self_attention(qkv, 4, 0); },
       "self_attention: 4 heads are not a multiple of 0 key heads"},
      {[=] { self_attention(qkv, 4, 4); },
       "self_attention: qkv (2, 5, 16) does not fit (B, T, 12 d) for 4 heads and twice 4 key "
       "heads"},
      {[=] {
         self_attention(zeros({5, 16}), 4, 2);
       },
       "self_attention: qkv (5, 16) does not fit (B, T, 8 d) for 4 heads and twice 2 key heads"},
      {[=] {
         self_attention(qkv, 4, 2, {.key_padding = zeros({2, 4})});
       },
       "self_attention: key_padding has shape (2, 4), qkv (2, 5, 16) needs (2, 5)"},
      {[=] {
         Tensor x = qkv.clone().requires_grad_();
         Tape tape;
         tape.gradient(self_attention(x, 4, 2), x, {.record = true}, ones({2, 5, 8}));
       },
       "self_attention: a fused operation has no second derivative; use composite::self_attention "
       "to differentiate twice"},
      {[=] {
         Tensor x = q.clone().requires_grad_();
         Tape tape;
         tape.gradient(attention(x, k, k), x, {.record = true}, ones({1, 4, 3, 2}));
       },
       "attention: a fused operation has no second derivative; use composite::attention to "
       "differentiate twice"},
  };
}

}  // namespace

OpFamily attention_rows() {
  std::vector<OpRow> rows;
  for (const auto& [name, options, bias] : variants)
    for (const bool fused : {true, false}) {
      const auto with = [options = options, bias = bias](List x, std::size_t keys, Rng& rng) {
        AttentionOptions o = options(keys);
        if (bias) o.positions.bias = x.back();
        o.rng = &rng;
        return o;
      };
      const auto and_bias = [bias = bias](Shapes shapes) {
        if (bias) shapes.push_back({4, N});
        return shapes;
      };
      rows.push_back({(fused ? "attention" : "composite::attention") + name,
                      [=](List x) {
                        Rng rng(7);
                        return (fused ? attention : composite::attention)(
                            x[0], x[1], x[2], with(x, x[1].size(2), rng));
                      },
                      and_bias({{2, 4, 2, 4}, {2, 2, N, 4}, {2, 2, N, 3}}),
                      -2,
                      2,
                      fused,
                      {2, 5},
                      300});
      rows.push_back({(fused ? "self_attention" : "composite::self_attention") + name,
                      [=](List x) {
                        Rng rng(7);
                        return (fused ? self_attention : composite::self_attention)(
                            x[0], 4, 2, with(x, x[0].size(1), rng));
                      },
                      and_bias({{2, N, 32}}),
                      -2,
                      2,
                      fused,
                      {1, 5},
                      150});
    }
  return {std::move(rows), errors()};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
