// Generation: the cache against whole texts, batches against single texts, the choice of tokens
// against numbers worked out by hand and against frequencies, and what is refused.
#include <xgrad/models/generate.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "error_of.hpp"
#include "models/tiny_gpt.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

using Tokens = std::vector<std::int64_t>;

constexpr std::size_t V = 11;
constexpr double infinity = std::numeric_limits<double>::infinity();

/// A model that has half learned a few texts: what it says next is no matter of course, and depends
/// on all that it sees. (Untrained, its likeliest token is the one it has just read.)
struct HalfTrained {
  explicit HalfTrained(const GptOptions& options) : model(options) {
    train(model, random_ids(8, 16, V, 21), random_ids(8, 16, V, 22), 60);
  }
  Gpt model;
};

Tokens random_tokens(std::size_t count, std::uint64_t seed) {
  const Indices ids = random_ids(1, count, V, seed);
  return {ids.begin(), ids.end()};
}

std::vector<real> row(const Tensor& logits, std::size_t b, std::size_t t) {
  const real* first = logits.data() + (b * logits.size(-2) + t) * V;
  return {first, first + V};
}

void check_close(const std::vector<real>& a, const std::vector<real>& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    REQUIRE_THAT(a[i], WithinAbs(b[i], sizeof(real) == 8 ? 1e-12 : 2e-5));
}

/// Of logits whose softmax is p.
std::vector<double> chosen(const std::vector<double>& p, const GenerateOptions& options,
                           const Tokens& seen = {}) {
  std::vector<real> logits;
  for (const double value : p) logits.push_back(static_cast<real>(std::log(value)));
  return next_token_probabilities(logits, seen, options);
}

void check_near(const std::vector<double>& p, const std::vector<double>& expected) {
  REQUIRE(p.size() == expected.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    CAPTURE(i);
    CHECK_THAT(p[i], WithinAbs(expected[i], sizeof(real) == 8 ? 1e-14 : 1e-6));
    if (expected[i] == 0) CHECK(p[i] == 0);
  }
}

}  // namespace

// ---- the cache

TEST_CASE("a Gpt with a cache gives the logits of the whole text, however it is cut",
          "[models][gpt][generate]") {
  for (const std::string& position : schemes)
    for (const std::size_t kv_heads : {1, 2})
      for (const AttentionWindow window :
           {AttentionWindow{}, AttentionWindow{4}, AttentionWindow{3, 2}}) {
        GptOptions options = tiny(position, 2);
        options.kv_heads = kv_heads;
        options.window = window;
        options.attention = AttentionImpl::composite;
        const Gpt model(options);
        const Indices ids = random_ids(2, 13, V);
        const Tensor whole = model(ids);
        for (const std::vector<std::size_t>& cuts : std::vector<std::vector<std::size_t>>{
                 {13}, {1, 12}, {5, 1, 7}, std::vector<std::size_t>(13, 1)}) {
          GptCache cache = model.make_cache(2, 16);
          std::size_t start = 0;
          for (const std::size_t count : cuts) {
            Indices part = Indices::from_shape({2, count});
            for (std::size_t b = 0; b < 2; ++b)
              for (std::size_t t = 0; t < count; ++t) part(b, t) = ids(b, start + t);
            const Tensor logits = model(part, cache);
            CAPTURE(position, kv_heads, window.size, window.sinks, cuts.size(), start);
            for (std::size_t b = 0; b < 2; ++b)
              for (std::size_t t = 0; t < count; ++t)
                check_close(row(logits, b, t), row(whole, b, start + t));
            start += count;
          }
          CHECK(cache.lengths() == std::vector<std::size_t>{13, 13});
        }
      }
}

