// Gpt: gradients, causality, training, memory and threads. That it is GPT-2 is
// reference_test.cpp's; its cache and generation are generate_test.cpp's.
#include <xgrad/models/gpt.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "models/tiny_gpt.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

/// A scheme made up here: tokens fade with their position, at a rate that is learned per feature,
/// and far ones are seen less.
struct Fading : Position {
  explicit Fading(std::size_t width) : rate(this, "rate", full({width}, real(0.1))) {}
  Tensor on_embedding(const Tensor& x, std::size_t start) const override {
    const auto first = static_cast<real>(start);
    const Tensor at = reshape(arange(first, first + static_cast<real>(x.size(-2))), {-1, 1});
    return x * exp(-(at * rate));
  }
  AttentionPositions in_attention(std::size_t heads, std::size_t, std::size_t,
                                  std::size_t) const override {
    return {.slopes = std::vector<real>(heads, real(0.1))};
  }
  Parameter rate;
};

/// V D + L (12 D^2 + 13 D) + 2 D: a weight of 3 D^2 for attention's projection, D^2 behind it, 8
/// D^2 in the feed-forward; biases of 3 D + D + 4 D + D; two norms of 2 D.
constexpr std::size_t gpt_parameters(std::size_t V, std::size_t D, std::size_t L) {
  return V * D + L * (12 * D * D + 13 * D) + 2 * D;
}
static_assert(gpt_parameters(50257, 768, 12) + 1024 * 768 == 124439808);  // GPT-2 small

}  // namespace

TEST_CASE("Gpt has GPT-2's parameters", "[models][gpt]") {
  const auto count = [](const Gpt& model) {
    std::size_t total = 0;
    for (const Tensor& parameter : model.parameters()) total += parameter.size();
    return total;
  };
  CHECK(count(Gpt(tiny("rope", 3))) == gpt_parameters(11, 16, 3));
  CHECK(count(Gpt(tiny("learned", 3))) == gpt_parameters(11, 16, 3) + 16 * 16);
  CHECK(Gpt({.vocab = 11, .layers = 1, .heads = 4, .dim = 16, .kv_heads = 1, .bias = false})
            .to_string() ==
        "Gpt\n"
        "  wte: Embedding(11, 16)  176\n"
        "  drop: Dropout(p = 0)\n"
        "  h: ModuleList\n"
        "    0: GptBlock\n"
        "      ln_1: LayerNorm(16)  16\n"
        "      attn: CausalSelfAttention(16, 4 heads on 1 key heads)\n"
        "        c_attn: Linear(16 -> 24)  384\n"
        "        c_proj: Linear(16 -> 16)  256\n"
        "        resid_dropout: Dropout(p = 0)\n"
        "      ln_2: LayerNorm(16)  16\n"
        "      mlp: FeedForward\n"
        "        c_fc: Linear(16 -> 64)  1024\n"
        "        c_proj: Linear(64 -> 16)  1024\n"
        "        dropout: Dropout(p = 0)\n"
        "  ln_f: LayerNorm(16)  16\n"
        "parameters: 2912\n");
}

TEST_CASE("Gpt starts with GPT-2's initial values, scaled to its width", "[models][gpt]") {
  const Gpt model({.vocab = 100,
                   .layers = 8,
                   .heads = 4,
                   .dim = 64,
                   .position = make_position("learned", {.length = 64, .dim = 64})});
  for (const auto& [name, parameter] : model.named_parameters()) {
    INFO(name);
    const double deviation = std::sqrt(mean(square(parameter)).item());
    if (parameter.ndim() == 2) {
      double expected = 0.02;
      if (name.starts_with("h."))
        expected = 1 / std::sqrt(3.0 * static_cast<double>(parameter.size(-1)));
      if (name.ends_with("c_proj.weight")) expected /= 4;  // sqrt(2 * 8 layers)
      CHECK_THAT(deviation, WithinRel(expected, 0.06));
    } else {
      CHECK(deviation == (name.ends_with("weight") ? 1 : 0));
    }
  }
  CHECK(same(Gpt(tiny("rope", 1)).wte.weight, Gpt(tiny("nope", 2)).wte.weight));
  CHECK(
      same(Gpt(tiny("rope", 1)).h[0].mlp.c_fc.weight, Gpt(tiny("alibi", 2)).h[0].mlp.c_fc.weight));
}

