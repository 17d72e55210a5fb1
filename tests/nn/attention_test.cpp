// Attention: a worked example for three schemes, plain loops, and the properties that a mistake in
// masks, groups or positions would break.
#include <xgrad/nn/attention.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <xgrad/core/kernels/attention.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/nn/position.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

constexpr double exact = sizeof(real) == 8 ? 1e-12 : 2e-5;

void check_near(const Tensor& x, const std::vector<double>& expected, double tolerance = exact) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(expected[i], tolerance));
  }
}

/// A test that begins with this runs for the composite and for the fused operation.
#define FOR_BOTH \
  const Attention attend { GENERATE(false, true) }

struct Attention {
  bool fused;
  Tensor operator()(const Tensor& q, const Tensor& k, const Tensor& v,
                    const AttentionOptions& options = {}) const {
    return (fused ? attention : composite::attention)(q, k, v, options);
  }
};

/// x (B, H, T, d) as attention turns it at positions start, start + 1, …
Tensor turned(const Rope& scheme, const Tensor& x, std::size_t start) {
  const RopeTables r = scheme.in_attention(x.size(1), x.size(3), start, x.size(2)).rotation;
  const auto rows = [&](const Tensor& table) {
    const auto first = static_cast<std::int64_t>(r.start);
    return slice(table, 0, first, first + static_cast<std::int64_t>(x.size(2)));
  };
  return rope(x, rows(r.cos), rows(r.sin), r.layout);
}

double distance(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a.data()[i]} - double{b.data()[i]});
    if (!(difference <= worst)) worst = difference;
  }
  return worst;
}

bool same(const Tensor& a, const Tensor& b) { return distance(a, b) == 0; }

bool finite(const Tensor& x) {
  return std::all_of(x.data(), x.data() + x.size(), [](real v) { return std::isfinite(v); });
}

Tensor random(const Ints& shape, std::uint64_t seed = 1) {
  Rng rng(seed);
  return randn(shape, rng);
}

/// x with the tokens (second to last axis) in another order.
Tensor reorder(const Tensor& x, const std::vector<std::int64_t>& order) {
  std::vector<Tensor> rows;
  for (const std::int64_t t : order) rows.push_back(slice(x, -2, t, t + 1));
  return concat(rows, -2);
}

/// Rows `order` of a matrix or vector.
Tensor pick(const Tensor& x, const std::vector<std::size_t>& order) {
  std::vector<Tensor> rows;
  for (const std::size_t r : order)
    rows.push_back(slice(x, 0, static_cast<std::int64_t>(r), static_cast<std::int64_t>(r + 1)));
  return concat(rows, 0);
}

void assign(Tensor target, const Tensor& source) {
  REQUIRE(target.shape() == source.shape());
  std::copy_n(source.data(), source.size(), target.mutable_data());
}

/// The definition, in double, one number at a time.
std::vector<double> by_loops(const Tensor& q, const Tensor& k, const Tensor& v,
                             const AttentionOptions& o) {
  const std::size_t B = q.size(0), H = q.size(1), queries = q.size(2), d = q.size(3);
  const std::size_t K = k.size(1), keys = k.size(2), e = v.size(3);
  const double scale = o.scale.value_or(1 / std::sqrt(static_cast<double>(d)));
  std::vector<double> out;
  for (std::size_t b = 0; b < B; ++b)
    for (std::size_t h = 0; h < H; ++h)
      for (std::size_t i = 0; i < queries; ++i) {
        const double at = static_cast<double>(i + keys) - static_cast<double>(queries);
        const std::size_t plane = b * K + h / (H / K);
        std::vector<double> mixed(e, 0);
        double total = 0;
        for (std::size_t j = 0; j < keys; ++j) {
          const double behind = at - static_cast<double>(j);
          if (o.causal && behind < 0) continue;
          if (o.window.size > 0 && behind >= static_cast<double>(o.window.size) &&
              j >= o.window.sinks)
            continue;
          double score = 0;
          for (std::size_t c = 0; c < d; ++c)
            score += double{q.data()[((b * H + h) * queries + i) * d + c]} *
                     k.data()[(plane * keys + j) * d + c];
          score = scale * score -
                  (o.positions.slopes.empty() ? 0 : o.positions.slopes[h] * std::abs(behind));
          if (const Tensor& bias = o.positions.bias; bias.defined())
            score += bias.data()[h * bias.size(1) + static_cast<std::size_t>(behind)];
          total += std::exp(score);
          for (std::size_t c = 0; c < e; ++c)
            mixed[c] += std::exp(score) * v.data()[(plane * keys + j) * e + c];
        }
        for (const double number : mixed) out.push_back(total > 0 ? number / total : 0);
      }
  return out;
}

CausalSelfAttention layer(const char* position, std::size_t heads = 4, std::size_t kv_heads = 0,
                          double dropout = 0) {
  return CausalSelfAttention({.dim = 16,
                              .heads = heads,
                              .kv_heads = kv_heads,
                              .dropout = dropout,
                              .position = make_position(position, {.length = 32, .dim = 16})});
}

}  // namespace