TEST_CASE("texts of a cache go on by different numbers of tokens, each as if it were alone",
          "[models][gpt][generate]") {
  for (const std::string& position : schemes) {
    GptOptions options = tiny(position, 2);
    options.kv_heads = 1;
    const Gpt model(options);
    const std::vector<Tokens> texts{random_tokens(9, 1), random_tokens(6, 2), random_tokens(12, 3)};
    GptCache cache = model.make_cache(3, 16);
    std::vector<std::size_t> read(3);
    for (const std::vector<std::size_t>& counts :
         std::vector<std::vector<std::size_t>>{{5, 2, 8}, {1, 1, 1}, {2, 3, 1}, {1, 0, 2}}) {
      if (counts[1] == 0) {  // text 1 is at its end
        cache.keep({0, 2});
        read = {read[0], 0, read[2]};
      }
      std::vector<std::span<const std::int64_t>> next;
      std::vector<std::size_t> lengths;
      for (std::size_t b = 0; b < 3; ++b)
        if (counts[b] > 0) {
          next.push_back(std::span(texts[b]).subspan(read[b], counts[b]));
          lengths.push_back(read[b] += counts[b]);
        }
      const Tensor logits = model.next(next, cache);
      CHECK(logits.shape() == Shape{next.size(), V});
      CHECK(cache.lengths() == lengths);
      std::size_t i = 0;
      for (std::size_t b = 0; b < 3; ++b)
        if (counts[b] > 0) {
          CAPTURE(position, b, read[b]);
          const Tokens so_far(texts[b].begin(),
                              texts[b].begin() + static_cast<std::ptrdiff_t>(read[b]));
          check_close(row(logits, 0, i++), row(model(one_row(so_far)), 0, read[b] - 1));
        }
    }
  }
}

TEST_CASE("a cache forgets what it is told to", "[models][gpt][generate]") {
  const Gpt model(tiny("rope", 2));
  GptCache cache = model.make_cache(2, 8);
  model(random_ids(2, 6, V, 1), cache);
  cache.truncate({4, 0});
  CHECK(cache.lengths() == std::vector<std::size_t>{4, 0});
  const Tokens first{1, 2}, second{3, 4, 5};
  const Tensor logits = model.next({first, second}, cache);
  const Indices before = random_ids(2, 6, V, 1);
  check_close(
      row(logits, 0, 0),
      row(model(one_row({before(0, 0), before(0, 1), before(0, 2), before(0, 3), 1, 2})), 0, 5));
  check_close(row(logits, 0, 1), row(model(one_row(second)), 0, 2));

  CHECK(error_of<std::invalid_argument>([&] {
          cache.truncate({6, 4});
        }) == "GptCache: text 1 has 3 tokens, and cannot be cut to 4");
  CHECK(error_of<std::invalid_argument>([&] { cache.truncate({6}); }) ==
        "GptCache: 1 lengths for 2 texts");
  CHECK_THROWS_AS(cache.keep({2}), std::invalid_argument);
  CHECK(cache.lengths() == std::vector<std::size_t>{6, 3});
}