TEST_CASE("An untrained Gpt knows nothing: its loss is log V", "[models][gpt]") {
  for (const std::string& scheme : schemes) {
    INFO(scheme);
    const Gpt model({.vocab = 65,
                     .layers = 2,
                     .heads = 4,
                     .dim = 32,
                     .position = make_position(scheme, {.length = 32, .dim = 32, .heads = 4})});
    const Tensor loss = cross_entropy(model(random_ids(8, 32, 65, 1)), random_ids(8, 32, 65, 2));
    CHECK_THAT(loss.item(), WithinAbs(std::log(65.0), 0.1));
  }
}

TEST_CASE("Gpt's gradients agree with finite differences under every scheme",
          "[models][gpt][gradcheck]") {
  if (sizeof(real) == 4) {
    SUCCEED("checked in double");
    return;
  }
  const Indices ids = random_ids(2, 5, 7, 1), targets = random_ids(2, 5, 7, 2);
  for (const std::string& scheme : schemes) {
    Gpt model({.vocab = 7,
               .layers = 1,
               .heads = 4,
               .dim = 16,
               .kv_heads = 2,
               .position = make_position(scheme, {.length = 8, .dim = 16, .heads = 4})});
    Rng rng(7);
    for (Tensor& parameter : model.parameters())  // away from the tiny initial values
      for (real& value : parameter.mutable_array())
        value += static_cast<real>(0.5 * (rng.uniform() - 0.5));
    backward(model, ids, targets);
    for (auto& item : model.named_parameters()) {
      const std::string& name = item.first;  // clang 14 lets no lambda capture structured bindings
      Tensor& parameter = item.second;
      for (int trial = 0; trial < 3; ++trial) {
        const std::size_t i = rng.below(parameter.size());
        const auto loss_at = [&](double shift) {
          real& value = parameter.mutable_data()[i];
          const real before = value;
          value += static_cast<real>(shift);
          const double loss = cross_entropy(model(ids), targets).item();
          value = before;
          return loss;
        };
        const double step = 6e-5;  // four points: the error is of order step^4
        const double slope =
            (8 * (loss_at(step) - loss_at(-step)) - (loss_at(2 * step) - loss_at(-2 * step))) /
            (12 * step);
        INFO(scheme << ", " << name << "[" << i << "]");
        CHECK_THAT(parameter.grad().data()[i], WithinRel(slope, 1e-6) || WithinAbs(slope, 1e-10));
      }
    }
  }
}

TEST_CASE("The tied weight receives the gradients of embedding and head", "[models][gpt]") {
  const Gpt model(tiny("nope"));
  const Indices ids = random_ids(2, 5, 6, 1), targets = random_ids(2, 5, 11, 2);
  backward(model, ids, targets);
  Tensor embed = model.wte.weight.clone().requires_grad_(),
         head = model.wte.weight.clone().requires_grad_();
  Tape tape;
  const Tensor x = model.ln_f(model.h[0](embedding(embed, ids), 0));
  tape.backward(cross_entropy(linear(x, head), targets));
  const Tensor both = embed.grad() + head.grad();
  CHECK(max(abs(model.wte.weight.grad() - both)).item() < (sizeof(real) == 8 ? 1e-15 : 1e-6));
  CHECK(max(abs(embed.grad())).item() > 1e-4);
  CHECK(max(abs(head.grad())).item() > 1e-4);
}

TEST_CASE("A Gpt that takes over the state of another gives its logits to the bit",
          "[models][gpt]") {
  const Indices ids = random_ids(2, 9, 11);
  for (const std::string& scheme : schemes) {
    INFO(scheme);
    GptOptions options = tiny(scheme, 2);
    const Gpt model(options);
    options.position = make_position(scheme, {.length = 16, .dim = 16, .heads = 2});
    options.seed = 5;
    Gpt other(options);
    CHECK_FALSE(same(other(ids), model(ids)));
    other.load_state_dict(model.state_dict());
    CHECK(same(other(ids), model(ids)));
  }
}

TEST_CASE("Changing a token leaves earlier logits equal to the bit", "[models][gpt]") {
  const Indices ids = random_ids(2, 9, 11);
  for (const std::string& scheme : schemes) {
    INFO(scheme);
    const Gpt model(tiny(scheme, 2));
    const Tensor logits = model(ids);
    for (const std::int64_t t : {1, 5, 8}) {
      Indices changed = ids;
      for (std::size_t b = 0; b < 2; ++b) {
        std::int64_t& id = changed(b, static_cast<std::size_t>(t));
        id = (id + 1) % 11;
      }
      const Tensor other = model(changed);
      CHECK(same(slice(other, 1, 0, t), slice(logits, 1, 0, t)));
      CHECK_FALSE(same(slice(other, 1, t, t + 1), slice(logits, 1, t, t + 1)));
    }
  }
}