TEST_CASE("Attention agrees with a worked example for NoPE, ALiBi and RoPE", "[nn][attention]") {
  FOR_BOTH;
  struct Case {
    const char* name;
    std::vector<double> weights, value, dq, dk, dv;
  };
  const std::vector<Case> cases{
      {"NoPE",
       {1, 0, 0, .370439904, .629560096, 0, .4921979288, .2651146825, .2426873887},
       {1, 2, -.2591201919, 1.055659856, .2877550935, .9349376574},
       {0, 0, .0412268323, .0824536646, .2198213003, -.3599611203},
       {.1493899242, -.5151060322, -.0766986769, .2243410428, -.0726912473, .2907649894},
       {1.3082694342, .1217580248, .3810587186, -.3644454135, .0606718472, .2426873887}},
      {"ALiBi",
       {1, 0, 0, .2630201151, .7369798849, 0, .3097550402, .2750803835, .4151645763},
       {1, 2, -.4739597697, .8945301727, .1384658008, .4456768399},
       {0, 0, .034266489, .0685329781, .3204267271, -.3019126551},
       {.1311711553, -.4561516431, -.0454651454, .1133276034, -.0857060099, .3428240397},
       {1.2089488176, .0467349251, .4372600383, -.4618995013, .1037911441, .4151645763}},
      {"RoPE",
       {1, 0, 0, .3564212459, .6435787541, 0, .3386156025, .4779289466, .1834554509},
       {1, 2, -.2871575082, 1.0346318688, -.0934494814, .77860409},
       {0, 0, .0762514665, .1059011399, -.2622626399, -.1445760448},
       {.3783560698, .2206021401, -.207290216, .1374345121, -.0467890494, .1871561975},
       {1.2628645236, -.0178056434, .4412716137, -.1656498075, .0458638627, .1834554509}},
  };
  const double printed = sizeof(real) == 8 ? 6e-11 : 2e-5;
  for (const Case& c : cases) {
    INFO(c.name);
    const std::string name = c.name;
    const Rope rope;
    AttentionOptions options;
    if (name == "ALiBi") options.positions.slopes = {0.5};
    if (name == "RoPE") options.positions = rope.in_attention(1, 2, 0, 3);
    Tensor q = tensor({1, 0.5, -0.5, 1, 0.25, -1}, {1, 1, 3, 2}).requires_grad_();
    Tensor k = tensor({0.5, -0.25, 1, 0.75, -0.5, 0.5}, {1, 1, 3, 2}).requires_grad_();
    Tensor v = tensor({1, 2, -1, 0.5, 0.25, -0.75}, {1, 1, 3, 2}).requires_grad_();
    const Tensor identity = tensor({1, 0, 0, 0, 1, 0, 0, 0, 1}, {1, 1, 3, 3});
    check_near(attend(q, k, identity, options), c.weights, printed);
    Tape tape;
    const Tensor y = attend(q, k, v, options);
    check_near(y, c.value, printed);
    tape.backward(y, tensor({1, 0, 0.5, -1, 0.25, 1}, {1, 1, 3, 2}));
    check_near(q.grad(), c.dq, printed);
    check_near(k.grad(), c.dk, printed);
    check_near(v.grad(), c.dv, printed);
  }
}

TEST_CASE("Attention agrees with plain loops", "[nn][attention]") {
  FOR_BOTH;
  struct Case {
    std::size_t heads, kv_heads, queries, keys, d, e;
    AttentionOptions options;
  };
  for (const Case& c :
       {Case{4, 4, 5, 5, 3, 3, {}}, Case{4, 2, 3, 7, 2, 5, {}}, Case{6, 1, 1, 9, 4, 4, {}},
        Case{6, 3, 5, 6, 4, 2, {.positions = {.slopes = alibi_slopes(6)}}},
        Case{2, 2, 4, 4, 3, 3, {.causal = false}},
        Case{2, 1, 4, 6, 3, 3, {.scale = 2, .positions = {.slopes = {0, 1.5}}}},
        Case{2, 1, 5, 3, 3, 3, {}}, Case{4, 2, 7, 7, 3, 3, {.window = {.size = 3}}},
        Case{4, 2, 5, 9, 3, 3, {.window = {.size = 2, .sinks = 3}}},
        Case{2, 2, 1, 9, 16, 16, {.window = {.size = 4, .sinks = 2}}},
        Case{2, 1, 6, 4, 3, 3, {.window = {.size = 1, .sinks = 1}}},
        Case{4, 2, 5, 8, 3, 3, {.positions = {.bias = random({4, 8})}}},
        Case{4, 2, 1, 8, 16, 16, {.positions = {.bias = random({4, 10})}}},
        Case{2,
             1,
             5,
             8,
             3,
             3,
             {.window = {.size = 3, .sinks = 1},
             .positions = {.slopes = {0.5, 0.25}, .bias = random({2, 8})}}},
        Case{2, 1, 4, 6, 3, 3, {.causal = false, .positions = {.slopes = {0.5, 0.25}}}}}) {
    INFO(c.heads << " heads on " << c.kv_heads << ", " << c.queries << " queries, " << c.keys
                 << " keys");
    const Tensor q = random({2, c.heads, c.queries, c.d}, 1),
                 k = random({2, c.kv_heads, c.keys, c.d}, 2),
                 v = random({2, c.kv_heads, c.keys, c.e}, 3);
    const Tensor y = attend(q, k, v, c.options);
    CHECK(y.shape() == Shape{2, c.heads, c.queries, c.e});
    check_near(y, by_loops(q, k, v, c.options));
  }
}

TEST_CASE("ALiBi alone weighs keys by exp(-m distance)", "[nn][attention][alibi]") {
  FOR_BOTH;
  // Head 0 of 8, one query after another: biases 0; -0.5 0; -1 -0.5 0; -1.5 -1 -0.5 0.
  std::vector<real> eye(16, 0);
  for (std::size_t i = 0; i < 4; ++i) eye[5 * i] = 1;
  const Tensor nothing = zeros({1, 8, 4, 2});
  const Tensor identity = broadcast_to(tensor(eye, {1, 1, 4, 4}), {1, 8, 4, 4});
  const Tensor weights =
      attend(nothing, nothing, identity, {.positions = {.slopes = alibi_slopes(8)}});
  const double biases[4][4]{{0}, {-0.5, 0}, {-1, -0.5, 0}, {-1.5, -1, -0.5, 0}};
  for (std::size_t i = 0; i < 4; ++i) {
    double total = 0;
    for (std::size_t j = 0; j <= i; ++j) total += std::exp(biases[i][j]);
    for (std::size_t j = 0; j < 4; ++j)
      CHECK_THAT(weights.data()[4 * i + j],
                 WithinAbs(j <= i ? std::exp(biases[i][j]) / total : 0, exact));
  }
}

TEST_CASE("The last query sees all keys when there are fewer queries than keys",
          "[nn][attention]") {
  FOR_BOTH;
  const Tensor q = random({2, 4, 9, 4}, 1), k = random({2, 2, 9, 4}, 2),
               v = random({2, 2, 9, 3}, 3);
  for (const AttentionOptions& options :
       {AttentionOptions{}, AttentionOptions{.positions = {.slopes = alibi_slopes(4)}}}) {
    const Tensor whole = attend(q, k, v, options);
    for (const std::int64_t first : {1, 6, 8})
      CHECK(distance(attend(slice(q, 2, first, 9), k, v, options), slice(whole, 2, first, 9)) <
            exact);
  }
  const Rope rope;
  const Tensor keys = turned(rope, k, 0);
  const Tensor whole = attend(turned(rope, q, 0), keys, v);
  CHECK(distance(attend(turned(rope, slice(q, 2, 7, 9), 7), keys, v), slice(whole, 2, 7, 9)) <
        exact);
}

