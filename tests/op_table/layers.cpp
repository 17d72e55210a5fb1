// Rows of what nn/ composes: losses, activations with slopes, recurrent cells, multi-head attention
// with their parameters among the inputs, and the entropies of quantizers.
#include "op_table.hpp"

#include <xgrad/nn/activation.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/nn/multihead.hpp>
#include <xgrad/nn/recurrent.hpp>
#include <xgrad/nn/vq/lfq.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

/// 0, 1, 2, 0, 1, 2, …, but for an ignored one in second place.
Indices targets(std::size_t count) {
  Indices ids = Indices::from_shape({count});
  for (std::size_t i = 0; i < count; ++i)
    ids.data()[i] = i == 1 ? -100 : static_cast<std::int64_t>(i % 3);
  return ids;
}

/// 1, -1, 1, -1, …
Indices labels(std::size_t count) {
  Indices ids = Indices::from_shape({count});
  for (std::size_t i = 0; i < count; ++i) ids.data()[i] = i % 2 == 0 ? 1 : -1;
  return ids;
}

/// Puts a row's input in the place of a parameter.
void put(Tensor& parameter, const Tensor& input) { parameter = input; }

template <class Cell>
Cell& put_all(Cell& cell, List x, std::size_t first) {
  put(cell.weight_ih, x[first]);
  put(cell.weight_hh, x[first + 1]);
  put(cell.bias_ih, x[first + 2]);
  put(cell.bias_hh, x[first + 3]);
  return cell;
}

Tensor gru(List x) {
  GruCell cell({.in = 3, .hidden = 2});
  return put_all(cell, x, 2)(x[0], x[1]);
}

Tensor gru_over_time(List x) {
  GruCell cell({.in = 3, .hidden = 2});
  put_all(cell, x, 1);
  Tensor h;
  for (const Tensor& step : split(x[0], 1, 1)) h = cell(squeeze(step, 1), h);
  return h;
}

Tensor lstm(List x) {
  LstmCell cell({.in = 3, .hidden = 2});
  const LstmState next = put_all(cell, x, 3)(x[0], {.h = x[1], .c = x[2]});
  return concat({next.h, next.c}, -1);
}

Tensor multihead(List x, const MultiheadMask& mask = {},
                 AttentionImpl attention = AttentionImpl::fused) {
  MultiheadAttention attn({.dim = 4, .heads = 2, .attention = attention});
  put(attn.in_proj_weight, x[3]);
  put(attn.in_proj_bias, x[4]);
  put(attn.out_proj.weight, x[5]);
  put(attn.out_proj.bias, x[6]);
  return attn(x[0], x[1], x[2], mask);
}

/// A mask for two texts: every third key of the first, and all of the second.
Tensor padding(std::size_t keys) {
  Tensor mask = ones({2, keys});
  for (std::size_t j = 0; j < keys; ++j) mask.mutable_data()[j] = j % 3 == 2 ? 1 : 0;
  return mask;
}