TEST_CASE("A common shift of positions matters to absolute schemes alone", "[models][gpt]") {
  const Indices ids = random_ids(2, 6, 11);
  for (const std::string& scheme : schemes) {
    INFO(scheme);
    const Gpt model(tiny(scheme, 2));
    const double change = max(abs(model(ids, 9) - model(ids))).item();
    if (scheme == "learned" || scheme == "sinusoidal")
      CHECK(change > 1e-3);
    else
      CHECK(change < (sizeof(real) == 8 ? 1e-13 : 1e-5));
  }
}

TEST_CASE("A position scheme made up by the user trains", "[models][gpt][position]") {
  const auto scheme = std::make_shared<Fading>(16);
  const Gpt model({.vocab = 11, .layers = 2, .heads = 2, .dim = 16, .position = scheme});
  CHECK(model.named_parameters().back().first == "wpe.rate");
  const Indices ids = random_ids(2, 8, 11, 1), targets = random_ids(2, 8, 11, 2);
  backward(model, ids, targets);
  CHECK(max(abs(scheme->rate.grad())).item() > 0);
  for (Tensor& parameter : model.parameters()) parameter.zero_grad();
  const Tensor before = scheme->rate.clone();
  const std::vector<real> losses = train(model, ids, targets, 10);
  CHECK(losses.back() < losses.front());
  CHECK_FALSE(same(scheme->rate, before));
}

TEST_CASE("A learned position belongs to one model at a time", "[models][gpt][position]") {
  const auto scheme = make_position("learned", {.length = 16, .dim = 16});
  GptOptions options = tiny("nope");
  options.position = scheme;
  {
    const Gpt model(options);
    CHECK(scheme->path() == "wpe");
    CHECK_THROWS_AS(Gpt(options), std::logic_error);
    CHECK(scheme->path() == "wpe");
  }
  CHECK(scheme->path().empty());
  CHECK(Gpt(options).named_parameters().back().first == "wpe.weight");
}

TEST_CASE("Gpt says what is wrong with its input", "[models][gpt]") {
  const Gpt model(tiny("learned"));
  CHECK(error_of<std::invalid_argument>([&] {
          model(Indices{1, 2, 3});
        }) == "Gpt: needs ids (B, T), got 1 axes");
  CHECK_THROWS_AS(model(one_row({1, 11})), std::invalid_argument);
  CHECK(
      error_of<std::invalid_argument>([&] { model(random_ids(1, 17, 11)); }) ==
      "LearnedPosition: positions 0 to 16 are beyond the table of 16; give shorter texts, a longer "
      "table, or .wrap = true");
  CHECK(error_of<std::invalid_argument>([] { Gpt({.layers = 0}); }) ==
        "Gpt: needs at least 1 layer");
  CHECK(error_of<std::invalid_argument>([] { Gpt({.heads = 3, .dim = 16}); }) ==
        "CausalSelfAttention: width 16 is not divisible by 3 heads");
}

TEST_CASE("A Gpt in evaluation mode drops nothing, whatever its dropout",
          "[models][gpt][dropout]") {
  GptOptions options = tiny("rope");
  const Gpt plain(options);
  options.position = make_position("rope", {.length = 16, .dim = 16});
  options.dropout = 0.3;
  Gpt model(options);
  const Indices ids = random_ids(2, 6, 11);
  CHECK_FALSE(same(model(ids), plain(ids)));
  CHECK_FALSE(same(model(ids), model(ids)));
  model.reseed(5);
  const Tensor logits = model(ids);
  model.reseed(5);
  CHECK(same(model(ids), logits));
  model.eval();
  CHECK(same(model(ids), plain(ids)));
}

TEST_CASE("After the first training step a Gpt asks the system for no more tensor storage",
          "[models][gpt][memory]") {
  GptOptions options = tiny("rope", 2);
  options.dropout = 0.1;
  Gpt model(options);
  const Indices ids = random_ids(4, 16, 11, 1), targets = random_ids(4, 16, 11, 2);
  AdamW optimizer(model.parameters());
  std::uint64_t after_first = 0;
  for (int step = 1; step <= 6; ++step) {
    backward(model, ids, targets);
    optimizer.step();
    optimizer.zero_grad();
    if (step == 1) after_first = memory::stats().allocations;
  }
  CHECK(memory::stats().allocations == after_first);
}