TEST_CASE("A query that sees no key gives zeros and has no gradient", "[nn][attention]") {
  FOR_BOTH;
  const AttentionOptions options = GENERATE(
      AttentionOptions{},
      AttentionOptions{.window = {.size = 1, .sinks = 1}, .positions = {.bias = random({2, 2})}});
  Tensor q = random({1, 2, 5, 3}, 1).requires_grad_(), k = random({1, 1, 2, 3}, 2).requires_grad_(),
         v = random({1, 1, 2, 3}, 3).requires_grad_();
  Tape tape;
  const Tensor y = attend(q, k, v, options);  // queries 0, 1, 2 stand before key 0
  CHECK(max(abs(slice(y, 2, 0, 3))).item() == 0);
  CHECK(min(abs(slice(y, 2, 3, 5))).item() > 0);
  tape.backward(y, random(y.shape(), 4));
  CHECK(max(abs(slice(q.grad(), 2, 0, 3))).item() == 0);
  CHECK(max(abs(slice(q.grad(), 2, 3, 4))).item() < exact);  // sees one key: nothing to choose
  CHECK(max(abs(slice(q.grad(), 2, 4, 5))).item() > 0);

  // Keys and values hear from the two queries that see them alone.
  Tensor k2 = k.clone().requires_grad_(), v2 = v.clone().requires_grad_();
  Tape part;
  part.backward(attend(slice(q, 2, 3, 5), k2, v2, options), slice(random(y.shape(), 4), 2, 3, 5));
  CHECK(distance(k.grad(), k2.grad()) < exact);
  CHECK(distance(v.grad(), v2.grad()) < exact);
}

TEST_CASE("Padded keys count as absent, and a query that is left without any gives zeros",
          "[nn][attention]") {
  FOR_BOTH;
  const Tensor q = random({2, 4, 3, 4}, 1), k = random({2, 2, 5, 4}, 2),
               v = random({2, 2, 5, 3}, 3), none = ones({2, 5});
  const Tensor padding = tensor({0, 0, 0, 1, 1, 0, 0, 0, 1, 1}, {2, 5});  // the last two keys
  const Tensor fewer = attend(q, slice(k, 2, 0, 3), slice(v, 2, 0, 3), {.causal = false});
  CHECK(distance(attend(q, k, v, {.causal = false, .key_padding = padding}), fewer) < exact);
  CHECK(distance(attend(q, k, v, {.key_padding = zeros({2, 5})}), attend(q, k, v)) < exact);

  for (const bool causal : {true, false}) {
    Tensor q2 = q.clone().requires_grad_(), k2 = k.clone().requires_grad_(),
           v2 = v.clone().requires_grad_();
    Tape tape;
    const Tensor y = attend(q2, k2, v2, {.causal = causal, .key_padding = none});
    CHECK(max(abs(y)).item() == 0);
    tape.backward(y, random(y.shape(), 4));
    for (const Tensor& x : {q2, k2, v2}) CHECK(max(abs(x.grad())).item() == 0);
  }
}

TEST_CASE("Huge scores give finite results and gradients", "[nn][attention]") {
  FOR_BOTH;
  for (const real sign : {real(1), real(-1)}) {
    Tensor q = (sign * 100 * ones({1, 1, 6, 4})).requires_grad_();
    Tensor k = (100 * random({1, 1, 6, 4})).requires_grad_();
    std::fill_n(k.mutable_data(), 4, real(100));  // key 0: the score is ±100 * 100 * 4 / 2 = ±2e4
    Tensor v = random({1, 1, 6, 4}, 2).requires_grad_();
    for (const std::vector<real>& slopes : {std::vector<real>{}, std::vector<real>{1e4}}) {
      Tape tape;
      const Tensor y = attend(q, k, v, {.positions = {.slopes = slopes}});
      tape.backward(sum(y));
      CHECK(finite(y));
      for (const Tensor& x : {q, k, v}) CHECK(finite(x.grad()));
    }
  }
}

TEST_CASE("Changing a token leaves earlier outputs equal to the bit", "[nn][attention]") {
  for (const char* position : {"nope", "alibi", "rope"}) {
    INFO(position);
    const CausalSelfAttention attn = layer(position, 4, 2);
    const Tensor x = random({2, 9, 16});
    const Tensor y = attn(x);
    for (const std::int64_t t : {0, 4, 8}) {
      const Tensor changed =
          concat({slice(x, 1, 0, t), slice(x, 1, t, t + 1) + 1, slice(x, 1, t + 1, 9)}, 1);
      const Tensor z = attn(changed);
      CHECK((t == 0 || same(slice(z, 1, 0, t), slice(y, 1, 0, t))));
      for (std::int64_t s = t; s < 9; ++s)
        CHECK_FALSE(same(slice(z, 1, s, s + 1), slice(y, 1, s, s + 1)));
    }
  }
}

TEST_CASE("Grouped-query attention is multi-head attention with repeated keys and values",
          "[nn][attention]") {
  for (const std::size_t kv_heads : {1, 2, 4})
    for (const char* position : {"rope", "alibi"}) {
      INFO(kv_heads << " key heads, " << position);
      const CausalSelfAttention grouped = layer(position, 4, kv_heads), full = layer(position, 4);
      const std::size_t d = 4, group = 4 / kv_heads;
      std::vector<std::size_t> rows;  // of the grouped projection, for each row of the full one
      for (std::size_t r = 0; r < 16; ++r) rows.push_back(r);
      for (std::size_t part = 0; part < 2; ++part)
        for (std::size_t h = 0; h < 4; ++h)
          for (std::size_t c = 0; c < d; ++c)
            rows.push_back(16 + (part * kv_heads + h / group) * d + c);
      assign(full.c_attn.weight, pick(grouped.c_attn.weight, rows));
      assign(full.c_attn.bias, pick(grouped.c_attn.bias, rows));
      assign(full.c_proj.weight, grouped.c_proj.weight);
      assign(full.c_proj.bias, grouped.c_proj.bias);

      const Tensor x = random({2, 7, 16}), seed = random({2, 7, 16}, 2);
      Tape tape;
      const Tensor a = grouped(x), b = full(x);
      CHECK(distance(a, b) < exact);
      const Tensor ga = tape.gradient(a, grouped.c_attn.weight, {.retain = true}, seed);
      const Tensor gb = tape.gradient(b, full.c_attn.weight, {}, seed);
      // A shared row collects the gradients of all its copies.
      std::vector<double> collected(ga.size(), 0);
      for (std::size_t r = 0; r < rows.size(); ++r)
        for (std::size_t c = 0; c < 16; ++c) collected[rows[r] * 16 + c] += gb.data()[r * 16 + c];
      check_near(ga, collected, 10 * exact);
    }
}