std::vector<ErrorRow> errors() {
  const Tensor x = zeros({2, 3}), y = zeros({2, 1}), two = zeros(2);
  const Indices ids({1, 1});
  const Tensor q = zeros({2, 3, 4}), k = zeros({2, 5, 4}), heads = zeros({2, 1, 3, 4});
  return {
      {[=] { mse_loss(x, y); }, "mse_loss: prediction has shape (2, 3), target (2, 1)"},
      {[=] { l1_loss(x, y); }, "l1_loss: prediction has shape (2, 3), target (2, 1)"},
      {[=] { huber_loss(x, y); }, "huber_loss: prediction has shape (2, 3), target (2, 1)"},
      {[=] { huber_loss(x, x, 0); }, "huber_loss: needs delta > 0, got 0"},
      {[=] { bce_with_logits(x, y); }, "bce_with_logits: logits have shape (2, 3), target (2, 1)"},
      {[=] { nll_loss(scalar(1), ids); },
       "nll_loss: log_probs needs at least 1 axis, got shape ()"},
      {[=] {
         nll_loss(x, Indices({0, 1, 2}));
       },
       "nll_loss: log_probs (2, 3) needs targets of shape (2,), got (3,)"},
      {[=] {
         nll_loss(x, Indices({0, 3}));
       },
       "nll_loss: target 1 is 3, outside [0, 3)"},
      {[=] {
         nll_loss(x, Indices({-1, 0}));
       },
       "nll_loss: target 0 is -1, outside [0, 3)"},
      {[=] {
         nll_loss(zeros({2, 0}), ids);
       },
       "nll_loss: target 0 is 1, outside [0, 0)"},
      {[=] { kl_div(x, y); }, "kl_div: log_prediction has shape (2, 3), target (2, 1)"},
      {[=] { cosine_embedding_loss(x, y, ids); },
       "cosine_embedding_loss: a has shape (2, 3), b (2, 1)"},
      {[=] { cosine_embedding_loss(scalar(1), scalar(1), ids); },
       "cosine_embedding_loss: a needs at least 1 axis, got shape ()"},
      {[=] {
         cosine_embedding_loss(x, x, Indices({1, 1, 1}));
       },
       "cosine_embedding_loss: a (2, 3) needs labels of shape (2,), got (3,)"},
      {[=] {
         cosine_embedding_loss(x, x, Indices({1, 0}));
       },
       "cosine_embedding_loss: label 1 is 0, neither 1 nor -1"},
      {[=] { triplet_loss(x, y, x); }, "triplet_loss: anchor has shape (2, 3), positive (2, 1)"},
      {[=] { triplet_loss(x, x, y); }, "triplet_loss: anchor has shape (2, 3), negative (2, 1)"},
      {[=] { triplet_loss(scalar(1), scalar(1), scalar(1)); },
       "triplet_loss: anchor needs at least 1 axis, got shape ()"},
      {[=] { triplet_loss(x, x, x, {.p = 0}); }, "triplet_loss: needs p > 0, got 0"},

      {[=] { prelu(x, two); }, "prelu: weight (2,) needs an input (N, 2, ...), got (2, 3)"},
      {[=] {
         prelu(x, zeros({3, 1}));
       },
       "prelu: needs a weight (1,) or (C,), got shape (3, 1)"},
      {[=] { prelu(two, two); }, "prelu: weight (2,) needs an input (N, 2, ...), got (2,)"},
      {[] { PRelu({.channels = 0}); }, "PRelu: needs channels > 0, got 0"},

      {[] { GruCell({.in = 0, .hidden = 4}); }, "GruCell(0 -> 4): sizes must be positive"},
      {[] { LstmCell({.in = 3, .hidden = 0}); }, "LstmCell(3 -> 0): sizes must be positive"},
      {[=] {
         GruCell({.in = 3, .hidden = 4})(zeros({2, 5}));
       },
       "GruCell(3 -> 4): needs an input (..., 3), got shape (2, 5)"},
      {[=] { GruCell({.in = 3, .hidden = 4})(scalar(1)); },
       "GruCell(3 -> 4): needs an input (..., 3), got shape ()"},
      {[=] {
         GruCell({.in = 3, .hidden = 4})(x, zeros({1, 4}));
       },
       "GruCell(3 -> 4): state has shape (1, 4), input (2, 3) needs (2, 4)"},
      {[=] {
         LstmCell({.in = 3, .hidden = 4})(x, {.h = zeros({2, 4}), .c = zeros({2, 3})});
       },
       "LstmCell(3 -> 4): state has shape (2, 3), input (2, 3) needs (2, 4)"},

      {[=] {
         composite::attention(heads, heads, heads, {.key_padding = zeros({2, 4})});
       },
       "attention: key_padding has shape (2, 4), k (2, 1, 3, 4) needs (2, 3)"},
      {[] { MultiheadAttention({.dim = 10, .heads = 4}); },
       "MultiheadAttention: width 10 is not divisible by 4 heads"},
      {[] { MultiheadAttention({.dim = 4, .heads = 2, .dropout = 2}); },
       "MultiheadAttention: dropout must be in [0, 1], got 2"},
      {[] { MultiheadAttention({.dim = 4, .heads = 0}); },
       "MultiheadAttention: width 4 is not divisible by 0 heads"},
      {[=] { MultiheadAttention({.dim = 4, .heads = 2})(q, k, q); },
       "MultiheadAttention(4, 2 heads): query (2, 3, 4), key (2, 5, 4), value (2, 3, 4) do not fit "
       "(B, Tq, 4), (B, Tk, 4), (B, Tk, 4)"},
      {[=] { MultiheadAttention({.dim = 4, .heads = 2})(x, x, x); },
       "MultiheadAttention(4, 2 heads): query (2, 3), key (2, 3), value (2, 3) do not fit (B, Tq, "
       "4), (B, Tk, 4), (B, Tk, 4)"},
      {[=] {
         MultiheadAttention({.dim = 4, .heads = 2})(q, k, k, {.key_padding = zeros({2, 3})});
       },
       "MultiheadAttention(4, 2 heads): key_padding has shape (2, 3), key (2, 5, 4) needs (2, 5)"},
  };
}

}  // namespace