TEST_CASE("Training a Gpt gives the same losses for any number of threads, and again",
          "[models][gpt][threads]") {
  const RestoreThreads restore;
  const Indices ids = random_ids(8, 64, 65, 1), targets = random_ids(8, 64, 65, 2);
  std::vector<real> first;
  for (const int threads : {1, 2, 3, 1}) {
    set_num_threads(threads);
    Gpt model({.vocab = 65,
               .layers = 1,
               .heads = 4,
               .dim = 64,
               .dropout = 0.1,
               .position = make_position("rope", {.length = 64, .dim = 64})});
    model.reseed(1);
    const std::vector<real> losses = train(model, ids, targets, 5);
    if (first.empty()) first = losses;
    INFO(threads << " threads");
    CHECK(losses == first);
    CHECK(losses.back() < losses.front());
  }
}

TEST_CASE("recomputing blocks changes no bit of a gradient and lowers the peak",
          "[gpt][checkpoint][memory]") {
  const auto run = [](bool recompute) {
    GptOptions options = tiny("rope", 6);
    options.dropout = 0.2;
    options.recompute = recompute;
    Gpt model(options);
    const Indices ids = random_ids(4, 16, 11), targets = random_ids(4, 16, 11, 2);
    backward(model, ids, targets);  // fills the pool
    model.zero_grad();
    memory::reset_peak();
    const std::size_t before = memory::stats().current;
    backward(model, ids, targets);
    std::vector<Tensor> gradients;
    for (const Tensor& p : model.parameters()) gradients.push_back(p.grad());
    return std::pair(gradients, memory::stats().peak - before);
  };
  const auto [kept, high] = run(false);
  const auto [again, low] = run(true);
  for (std::size_t i = 0; i < kept.size(); ++i)
    CHECK(std::equal(kept[i].data(), kept[i].data() + kept[i].size(), again[i].data()));
  CAPTURE(high, low);
  CHECK(low < high * 7 / 10);
}

TEST_CASE("a training step keeps no more than the sum of what its rules read", "[gpt][memory]") {
  constexpr std::size_t B = 4, T = 64, D = 64, H = 4, V = 128, layers = 8, tokens = B * T;
  Gpt model({.vocab = V,
             .layers = layers,
             .heads = H,
             .dim = D,
             .position = make_position("rope", {.length = T, .dim = D})});
  const Indices ids = random_ids(B, T, V), targets = random_ids(B, T, V, 2);
  backward(model, ids, targets);
  model.zero_grad();
  std::size_t parameters = 0;
  for (const Tensor& p : model.parameters()) parameters += p.size();

  const std::size_t before = memory::stats().current;
  memory::reset_peak();
  backward(model, ids, targets);
  const std::size_t peak = memory::stats().peak - before;

  // Numbers per token that wait for backward. A block: its input, which is ln_1's; q, k, v, and
  // attention's sum of exponentials per head; c_proj's input, which attention reads too; ln_2's
  // input; gelu's input. What norms and gelu give is computed again.
  const std::size_t block = D + 3 * D + H + D + D + 4 * D;
  const std::size_t model_wide = D + V;  // ln_f's input; the gradient of the logits
  // What one rule has in hand while all that waits: a few tables of the widest operation.
  const std::size_t in_hand = 3 * 4 * D;
  const std::size_t numbers = tokens * (layers * block + model_wide + in_hand) + parameters;
  CAPTURE(peak, numbers * sizeof(real), numbers * sizeof(real) - parameters * sizeof(real));
  CHECK(peak <= numbers * sizeof(real));
  CHECK(peak >= tokens * layers * block * sizeof(real) * 9 / 10);  // the bound is no idle one
}

TEST_CASE("A tape that checks values lets a Gpt train, and finds the layer that overflows",
          "[gpt][tape]") {
  Gpt model(tiny("alibi", 2));
  const Indices ids = random_ids(2, 8, 11);
  const auto step = [&] {
    Tape tape({.check_finite = true});
    tape.backward(cross_entropy(model(ids), ids));
  };
  CHECK(error_of(step) == "no error");
  Tensor weight = model.h[1].attn.c_attn.weight;
  // q k^T overflows, its factors do not.
  weight.mutable_array() *= std::pow(std::numeric_limits<real>::max(), real(0.75));
  CHECK_THAT(error_of(step),
             Catch::Contains("self_attention: produced NaN or Inf in Gpt.h.1.attn from"));
}