TEST_CASE("A common shift of positions changes nothing for RoPE and ALiBi", "[nn][attention]") {
  const Tensor x = random({2, 9, 16});
  for (const char* position : {"rope", "alibi"}) {
    const CausalSelfAttention attn = layer(position);
    for (const std::size_t start : {1, 7, 300}) CHECK(distance(attn(x, start), attn(x)) < exact);
  }
}

TEST_CASE("RoPE's layouts agree after the rows inside every head are permuted",
          "[nn][attention][rope]") {
  const auto make = [](RopeLayout layout) {
    return CausalSelfAttention(
        {.dim = 16, .heads = 2, .position = std::make_shared<Rope>(RopeOptions{.layout = layout})});
  };
  const CausalSelfAttention interleaved = make(RopeLayout::interleaved),
                            half = make(RopeLayout::half_split);
  const Tensor x = random({2, 9, 16});
  for (std::size_t i = 0; i < 4; ++i) assign(half.parameters()[i], interleaved.parameters()[i]);
  CHECK(distance(half(x), interleaved(x)) > 0.01);

  // W_hs[h d + a d/2 + i] = W_il[h d + 2i + a] for queries and keys; values stay.
  const std::size_t d = 8;
  std::vector<std::size_t> rows;
  for (std::size_t h = 0; h < 4; ++h)  // two query heads, two key heads
    for (std::size_t a = 0; a < 2; ++a)
      for (std::size_t i = 0; i < d / 2; ++i) rows.push_back(h * d + 2 * i + a);
  for (std::size_t r = 32; r < 48; ++r) rows.push_back(r);
  assign(half.c_attn.weight, pick(interleaved.c_attn.weight, rows));
  assign(half.c_attn.bias, pick(interleaved.c_attn.bias, rows));
  CHECK(distance(half(x), interleaved(x)) < exact);
}

TEST_CASE("One causal layer without positions knows the prefix as a set, two know its order",
          "[nn][attention]") {
  const CausalSelfAttention first = layer("nope"), second = layer("nope");
  const Tensor x = random({1, 12, 16});
  const Tensor mixed = reorder(x, {5, 2, 9, 0, 7, 1, 10, 4, 3, 8, 6, 11});  // the last token stays
  const auto last = [](const Tensor& y) { return slice(y, 1, 11, 12); };
  const auto two = [&](const Tensor& y) { return second(first(y)); };
  CHECK(distance(last(first(mixed)), last(first(x))) < exact);
  CHECK(distance(last(two(mixed)), last(two(x))) > 1e-3);
  CHECK(distance(last(layer("rope")(mixed)), last(layer("rope")(x))) > 1e-3);
}

TEST_CASE("Bidirectional attention without positions moves with its tokens", "[nn][attention]") {
  FOR_BOTH;
  const std::vector<std::int64_t> order{5, 2, 9, 0, 7, 1, 10, 4, 3, 8, 6, 11};
  const Tensor x = random({1, 2, 12, 4});
  const auto depth = [&](Tensor y, int layers, bool causal) {
    for (int i = 0; i < layers; ++i) y = y + attend(y, y, y, {.causal = causal});
    return y;
  };
  for (const int layers : {1, 2}) {
    CHECK(distance(depth(reorder(x, order), layers, false),
                   reorder(depth(x, layers, false), order)) < 20 * exact);
    CHECK(distance(depth(reorder(x, order), layers, true), reorder(depth(x, layers, true), order)) >
          0.1);
  }
}

TEST_CASE("Dropout of attention repeats after reseed and rests in evaluation",
          "[nn][attention][dropout]") {
  CausalSelfAttention attn = layer("rope", 4, 2, 0.5);
  const CausalSelfAttention plain = layer("rope", 4, 2);
  const Tensor x = random({2, 9, 16});
  attn.reseed(1);
  const Tensor first = attn(x), second = attn(x);
  CHECK_FALSE(same(first, second));
  attn.reseed(1);
  CHECK(same(attn(x), first));
  CHECK(same(attn(x), second));
  attn.eval();
  CHECK(same(attn(x), plain(x)));
}

TEST_CASE("Dropout of the weights scales what it keeps, and its gradient goes the same way",
          "[nn][attention][dropout]") {
  FOR_BOTH;
  // With values of 1 an output is the sum of the kept weights over 1 - p: 1 on average.
  Rng rng(3);
  const Tensor q = random({4, 4, 32, 4}, 1), k = random({4, 4, 32, 4}, 2);
  Tensor v = ones({4, 4, 32, 1}).requires_grad_();
  Tape tape;
  const Tensor y = attend(q, k, v, {.dropout = 0.25, .rng = &rng});
  CHECK_THAT(mean(y).item(), WithinAbs(1, 0.03));
  CHECK(max(y).item() <= real(4.0 / 3 + 1e-5));
  tape.backward(sum(y));
  CHECK_THAT(sum(v.grad()).item(), WithinRel(double{sum(y).item()}, 1e-5));
}

namespace {

/// Value and gradients of an operation under a fixed cotangent.
template <class F>
std::vector<Tensor> pulled(const F& f, std::vector<Tensor> inputs) {
  for (Tensor& x : inputs) x = x.clone().requires_grad_();
  Tape tape;
  const Tensor y = f(inputs);
  std::vector<Tensor> all = tape.gradient(y, inputs, {}, random(y.shape(), 99));
  all.push_back(y);
  return all;
}

/// Largest difference, relative to the larger of 1 and b's largest number.
double relative(const Tensor& a, const Tensor& b) {
  double largest = 1;
  for (std::size_t i = 0; i < b.size(); ++i)
    largest = std::max(largest, std::abs(double{b.data()[i]}));
  return distance(a, b) / largest;
}

}  // namespace