OpFamily layers() {
  const std::vector<std::vector<std::size_t>> pair{{2, N}, {2, N}};
  const std::vector<std::vector<std::size_t>> attention{{2, 3, 4}, {2, N, 4}, {2, N, 4}, {12, 4},
                                                        {12},      {4, 4},    {4}};
  std::vector<OpRow> rows{
      // losses
      {"mse_loss", [](List x) { return mse_loss(x[0], x[1]); }, pair},
      {"l1_loss", [](List x) { return l1_loss(x[0], x[1]); }, pair},
      {"huber_loss", [](List x) { return huber_loss(x[0], x[1]); }, pair},
      {"huber_loss delta", [](List x) { return huber_loss(x[0], x[1], real(0.3)); }, pair},
      {"huber_loss 0-d", [](List x) { return huber_loss(x[0], x[1]); }, {{}, {}}},
      {"bce_with_logits", [](List x) { return bce_with_logits(x[0], x[1]); }, pair},
      {"nll_loss",
       [](List x) { return nll_loss(log_softmax(x[0]), targets(x[0].size(0))); },
       {{N, 3}}},
      {"nll_loss one row", [](List x) { return nll_loss(x[0], Indices(std::int64_t{1})); }, {{4}}},
      {"kl_div", [](List x) { return kl_div(x[0], x[1]); }, pair, 0.1, 2},
      {"kl_div first axis", [](List x) { return kl_div(x[0], x[1]); }, {{N, 2}, {N, 2}}, 0.1, 2},
      {"kl_div 0-d", [](List x) { return kl_div(x[0], x[1]); }, {{}, {}}, 0.1, 2},
      {"cosine_embedding_loss",
       [](List x) { return cosine_embedding_loss(x[0], x[1], labels(x[0].size(0))); },
       {{N, 3}, {N, 3}}},
      {"cosine_embedding_loss margin",
       [](List x) { return cosine_embedding_loss(x[0], x[1], labels(4), real(-0.5)); },
       {{4, N}, {4, N}}},
      {"triplet_loss",
       [](List x) { return triplet_loss(x[0], x[1], x[2]); },
       {{N, 3}, {N, 3}, {N, 3}}},
      {"triplet_loss margin, norm 3",
       [](List x) { return triplet_loss(x[0], x[1], x[2], {.margin = 3, .p = 3}); },
       {{2, N}, {2, N}, {2, N}}},

      // activations
      {"leaky_relu", [](List x) { return leaky_relu(x[0]); }, {{2, N}}},
      {"elu", [](List x) { return elu(x[0], real(1.5)); }, {{2, N}}},
      {"prelu", [](List x) { return prelu(x[0], x[1]); }, {{2, N}, {1}}},
      {"prelu 0-d", [](List x) { return prelu(x[0], x[1]); }, {{}, {1}}},
      {"prelu per channel", [](List x) { return prelu(x[0], x[1]); }, {{2, 3, N}, {3}}},
      {"prelu many channels", [](List x) { return prelu(x[0], x[1]); }, {{4, N}, {N}}},

      // cells: x, state, weight_ih, weight_hh, bias_ih, bias_hh
      {"GruCell", gru, {{N, 3}, {N, 2}, {6, 3}, {6, 2}, {6}, {6}}},
      {"GruCell one sample", gru, {{3}, {2}, {6, 3}, {6, 2}, {6}, {6}}},
      {"GruCell over time", gru_over_time, {{N, 3, 3}, {6, 3}, {6, 2}, {6}, {6}}},
      {"LstmCell", lstm, {{N, 3}, {N, 2}, {N, 2}, {8, 3}, {8, 2}, {8}, {8}}},

      // attention: query, key, value, in_proj_weight, in_proj_bias, out_proj.weight, out_proj.bias
      {"MultiheadAttention", [](List x) { return multihead(x); }, attention, -1, 1, true},
      {"MultiheadAttention causal", [](List x) { return multihead(x, {.causal = true}); },
       attention, -1, 1, true},
      {"MultiheadAttention padding",
       [](List x) { return multihead(x, {.key_padding = padding(x[1].size(1))}); }, attention, -1,
       1, true},
      {"MultiheadAttention composite",
       [](List x) { return multihead(x, {}, AttentionImpl::composite); }, attention, -1, 1},

      // quantizers
      {"binary_entropy", [](List x) { return binary_entropy(x[0]); }, {{2, N}}},
      {"mean_code_entropy",
       [](List x) { return mean_code_entropy(x[0]); },
       {{N, 3}},
       -2,
       2,
       true,
       {1, 5}},
      {"mean_code_entropy composite",
       [](List x) { return composite::mean_code_entropy(x[0]); },
       {{N, 3}},
       -2,
       2,
       false,
       {1, 5}},
  };
  return {std::move(rows), errors()};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