TEST_CASE("a cache says what does not fit it", "[models][gpt][generate]") {
  const Gpt model(tiny("rope", 2));
  GptCache cache = model.make_cache(1, 4);
  model(one_row({1, 2, 3}), cache);
  CHECK(error_of<ShapeError>([&] {
          model(one_row({1, 2}), cache);
        }) == "cached_attention: 5 tokens are more than the cache (1, 2, 4, 8) has room for");
  CHECK(cache.lengths() == std::vector<std::size_t>{3});
  GptCache wide = model.make_cache(2, 4);
  CHECK(error_of<ShapeError>([&] { model(one_row({1}), wide); }) ==
        "Gpt: ids (1, 1) do not fit a cache of 2 texts");
  const Tokens one{1};
  CHECK(error_of<ShapeError>([&] { model.next({one}, wide); }) ==
        "Gpt: ids (1, 1) do not fit a cache of 2 texts");
  CHECK(error_of<std::invalid_argument>([&] {
          model.next({one, {}}, wide);
        }) == "Gpt: next() needs a new token of every text");
  GptCache small = Gpt(tiny("rope", 1)).make_cache(1, 4);
  CHECK(error_of<std::invalid_argument>([&] { model(one_row({1}), small); }) ==
        "Gpt: a cache of 1 blocks for a model of 2");
  GptCache none;
  CHECK(error_of<std::invalid_argument>([&] { model.next({one}, none); }) ==
        "Gpt: a cache of 0 blocks for a model of 2");

  const CausalSelfAttention layer({.dim = 8, .heads = 2, .dropout = 0.5});
  KeyValueCache layers_own = layer.make_cache(1, 4);
  CHECK(error_of<std::logic_error>([&] {
          layer(zeros({1, 1, 8}), layers_own);
        }) == "CausalSelfAttention: dropout and a cache; call eval() first");
  KeyValueCache empty;
  CHECK(error_of<std::invalid_argument>([&] {
          cached_attention(zeros({1, 1, 6}), 1, 1, empty);
        }) == "cached_attention: the cache has no room");
  KeyValueCache other{.keys = zeros({1, 1, 4, 2}), .values = zeros({1, 1, 4, 2}), .lengths = {0}};
  CHECK(
      error_of<ShapeError>([&] {
        cached_attention(zeros({2, 1, 6}), 1, 1, other);
      }) ==
      "cached_attention: a cache of keys (1, 1, 4, 2), values (1, 1, 4, 2) and 1 lengths does not "
      "fit (2, 1, capacity, 2)");
  Tape tape;
  CHECK(error_of<std::logic_error>([&] {
          cached_attention(zeros({1, 1, 6}).requires_grad_(), 1, 1, other);
        }) == "cached_attention: has no gradient; pause the tape or detach()");
  CHECK(error_of<ShapeError>([&] {
          cached_attention(zeros({1, 6}), 1, 1, other);
        }) ==
        "cached_attention: qkv (1, 6) does not fit (B, T, 3 d) for 1 heads and twice 1 key heads");
}

// ---- the choice of a token

TEST_CASE("top-p keeps the fewest likeliest tokens whose mass reaches it", "[generate]") {
  const std::vector<double> p{0.05, 0.5, 0.15, 0.3};
  check_near(chosen(p, {}), p);
  check_near(chosen(p, {.top_p = 0.9}), {0, 0.5 / 0.95, 0.15 / 0.95, 0.3 / 0.95});
  check_near(chosen(p, {.top_p = 0.7}), {0, 0.5 / 0.8, 0, 0.3 / 0.8});
  check_near(chosen(p, {.top_p = 0.4}), {0, 1, 0, 0});
  check_near(chosen(p, {.top_p = 1e-9}), {0, 1, 0, 0});
  for (const double half : {0.45, 0.5})
    check_near(chosen({0.25, 0.25, 0.25, 0.25}, {.top_p = half}), {0.5, 0.5, 0, 0});
  check_near(chosen(p, {.top_p = std::nextafter(1, 0)}), p);
}

TEST_CASE("top-k keeps the k likeliest tokens and what is as likely as the last", "[generate]") {
  const std::vector<double> p{0.1, 0.4, 0.2, 0.2, 0.1};
  check_near(chosen(p, {.top_k = 1}), {0, 1, 0, 0, 0});
  check_near(chosen(p, {.top_k = 2}), {0, 0.5, 0.25, 0.25, 0});
  check_near(chosen(p, {.top_k = 3}), {0, 0.5, 0.25, 0.25, 0});
  for (const std::size_t k : {0, 4, 5, 9}) check_near(chosen(p, {.top_k = k}), p);
}

TEST_CASE("the temperature sharpens and flattens, and 0 takes the likeliest", "[generate]") {
  const std::vector<double> p{0.2, 0.4, 0.4};
  check_near(chosen(p, {.temperature = 0.5}), {0.04 / 0.36, 0.16 / 0.36, 0.16 / 0.36});
  check_near(chosen(p, {.temperature = 1e300}), {1 / 3.0, 1 / 3.0, 1 / 3.0});
  check_near(chosen({0.2, 0.5, 0.3}, {.temperature = 1e-300}), {0, 1, 0});
  check_near(chosen(p, {.temperature = 0}), {0, 1, 0});  // of equal ones the first
  const std::vector<real> far{1000, -1000, 1000};
  check_near(next_token_probabilities(far, {}, {}), {0.5, 0, 0.5});
}