TEST_CASE("Fused attention is the composite for any sizes and options", "[nn][attention]") {
  std::mt19937 draw(1);  // its numbers are the same everywhere
  const auto between = [&](std::size_t low, std::size_t high) {
    return low + draw() % (high - low + 1);
  };
  const auto chance = [&](std::size_t of) { return draw() % of == 0; };
  for (std::uint64_t trial = 0; trial < 120; ++trial) {
    const std::size_t B = between(1, 2), K = between(1, 3), H = K * between(1, 3),
                      d = between(2, 80), e = between(1, 80), keys = between(1, 200),
                      queries = chance(5) ? 1 : between(1, keys);
    AttentionOptions options{.causal = !chance(4)};
    if (chance(3)) options.scale = 0.3;
    if (chance(3)) options.positions.slopes = alibi_slopes(H);
    if (options.causal && chance(2))
      options.window = {.size = between(1, keys + 20), .sinks = chance(2) ? between(0, keys) : 0};
    const bool biased = options.causal && chance(3);
    if (chance(3)) {
      const Tensor angles = random({keys + 2, between(1, d / 2)}, trial);
      options.positions.rotation = {
          .cos = cos(angles),
          .sin = sin(angles),
          .start = between(0, 2),
          .layout = chance(2) ? RopeLayout::interleaved : RopeLayout::half_split,
          .keys = !chance(3)};
    }
    if (chance(3)) options.key_padding = random({B, keys}, trial + 100) > real(0.5);
    if (chance(3)) options.dropout = chance(5) ? 1 : 0.25;
    INFO("trial " << trial << ": " << B << " texts, " << H << " heads on " << K << ", " << queries
                  << " queries, " << keys << " keys, widths " << d << " and " << e << ", window "
                  << options.window.size << " and " << options.window.sinks << " sinks"
                  << (biased ? ", bias" : ""));
    // The bias, if there is one, is the last input.
    const auto with = [&](const std::vector<Tensor>& x) {
      AttentionOptions o = options;
      if (biased) o.positions.bias = x.back();
      return o;
    };
    const auto check = [&](const auto& fused, const auto& composed, std::vector<Tensor> inputs) {
      if (biased) inputs.push_back(random({H, keys + between(0, 3)}, trial + 5));
      Rng one(5, 3), two(5, 3);
      options.rng = &one;
      const auto a = pulled(fused, inputs);
      options.rng = &two;
      const auto b = pulled(composed, inputs);
      CHECK(one.position() == two.position());
      for (std::size_t i = 0; i < a.size(); ++i) {
        INFO("gradient " << i << ", the last one being the value");
        CHECK(relative(a[i], b[i]) < (sizeof(real) == 8 ? 1e-12 : 1e-5));
      }
    };
    check([&](const auto& x) { return attention(x[0], x[1], x[2], with(x)); },
          [&](const auto& x) { return composite::attention(x[0], x[1], x[2], with(x)); },
          {random({B, H, queries, d}, trial + 1), random({B, K, keys, d}, trial + 2),
           random({B, K, keys, e}, trial + 3)});
    check([&](const auto& x) { return self_attention(x[0], H, K, with(x)); },
          [&](const auto& x) { return composite::self_attention(x[0], H, K, with(x)); },
          {random({B, keys, (H + 2 * K) * d}, trial + 4)});
  }
}

TEST_CASE("No bit of attention depends on the number of threads", "[nn][attention][threads]") {
  const int threads = num_threads();
  struct Case {
    std::size_t batch, heads, queries, keys;
    AttentionWindow window{};
    bool bias = false;
  };
  // One head in parts, many heads whole, many small ones, one query on parts of the keys.
  for (const Case& c :
       {Case{1, 1, 700, 700}, Case{1, 2, 130, 300}, Case{3, 3, 200, 200}, Case{40, 2, 9, 9},
        Case{1, 2, 1, 5000}, Case{1, 1, 700, 700, {.size = 100, .sinks = 70}, true},
        Case{2, 1, 300, 500, {.size = 90}}, Case{3, 3, 200, 200, {}, true},
        Case{1, 2, 1, 5000, {.size = 4000, .sinks = 5}, true}}) {
    const auto run = [&](int with) {
      set_num_threads(with);
      return pulled(
          [&](const auto& x) {
            AttentionOptions options{.window = c.window};
            if (c.bias) options.positions.bias = x[3];
            return attention(x[0], x[1], x[2], options);
          },
          {random({c.batch, c.heads, c.queries, 16}, 1), random({c.batch, c.heads, c.keys, 16}, 2),
           random({c.batch, c.heads, c.keys, 16}, 3), random({c.heads, c.keys}, 4)});
    };
    const auto one = run(1);
    for (const int with : {2, 3}) {
      const auto other = run(with);
      for (std::size_t i = 0; i < one.size(); ++i) CHECK(same(one[i], other[i]));
    }
  }
  set_num_threads(threads);
}

TEST_CASE("Fused attention looks at no later token, in whichever tile it lies", "[nn][attention]") {
  const std::size_t T = 150;
  const Tensor x = random({1, T, 3 * 2 * 5});
  const AttentionOptions options =
      GENERATE_COPY(AttentionOptions{}, AttentionOptions{.window = {.size = 40, .sinks = 70}},
                    AttentionOptions{.positions = {.slopes = {0.5, 0.25}, .bias = random({2, T})}});
  const auto run = [&](const Tensor& qkv) { return self_attention(qkv, 2, 2, options); };
  const Tensor y = run(x);
  for (const std::int64_t t : {1, 63, 64, 65, 127, 149}) {
    const Tensor later = concat({slice(x, 1, 0, t), 3 * slice(x, 1, t, 150)}, 1);
    CHECK(same(slice(run(later), 1, 0, t), slice(y, 1, 0, t)));
    CHECK_FALSE(same(run(later), y));
  }
}

TEST_CASE("The memory of fused attention grows as the text, not as its square",
          "[nn][attention][memory]") {
  const bool bias = GENERATE(false, true);
  const AttentionWindow window =
      GENERATE(AttentionWindow{}, AttentionWindow{.size = 256, .sinks = 4});
  const auto peak = [&](std::size_t T) {
    Tensor qkv = random({1, T, 3 * 32}).requires_grad_();
    AttentionOptions options{.window = window};
    if (bias) options.positions.bias = random({1, T}).requires_grad_();
    const auto step = [&] {
      Tape tape;
      tape.backward(sum(self_attention(qkv, 1, 1, options)));
    };
    step();
    const std::size_t before = memory::stats().current;
    memory::reset_peak();
    step();
    return static_cast<double>(memory::stats().peak - before);
  };
  const double short_text = peak(1024), long_text = peak(4096);
  CAPTURE(short_text, long_text);
  CHECK(long_text < 4.5 * short_text);
  CHECK(long_text < 4096 * 32 * sizeof(real) * 24.0);
}

TEST_CASE("The kernel's log-sum-exp is as worked out by hand", "[nn][attention]") {
  const std::vector<real> q{1, 0.5, -0.5, 1, 0.25, -1}, k{0.5, -0.25, 1, 0.75, -0.5, 0.5},
      v{1, 2, -1, 0.5, 0.25, -0.75}, grad{1, 0, 0.5, -1, 0.25, 1};
  struct Case {
    const char* name;
    double lse[3], delta[3];
  };
  const double printed = sizeof(real) == 8 ? 6e-11 : 2e-6;
  for (const Case& c :
       {Case{"NoPE", {.2651650429, .6395106592, .9740393919}, {1, -1.185219952, 1.0068764308}},
        Case{"ALiBi", {.2651650429, .4819713757, .4371385297}, {1, -1.1315100576, .4802932901}},
        Case{"RoPE", {.2651650429, .6174875707, 1.253841677}, {1, -1.1782106229, .7552417197}}}) {
    INFO(c.name);
    const std::string name = c.name;
    const real slope = 0.5;
    const AttentionPositions turns = Rope().in_attention(1, 2, 0, 3);
    kernels::AttentionTerms terms;
    terms.scale = static_cast<real>(1 / std::sqrt(2.0));
    if (name == "ALiBi") terms.slopes = &slope;
    if (name == "RoPE") {
      terms.cos = turns.rotation.cos.data();
      terms.sin = turns.rotation.sin.data();
      terms.half = 1;
    }
    std::vector<real> out(6), lse(3);
    kernels::attention({1, 1, 1, 3, 3, 2, 2}, terms, {q.data(), 6, 6, 2}, {k.data(), 6, 6, 2},
                       {v.data(), 6, 6, 2}, {out.data(), 6, 6, 2}, lse.data());
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK_THAT(lse[i], WithinAbs(c.lse[i], printed));
      // What backward takes off each row: <dO_i, O_i>.
      CHECK_THAT(grad[2 * i] * out[2 * i] + grad[2 * i + 1] * out[2 * i + 1],
                 WithinAbs(c.delta[i], 2 * printed));
    }
  }
}

TEST_CASE("One query reads a cache with room for more keys as it lies", "[nn][attention]") {
  const std::size_t d = 32, keys = 2100, capacity = 3000, K = 2, H = 6;
  const Tensor q = random({1, H, 1, d}, 1), k = random({1, K, capacity, d}, 2),
               v = random({1, K, capacity, d}, 3);
  const auto used = [](const Tensor& x) { return slice(x, 2, 0, 2100); };
  const std::vector<real> slopes = alibi_slopes(H);
  kernels::AttentionTerms terms;
  terms.scale = real(0.5);
  terms.slopes = slopes.data();
  Tensor y = Tensor::empty({1, H, 1, d}), lse = Tensor::empty({H});
  const std::size_t plane = capacity * d;
  kernels::attention({1, H, K, 1, keys, d, d}, terms, {q.data(), H * d, d, d},
                     {k.data(), K * plane, plane, d}, {v.data(), K * plane, plane, d},
                     {y.mutable_data(), H * d, d, d}, lse.mutable_data());
  CHECK(distance(y, composite::attention(q, used(k), used(v),
                                         {.scale = 0.5, .positions = {.slopes = slopes}})) < exact);
}

TEST_CASE("Fused attention looks at no key before the window but the sinks",
          "[nn][attention][window]") {
  const std::int64_t T = 150, window = 40, sinks = 3;
  const Tensor x = random({1, T, 3 * 2 * 5});
  const auto run = [](const Tensor& qkv) {
    return self_attention(qkv, 2, 2, {.window = {.size = window, .sinks = sinks}});
  };
  const Tensor y = run(x);
  for (const std::int64_t t : {2, 3, 24, 63, 64, 90}) {
    const Tensor z =
        run(concat({slice(x, 1, 0, t), 3 * slice(x, 1, t, t + 1), slice(x, 1, t + 1, T)}, 1));
    CHECK_FALSE(
        same(slice(z, 1, t + window - 1, t + window), slice(y, 1, t + window - 1, t + window)));
    CHECK(same(slice(z, 1, t + window, T), slice(y, 1, t + window, T)) == (t >= sinks));
  }
}

TEST_CASE("Keys that no query sees are not read", "[nn][attention][window]") {
  // As long as a head's row is no whole vector, one query takes the way of many.
  for (const std::int64_t queries : {1, 20})
    for (const std::int64_t d : {16, 15}) {
      const std::int64_t keys = 3000, window = 2500, sinks = 5,
                         unseen = keys - queries + 1 - window;
      const Tensor q = random({1, 4, queries, d}, 1), bias = random({4, keys}, 4);
      Tensor k = random({1, 2, keys, d}, 2), v = random({1, 2, keys, d}, 3);
      const AttentionOptions options{.window = {.size = window, .sinks = sinks},
                                     .positions = {.bias = bias}};
      const Tensor y = composite::attention(q, k, v, options);
      for (Tensor* x : {&k, &v})
        for (std::int64_t h = 0; h < 2; ++h)
          std::fill_n(x->mutable_data() + (h * keys + sinks) * d, (unseen - sinks) * d,
                      std::numeric_limits<real>::quiet_NaN());
      CHECK(relative(attention(q, k, v, options), y) < exact);
    }
}

TEST_CASE("A window no shorter than the text changes no bit", "[nn][attention][window]") {
  const std::size_t T = 150;
  const auto run = [](AttentionWindow window) {
    return pulled(
        [&](const auto& x) {
          return self_attention(x[0], 2, 1, {.window = window, .positions = {.bias = x[1]}});
        },
        {random({2, T, 4 * 5}), random({2, T}, 2)});
  };
  const auto whole = run({});
  for (const AttentionWindow& window :
       {AttentionWindow{T}, AttentionWindow{T, 3}, AttentionWindow{std::size_t(-1)}}) {
    const auto windowed = run(window);
    for (std::size_t i = 0; i < whole.size(); ++i) CHECK(same(windowed[i], whole[i]));
  }
}

TEST_CASE("ALiBi is a bias by distance", "[nn][attention][alibi]") {
  FOR_BOTH;
  const std::size_t H = 6, T = 100;
  const std::vector<real> slopes = alibi_slopes(H);
  std::vector<real> table;
  for (const real m : slopes)
    for (std::size_t n = 0; n < T; ++n) table.push_back(-m * static_cast<real>(n));
  const auto run = [&](const AttentionPositions& positions) {
    return pulled([&](const auto& x) { return attend(x[0], x[1], x[2], {.positions = positions}); },
                  {random({1, H, 90, 8}, 1), random({1, 2, T, 8}, 2), random({1, 2, T, 8}, 3)});
  };
  const auto a = run({.slopes = slopes}),
             b = run({.bias = tensor(table, {H, static_cast<std::int64_t>(T)})});
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(relative(a[i], b[i]) < exact);
}