TEST_CASE("the repetition penalty is taken once from every token seen", "[generate]") {
  const std::vector<real> logits{2, -1, 0, 1};
  const auto unnormalised = [&](const Tokens& seen, const GenerateOptions& options) {
    std::vector<double> p = next_token_probabilities(logits, seen, options);
    for (double& value : p) value = std::log(value);
    return p;
  };
  const GenerateOptions penalty{.repetition_penalty = 1.2};
  for (const Tokens& seen : {Tokens{0, 1, 2}, Tokens{2, 1, 0, 0, 1, 1}}) {
    const std::vector<double> scores = unnormalised(seen, penalty);
    CHECK_THAT(scores[0] - scores[3], WithinAbs(2 / 1.2 - 1, 1e-12));
    CHECK_THAT(scores[1] - scores[3], WithinAbs(-1.2 - 1, 1e-12));
    CHECK_THAT(scores[2] - scores[3], WithinAbs(-1, 1e-12));
  }
  const std::vector<double> before = unnormalised({}, penalty);
  CHECK_THAT(before[0] - before[1], WithinAbs(3, 1e-12));
  // Below 1 it rewards; and it comes before the temperature, top-k and top-p.
  CHECK(
      next_token_probabilities(logits, Tokens{3}, {.temperature = 0, .repetition_penalty = 0.4}) ==
      std::vector<double>{0, 0, 0, 1});
  CHECK(next_token_probabilities(logits, Tokens{0}, {.top_k = 1, .repetition_penalty = 4}) ==
        std::vector<double>{0, 0, 0, 1});
}

TEST_CASE("penalty, temperature, top-k and top-p work in this order", "[generate]") {
  // Squared and normalised: 0.64, 0.16, 0.16, 0.04 of which top-k leaves the first three: 2/3, 1/6,
  // 1/6, and top-p two. In any other order another set stays.
  check_near(chosen({0.4, 0.2, 0.2, 0.1}, {.temperature = 0.5, .top_k = 2, .top_p = 0.8}),
             {0.8, 0.2, 0, 0});
  // Without the temperature top-p 0.55 would keep two, without top-k it would keep two.
  check_near(chosen({0.4, 0.3, 0.2, 0.1}, {.temperature = 2, .top_k = 2, .top_p = 0.52}),
             {1, 0, 0, 0});
}

TEST_CASE("probabilities are refused where there are none", "[generate]") {
  const auto refused = [](std::vector<real> logits, const GenerateOptions& options = {},
                          const Tokens& seen = {}) {
    return error_of<std::invalid_argument>(
        [&] { next_token_probabilities(logits, seen, options); });
  };
  constexpr real inf = std::numeric_limits<real>::infinity(),
                 nan = std::numeric_limits<real>::quiet_NaN();
  const std::string bad =
      "next_token_probabilities: logits must be below +inf, not NaN, and one above -inf";
  CHECK(refused({1, nan, 2}) == bad);
  CHECK(refused({1, inf}, {.temperature = 0}) == bad);
  CHECK(refused({-inf, -inf}) == bad);
  CHECK(refused({}) == bad);
  CHECK(refused({-inf, 1}) == "no error");
  CHECK(refused({1, 2}, {.top_p = 0}) ==
        "next_token_probabilities: top_p must be in (0, 1], got 0");
  CHECK(refused({1, 2}, {.repetition_penalty = 2}, {2}) ==
        "next_token_probabilities: token 2 is not in the vocabulary of 2");
  const std::vector<real> partly{-inf, 1, 1};
  CHECK(next_token_probabilities(partly, {}, {.top_k = 3}) == std::vector<double>{0, 0.5, 0.5});
}

// ---- texts