TEST_CASE("The bias of distances that no pair has gets a gradient of 0", "[nn][attention]") {
  FOR_BOTH;
  const auto gradient = [&](std::size_t queries, std::size_t keys, AttentionWindow window) {
    Tensor bias = random({2, 9}, 4).requires_grad_();
    Tape tape;
    const Tensor y =
        attend(random({2, 2, queries, 4}, 1), random({2, 1, keys, 4}, 2),
               random({2, 1, keys, 4}, 3), {.window = window, .positions = {.bias = bias}});
    tape.backward(y, random(y.shape(), 5));
    return bias.grad();
  };
  struct Case {
    std::size_t queries, keys;
    AttentionWindow window;
    std::vector<bool> used;  // by distance; the others not
  };
  for (const Case& c :
       {Case{5, 5, {}, {1, 1, 1, 1, 1}}, Case{1, 3, {}, {1, 1, 1}}, Case{5, 5, {.size = 2}, {1, 1}},
        Case{2, 6, {.size = 2, .sinks = 1}, {1, 1, 0, 0, 1, 1}}, Case{0, 5, {}, {}},
        Case{5, 0, {}, {}}}) {
    INFO(c.queries << " queries, " << c.keys << " keys");
    const Tensor d = gradient(c.queries, c.keys, c.window);
    for (std::size_t i = 0; i < 18; ++i)
      CHECK((d.data()[i] != 0) == (i % 9 < c.used.size() && c.used[i % 9]));
  }
}

TEST_CASE("Texts of different lengths in a cache see what each sees alone, however they are cut",
          "[nn][attention][cache]") {
  const std::size_t H = 4, K = 2, d = 16, capacity = 180;
  const std::vector<std::size_t> prompts{3, 80, 130};  // of the first piece, this much counts
  const Rope rope;
  const Tensor qkv = random({3, 170, (H + 2 * K) * d}, 1);
  const auto cut = [](const Tensor& x, std::size_t axis, std::size_t begin, std::size_t end) {
    return slice(x, static_cast<std::int64_t>(axis), static_cast<std::int64_t>(begin),
                 static_cast<std::int64_t>(end));
  };
  for (const AttentionWindow& window : {AttentionWindow{}, AttentionWindow{.size = 1},
                                        AttentionWindow{.size = 30}, AttentionWindow{50, 4}})
    for (const bool bias : {false, true}) {
      AttentionOptions options{.positions = rope.in_attention(H, d, 0, capacity)};
      options.positions.slopes = alibi_slopes(H);
      if (bias) options.positions.bias = random({H, capacity}, 2);
      // What each text gives by itself.
      std::vector<Tensor> whole;
      for (std::size_t b = 0; b < 3; ++b) {
        AttentionOptions alone = options;
        alone.window = window;
        whole.push_back(self_attention(cut(qkv, 0, b, b + 1), H, K, alone));
      }
      for (const std::vector<std::size_t>& pieces :
           std::vector<std::vector<std::size_t>>{{40}, {1, 1, 1, 1, 1}, {2, 1, 20, 1, 16}}) {
        const Tensor room = zeros({3, K, capacity, d});
        KeyValueCache cache{.keys = room,
                            .values = room.clone(),
                            .lengths = std::vector<std::size_t>(3),
                            .window = window,
                            .positions = options.positions};
        const auto check = [&](const Tensor& y, std::size_t b, std::size_t first,
                               std::size_t count) {
          INFO("window " << window.size << ", " << window.sinks << " sinks, bias " << bias
                         << ", text " << b << ", tokens " << first << " + " << count);
          CHECK(relative(cut(cut(y, 0, b, b + 1), 1, 0, count),
                         cut(whole[b], 1, first, first + count)) < exact);
        };
        // The shorter texts are filled up; what does not count is overwritten.
        const Tensor first = cached_attention(cut(qkv, 1, 0, prompts.back()), H, K, cache);
        for (std::size_t b = 0; b < 3; ++b) check(first, b, 0, prompts[b]);
        cache.lengths = prompts;
        for (const std::size_t count : pieces) {
          std::vector<Tensor> next;
          for (std::size_t b = 0; b < 3; ++b)
            next.push_back(
                cut(cut(qkv, 0, b, b + 1), 1, cache.lengths[b], cache.lengths[b] + count));
          const std::vector<std::size_t> before = cache.lengths;
          const Tensor y = cached_attention(concat(next, 0), H, K, cache);
          for (std::size_t b = 0; b < 3; ++b) {
            check(y, b, before[b], count);
            CHECK(cache.lengths[b] == before[b] + count);
          }
        }
      }
    }
}

TEST_CASE("A cache refuses windows and positions that do not fit it, and has no gradient",
          "[nn][attention][cache]") {
  KeyValueCache cache{.keys = zeros({1, 1, 4, 2}), .values = zeros({1, 1, 4, 2}), .lengths = {0}};
  const auto error = [&](AttentionWindow window, const AttentionPositions& positions = {}) {
    cache.window = window;
    cache.positions = positions;
    return error_of([&] { cached_attention(zeros({1, 1, 6}), 1, 1, cache); });
  };
  CHECK(error({.sinks = 3}) == "cached_attention: 3 sinks without a window");
  CHECK(error({}, {.slopes = {1, 2}}) == "cached_attention: 2 slopes for 1 heads");
  CHECK(error({}, {.bias = zeros({1, 3})}) ==
        "cached_attention: bias by distance (1, 3) does not fit (1, 4), or more distances");
  CHECK(error({}, {.rotation = {.cos = zeros({3, 1}), .sin = zeros({3, 1})}}) ==
        "cached_attention: 4 keys from position 0 on are beyond rotation tables (3, 1)");
  Tape tape;
  CHECK(error({}, {.bias = zeros({1, 4}).requires_grad_()}) ==
        "cached_attention: has no gradient; pause the tape or detach()");
  CHECK(cache.lengths[0] == 0);
  CHECK(error({.size = 2}, {.bias = zeros({1, 4})}) == "no error");
}

TEST_CASE("cached_attention scales scores by what it is told", "[nn][attention][cache]") {
  const Tensor qkv = random({1, 5, 12});
  KeyValueCache cache{.keys = zeros({1, 1, 6, 4}), .values = zeros({1, 1, 6, 4}), .lengths = {0}};
  const Tensor y = cached_attention(qkv, 1, 1, cache, 0.3);
  CHECK(distance(y, self_attention(qkv, 1, 1, {.scale = 0.3})) < exact);
  CHECK(distance(y, self_attention(qkv, 1, 1)) > 0.01);
}

TEST_CASE("NaN in a query stays in its row, NaN in a key reaches all that see it",
          "[nn][attention]") {
  Tensor q = random({1, 1, 100, 4}, 1);
  const Tensor k = random({1, 1, 100, 4}, 2), v = random({1, 1, 100, 4}, 3);
  q.mutable_data()[4 * 70] = std::numeric_limits<real>::quiet_NaN();
  const Tensor y = attention(q, k, v);
  for (std::size_t i = 0; i < 100; ++i) CHECK(std::isnan(y.data()[4 * i]) == (i == 70));
  const Tensor all = attention(k, q, v);
  for (std::size_t i = 70; i < 100; ++i) CHECK(std::isnan(all.data()[4 * i]));
  CHECK(finite(slice(all, 2, 0, 64)));
}

TEST_CASE("A layer gives the same by either implementation", "[nn][attention]") {
  for (const char* position : {"nope", "alibi", "rope"}) {
    INFO(position);
    const auto make = [&](AttentionImpl attention) {
      return CausalSelfAttention({.dim = 16,
                                  .heads = 4,
                                  .kv_heads = 2,
                                  .dropout = 0.3,
                                  .position = make_position(position, {.length = 32, .dim = 16}),
                                  .attention = attention});
    };
    CausalSelfAttention fused = make(AttentionImpl::fused),
                        composed = make(AttentionImpl::composite);
    const auto run = [](const CausalSelfAttention& attn) {
      return pulled([&](const auto& x) { return attn(x[0], 3); }, {random({2, 70, 16})});
    };
    const auto a = run(fused), b = run(composed);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(relative(a[i], b[i]) < exact);
  }
}

TEST_CASE("Attention can be differentiated twice", "[nn][attention][gradcheck]") {
  const Tensor q = random({1, 2, 4, 3}, 1), v = random({1, 1, 5, 3}, 3),
               seed = random({1, 2, 4, 3}, 4);
  const Tensor u = random({1, 2, 4, 3}, 5), w = random({1, 1, 5, 3}, 6);
  Tensor k = random({1, 1, 5, 3}, 2).requires_grad_();
  // s(k) = <d<seed, y>/dq, u>; its derivative along w, by a second sweep and by a difference.
  const auto s = [&](Tape& tape, const Tensor& keys) {
    Tensor queries = q.clone().requires_grad_();
    const Tensor y = composite::attention(queries, keys, v, {.positions = {.slopes = {0.5, 0.25}}});
    return sum(tape.gradient(y, queries, {.record = true}, seed) * u);
  };
  const auto value = [&](real step) {
    Tape tape;
    return double{s(tape, k.detach() + step * w).item()};
  };
  Tape tape;
  const Tensor along = sum(tape.gradient(s(tape, k), k) * w);
  const double step = sizeof(real) == 8 ? 6e-6 : 1e-2;
  const double slope =
      (value(static_cast<real>(step)) - value(static_cast<real>(-step))) / (2 * step);
  CHECK_THAT(along.item(), WithinRel(slope, sizeof(real) == 8 ? 1e-7 : 1e-2));
}

TEST_CASE("Attention says what does not fit", "[nn][attention]") {
  FOR_BOTH;
  const Tensor q = zeros({1, 4, 3, 2}), k = zeros({1, 2, 3, 2});
  CHECK(error_of<std::invalid_argument>([&] {
          attend(q, zeros({1, 3, 3, 2}), zeros({1, 3, 3, 2}));
        }) ==
        "attention: q (1, 4, 3, 2), k (1, 3, 3, 2), v (1, 3, 3, 2) do not fit (B, H, Tq, d), (B, "
        "K, Tk, d), (B, K, Tk, e) "
        "with H a multiple of K");
  CHECK_THROWS_AS(attend(q, zeros({1, 2, 3, 4}), k), ShapeError);
  CHECK_THROWS_AS(attend(q, k, zeros({1, 2, 4, 2})), ShapeError);
  CHECK_THROWS_AS(attend(q, zeros({2, 2, 3, 2}), zeros({2, 2, 3, 2})), ShapeError);
  CHECK_THROWS_AS(attend(zeros({4, 3, 2}), k, k), ShapeError);
  CHECK(error_of<std::invalid_argument>([&] {
          attend(q, k, k, {.positions = {.slopes = {1, 2}}});
        }) == "attention: 2 slopes for 4 heads");
  CHECK(error_of<std::invalid_argument>([&] { attend(q, k, k, {.dropout = 0.1}); }) ==
        "attention: dropout needs a random stream");
  CHECK(error_of<std::invalid_argument>([] { CausalSelfAttention({.dim = 10, .heads = 4}); }) ==
        "CausalSelfAttention: width 10 is not divisible by 4 heads");
  CHECK(error_of<std::invalid_argument>([] {
          CausalSelfAttention({.dim = 12, .heads = 4, .kv_heads = 3});
        }) == "CausalSelfAttention: 4 heads are not divisible by 3 key heads");
  CHECK(error_of<std::invalid_argument>([] {
          layer("nope")(zeros({3, 16}));
        }) == "CausalSelfAttention: needs (B, T, 16), got (3, 16)");
}

TEST_CASE("The attention layer names and prints itself", "[nn][attention]") {
  std::vector<std::string> names;
  const CausalSelfAttention attn = layer("rope", 4, 2, 0.1);
  for (const auto& [name, parameter] : attn.named_parameters())
    names.push_back(name + ' ' + to_string(parameter.shape()));
  CHECK(names == std::vector<std::string>{"c_attn.weight (32, 16)", "c_attn.bias (32,)",
                                          "c_proj.weight (16, 16)", "c_proj.bias (16,)"});
  CHECK(attn.to_string() ==
        "CausalSelfAttention(16, 4 heads on 2 key heads)\n"
        "  c_attn: Linear(16 -> 32)  544\n"
        "  c_proj: Linear(16 -> 16)  272\n"
        "  resid_dropout: Dropout(p = 0.1)\n"
        "parameters: 816\n");
}