TEST_CASE("A tiny Gpt memorises a sequence and recites it", "[models][gpt][generate]") {
  const Tokens text{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  const Indices ids = one_row({text.begin(), text.end() - 1}),
                targets = one_row({text.begin() + 1, text.end()});
  for (const std::string& scheme : schemes) {
    INFO(scheme);
    const Gpt model(tiny(scheme, 2));
    CHECK(train(model, ids, targets, 120).back() < real(0.1));
    CHECK(generate(model, {3, 1}, {.max_tokens = 14, .temperature = 0}) ==
          Tokens(text.begin() + 2, text.end()));
  }
}

TEST_CASE("generate repeats itself for a seed, and follows the likeliest token at temperature 0",
          "[models][gpt][generate]") {
  const Gpt model(tiny("rope"));
  const Tokens prompt{1, 2, 3};
  const auto text = [&](const GenerateOptions& options) {
    return generate(model, prompt, options);
  };
  const Tokens sampled = text({.max_tokens = 30, .seed = 1});
  CHECK(sampled.size() == 30);
  CHECK(text({.max_tokens = 30, .seed = 1}) == sampled);
  CHECK(text({.max_tokens = 30, .seed = 2}) != sampled);
  CHECK(text({.max_tokens = 0}).empty());

  Tokens tokens = prompt;
  for (int i = 0; i < 10; ++i) {
    const std::vector<real> logits = row(model(one_row(tokens)), 0, tokens.size() - 1);
    tokens.push_back(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  const Tokens likeliest(tokens.begin() + 3, tokens.end());
  CHECK(text({.max_tokens = 10, .temperature = 0}) == likeliest);
  CHECK(text({.max_tokens = 10, .temperature = 0, .seed = 9}) == likeliest);
  CHECK(text({.max_tokens = 10, .top_k = 1, .seed = 9}) == likeliest);
  CHECK(text({.max_tokens = 10, .top_p = 1e-6, .seed = 9}) == likeliest);
  CHECK(text({.max_tokens = 10, .temperature = 1e-9}) == likeliest);
}

TEST_CASE("generate samples with the model's probabilities, among the top k",
          "[models][gpt][generate]") {
  const HalfTrained trained(tiny("nope"));
  const Gpt& model = trained.model;
  const GenerateOptions all{.max_tokens = 1, .temperature = 2},
      top{.max_tokens = 1, .temperature = 2, .top_k = 3};
  const std::vector<real> logits = row(model(one_row({4})), 0, 0);
  constexpr int draws = 1000;
  for (GenerateOptions options : {all, top}) {
    const std::vector<double> p = next_token_probabilities(logits, {}, options);
    std::vector<int> seen(V);
    for (options.seed = 0; options.seed < draws; ++options.seed)
      ++seen[static_cast<std::size_t>(generate(model, {4}, options)[0])];
    for (std::size_t i = 0; i < V; ++i) {
      CAPTURE(i, options.top_k);
      CHECK_THAT(seen[i] / double{draws},
                 WithinAbs(p[i], 4 * std::sqrt(p[i] * (1 - p[i]) / draws) + 1e-9));
    }
  }
}

TEST_CASE("texts of a batch draw from streams of their own", "[models][gpt][generate]") {
  const Gpt model(tiny("nope"));  // untrained: nearly uniform
  const std::vector<Tokens> prompts(60, Tokens{4});
  const std::vector<Tokens> texts = generate(model, prompts, {.max_tokens = 20, .seed = 5});
  CHECK(std::set<Tokens>(texts.begin(), texts.end()).size() == 60);
  std::vector<int> seen(V);
  for (const Tokens& text : texts)
    for (const std::int64_t token : text) ++seen[static_cast<std::size_t>(token)];
  double chi_squared = 0;
  for (const int count : seen) chi_squared += std::pow(count - 1200.0 / V, 2) / (1200.0 / V);
  CHECK(chi_squared < 30);  // 10 degrees of freedom: beyond it once in a thousand
}

TEST_CASE("a batch of prompts of different lengths gives the texts of each alone",
          "[models][gpt][generate]") {
  const std::vector<Tokens> prompts{random_tokens(5, 1), random_tokens(1, 2), random_tokens(20, 3),
                                    random_tokens(9, 4), random_tokens(14, 5)};
  for (const std::string& scheme : schemes) {
    const HalfTrained trained(tiny(scheme, 2));
    const Gpt& model = trained.model;
    for (const std::size_t context : {0, 12})
      for (const std::size_t window : {0, 6}) {
        CAPTURE(scheme, context, window);
        GenerateOptions options{
            .max_tokens = 18, .temperature = 0, .repetition_penalty = 1.5, .context = context};
        options.window.size = window;
        std::vector<Tokens> alone;
        for (const Tokens& prompt : prompts) alone.push_back(generate(model, prompt, options));
        CHECK(generate(model, prompts, options) == alone);
        options.stop = {alone[0][3], alone[3][7]};  // texts leave at different times
        std::size_t ended = 0;
        for (Tokens& text : alone) {
          const auto stop = std::find_first_of(text.begin(), text.end(), options.stop.begin(),
                                               options.stop.end());
          if (stop == text.end()) continue;
          text.erase(stop + 1, text.end());
          ++ended;
        }
        CHECK(ended >= 2);
        CHECK(generate(model, prompts, options) == alone);
      }
  }
}

TEST_CASE("the first text of a batch is the one that it is alone, sampled or not",
          "[models][gpt][generate]") {
  const Gpt model(tiny("rope", 2));
  const GenerateOptions options{
      .max_tokens = 25, .temperature = 0.9, .top_k = 8, .top_p = 0.95, .seed = 3};
  const Tokens first = random_tokens(4, 1);
  const std::vector<Tokens> texts =
      generate(model, std::vector<Tokens>{first, random_tokens(7, 2), first}, options);
  CHECK(texts[0] == generate(model, first, options));
  CHECK(texts[2] != texts[0]);
  CHECK(generate(model, std::vector<Tokens>{}, options).empty());
}

TEST_CASE("generate gives the same texts for any number of threads", "[generate][threads]") {
  const RestoreThreads restore;
  const Gpt model({.vocab = V,
                   .layers = 2,
                   .heads = 4,
                   .dim = 128,
                   .position = make_position("rope", {.length = 64, .dim = 128, .heads = 4})});
  const std::vector<Tokens> prompts{random_tokens(40, 1), random_tokens(3, 2)};
  std::vector<Tokens> first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const std::vector<Tokens> texts = generate(model, prompts, {.max_tokens = 30, .seed = 8});
    if (first.empty()) first = texts;
    CHECK(texts == first);
  }
}

TEST_CASE("a text ends with the first of its stop tokens", "[models][gpt][generate]") {
  const Gpt model(tiny("rope"));
  const Tokens whole = generate(model, {1}, {.max_tokens = 40, .seed = 2});
  for (const Tokens& stop : {Tokens{whole[5]}, Tokens{whole[7], whole[4]}, Tokens{}}) {
    const auto at = std::find_first_of(whole.begin(), whole.end(), stop.begin(), stop.end());
    CHECK(generate(model, {1}, {.max_tokens = 40, .seed = 2, .stop = stop}) ==
          Tokens(whole.begin(), at == whole.end() ? at : at + 1));
  }
  // With a context and a stop token, a text needs no other end.
  const GenerateOptions endless{.max_tokens = SIZE_MAX, .stop = {5}, .context = 4};
  CHECK(generate(model, {1}, endless).back() == 5);
  // A stop token in the prompt is none.
  CHECK(generate(model, {1}, {.max_tokens = 3, .temperature = 0, .stop = {1}}).size() > 0);
}

TEST_CASE("tokens arrive as they come, step by step and text by text", "[models][gpt][generate]") {
  const Gpt model(tiny("rope"));
  std::vector<std::pair<std::size_t, std::int64_t>> heard;
  GenerateOptions options{.max_tokens = 12, .seed = 4};
  const std::vector<Tokens> prompts{{1, 2}, {3}, {4, 5, 6}};
  const Tokens stop{generate(model, prompts, options)[1][2]};
  options.stop = stop;
  options.on_token = [&](std::size_t text, std::int64_t token) { heard.emplace_back(text, token); };
  const std::vector<Tokens> texts = generate(model, prompts, options);
  CHECK(texts[1].size() <= 3);
  std::vector<std::pair<std::size_t, std::int64_t>> expected;
  for (std::size_t step = 0; step < 12; ++step)
    for (std::size_t b = 0; b < 3; ++b)
      if (step < texts[b].size()) expected.emplace_back(b, texts[b][step]);
  CHECK(heard == expected);

  heard.clear();
  options.on_token = [&](std::size_t text, std::int64_t token) {
    heard.emplace_back(text, token);
    if (heard.size() == 4) throw std::runtime_error("enough");
  };
  CHECK(error_of([&] { generate(model, prompts, options); }) == "enough");
  CHECK(heard.size() == 4);
}

TEST_CASE("the repetition penalty counts the prompt and all that came, in sight or not",
          "[models][gpt][generate]") {
  const HalfTrained trained(tiny("rope"));
  const GenerateOptions plain{.max_tokens = 20, .temperature = 0, .context = 3};
  GenerateOptions penalised = plain;
  penalised.repetition_penalty = 1.7;
  const Tokens prompt = generate(trained.model, {1}, plain);  // tokens that are likely
  Tokens tokens = prompt;
  while (tokens.size() < prompt.size() + 20) {
    const Tensor logits = trained.model(one_row({tokens.end() - 3, tokens.end()}));
    const std::vector<double> p = next_token_probabilities(row(logits, 0, 2), tokens, penalised);
    tokens.push_back(std::max_element(p.begin(), p.end()) - p.begin());
  }
  const Tokens text = generate(trained.model, prompt, penalised);
  CHECK(text == Tokens(tokens.begin() + 20, tokens.end()));
  CHECK(text != generate(trained.model, prompt, plain));
}

TEST_CASE("past its context a text goes on from its last tokens, read anew",
          "[models][gpt][generate]") {
  const Gpt model(tiny("rope"));
  const auto text = [&](const Tokens& prompt) {
    return generate(model, prompt, {.max_tokens = 20, .seed = 3, .context = 4});
  };
  CHECK(text({9, 8, 7, 1, 2, 3, 4}) == text({1, 2, 3, 4}));

  // By hand, with no cache; a learned table of 16 is a context of 16 by itself.
  for (const auto& [scheme, context, seen] :
       {std::tuple("learned", 0, 16), std::tuple("learned", 5, 5), std::tuple("alibi", 7, 7)}) {
    const HalfTrained trained(tiny(scheme, 2));
    Tokens tokens{1};
    for (int i = 0; i < 30; ++i) {
      const auto last = std::min<std::ptrdiff_t>(std::ssize(tokens), seen);
      const Tensor logits = trained.model(one_row({tokens.end() - last, tokens.end()}));
      const std::vector<real> now = row(logits, 0, static_cast<std::size_t>(last - 1));
      tokens.push_back(std::max_element(now.begin(), now.end()) - now.begin());
    }
    CAPTURE(scheme, context);
    CHECK(generate(
              trained.model, Tokens{1},
              {.max_tokens = 30, .temperature = 0, .context = static_cast<std::size_t>(context)}) ==
          Tokens(tokens.begin() + 1, tokens.end()));
  }
}

TEST_CASE("a window stands in for the model's own", "[models][gpt][generate][window]") {
  for (const std::string& scheme : schemes)
    for (const AttentionWindow window : {AttentionWindow{4}, AttentionWindow{3, 2}}) {
      CAPTURE(scheme, window.size, window.sinks);
      const HalfTrained plain(tiny(scheme, 2));
      GptOptions options = tiny(scheme, 2);
      options.window = window;
      Gpt narrow(options);
      narrow.load_state_dict(plain.model.state_dict());
      const Tokens prompt = random_tokens(6, 1);
      const GenerateOptions wide{.max_tokens = 30, .temperature = 0};
      GenerateOptions with_window = wide;
      with_window.window = window;
      const Tokens text = generate(plain.model, prompt, with_window);
      CHECK(text == generate(narrow, prompt, wide));
      CHECK(text != generate(plain.model, prompt, wide));
    }
  // One layer with a window of 3 sees three tokens and the first.
  const HalfTrained one(tiny("rope", 1));
  const auto text = [&](const Tokens& prompt, AttentionWindow window) {
    return generate(one.model, prompt, {.max_tokens = 20, .temperature = 0, .window = window});
  };
  CHECK(text({9, 8, 7, 1, 2, 3}, {3}) == text({4, 5, 6, 1, 2, 3}, {3}));
  CHECK(text({9, 8, 7, 1, 2, 3}, {3, 1}) == text({9, 5, 6, 1, 2, 3}, {3, 1}));
  CHECK(text({9, 8, 7, 1, 2, 3}, {100}) == text({9, 8, 7, 1, 2, 3}, {}));
}

TEST_CASE("generate records nothing and checks its options", "[models][gpt][generate]") {
  const Gpt model(tiny("learned"));
  Tape tape;
  generate(model, {1}, {.max_tokens = 2});
  CHECK(tape.size() == 0);
  const auto refused = [&](const GenerateOptions& options) {
    return error_of<std::invalid_argument>([&] { generate(model, {1}, options); });
  };
  CHECK(refused({.temperature = -1}) == "generate: temperature must be >= 0, got -1");
  CHECK(refused({.temperature = std::nan("")}) == "generate: temperature must be >= 0, got nan");
  CHECK(refused({.temperature = infinity}) == "generate: temperature must be >= 0, got inf");
  CHECK(refused({.top_p = 0}) == "generate: top_p must be in (0, 1], got 0");
  CHECK(refused({.top_p = 1.5}) == "generate: top_p must be in (0, 1], got 1.5");
  CHECK(refused({.top_p = std::nan("")}) == "generate: top_p must be in (0, 1], got nan");
  CHECK(refused({.repetition_penalty = 0}) == "generate: repetition_penalty must be > 0, got 0");
  CHECK(refused({.repetition_penalty = std::nan("")}) ==
        "generate: repetition_penalty must be > 0, got nan");
  CHECK(refused({.stop = {1, 11}}) == "generate: stop token 11 is not in the vocabulary of 11");
  CHECK(refused({.stop = {-1}}) == "generate: stop token -1 is not in the vocabulary of 11");
  CHECK(refused({.window = {.sinks = 2}}) == "generate: window has 2 sinks, but no size");
  CHECK(refused({.context = 17}) == "generate: context 17 is more than the model's 16 positions");
  CHECK(refused({.max_tokens = 0, .top_p = 0}) == "generate: top_p must be in (0, 1], got 0");

  const auto refused_prompts = [&](const std::vector<Tokens>& prompts) {
    return error_of<std::invalid_argument>([&] { generate(model, prompts, {}); });
  };
  CHECK(refused_prompts({{1}, {}}) == "generate: prompt 1 is empty");
  CHECK(refused_prompts({{1}, {2, 11}}) ==
        "generate: prompt 1 has token 11 at 1, which is not in the vocabulary of 11");
  CHECK(refused_prompts({{-1}}) ==
        "generate: prompt 0 has token -1 at 0, which is not in the vocabulary of 11");

  GptOptions dropping = tiny("nope");
  dropping.dropout = 0.1;
  CHECK(error_of<std::logic_error>([&] { generate(Gpt(dropping), {1}, {}); }) ==
        "CausalSelfAttention: dropout and a cache; call eval() first");
}

TEST_CASE("generate names the token for which the model gives NaN", "[models][gpt][generate]") {
  for (const real value :
       {std::numeric_limits<real>::quiet_NaN(), std::numeric_limits<real>::infinity()}) {
    Gpt broken(tiny("learned"));
    broken.named_parameters().back().second.mutable_data()[3 * 16] = value;  // position 3
    CHECK(error_of<std::runtime_error>([&] {
            generate(broken, std::vector<Tokens>{{1}, {1, 2}}, {});
          }) == "generate: the model gives NaN or infinity for token 2 of text 1");
  }
}
