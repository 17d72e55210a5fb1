// Position schemes: each against numbers worked out apart from this code, then what all promise
// within an attention layer. How attention computes with them is attention_test.cpp.
#include <xgrad/nn/position.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <xgrad/core/pause.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/models/gpt.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/optim/adam.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

constexpr double tolerance = sizeof(real) == 8 ? 2e-12 : 2e-6;

void check_near(const Tensor& x, const std::vector<double>& expected, double within = tolerance) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinRel(expected[i], within) || WithinAbs(expected[i], within));
  }
}

/// 1, 2, …, n as one token of one head: (1, 1, 1, n).
Tensor counting(std::size_t n) {
  return reshape(arange(1, static_cast<real>(n + 1)), {1, 1, 1, n});
}

Tensor row(std::initializer_list<real> values) { return reshape(tensor(values), {1, 1, 1, -1}); }

Tensor random(const Ints& shape, std::uint64_t seed = 1) {
  Rng rng(seed);
  return randn(shape, rng);
}

/// x (B, H, T, d) as attention turns it at positions start, start + 1, …
Tensor turned(const Position& scheme, const Tensor& x, std::size_t start) {
  const auto rotation = scheme.in_attention(x.size(1), x.size(3), start, x.size(2)).rotation;
  if (!rotation.cos.defined()) return x;
  const auto rows = [&](const Tensor& table) {
    const auto first = static_cast<std::int64_t>(rotation.start);
    return slice(table, 0, first, first + static_cast<std::int64_t>(x.size(2)));
  };
  return rope(x, rows(rotation.cos), rows(rotation.sin), rotation.layout);
}

constexpr RopeLayout layouts[]{RopeLayout::interleaved, RopeLayout::half_split};

}  // namespace

TEST_CASE("Rope turns both layouts as published", "[nn][position][rope]") {
  struct Case {
    std::size_t dim, rotary, position;
    std::vector<double> interleaved, half_split;
  };
  const std::vector<Case> cases{
      {4,
       0,
       1,
       {-1.142639663748, 1.922075596544, 2.959850667913, 4.029799501669},
       {-1.984110648556, 1.959900667497, 2.462377902412, 4.019799668335}},
      {4,
       0,
       3,
       {-1.272232512720, -1.838864985141, 2.878668100437, 4.088186635603},
       {-1.413352520780, 1.879118066688, -2.828857481741, 4.058191135401}},
      {4,
       0,
       10,
       {0.248970692702, -2.222164169042, 2.585678829247, 4.279516911053},
       {0.792991803592, 1.590674663969, -3.061235698119, 4.179683494406}},
      {8,
       0,
       5,
       {2.20151073479, -0.391599903737, 0.715045531254, 4.948606863374, 4.693876286351,
        6.242397408723, 6.959912666849, 8.034899854375},
       {5.078283558779, -1.121388107844, 2.64639659629, 3.959950166771, 0.459386652653,
        6.224346448551, 7.141189330577, 8.019899916875}},
      {6,
       4,
       2,
       {-2.234741690199, 0.077003753731, 2.919405353226, 4.059196026746, 5, 6},
       {-3.144039117024, 1.919605346560, -0.339143082816, 4.039197360053, 5, 6}},
  };
  for (const Case& c : cases) {
    INFO("width " << c.dim << ", position " << c.position);
    const Rope interleaved({.rotary_dim = c.rotary, .layout = RopeLayout::interleaved});
    const Rope half_split({.rotary_dim = c.rotary, .layout = RopeLayout::half_split});
    check_near(turned(interleaved, counting(c.dim), c.position), c.interleaved);
    check_near(turned(half_split, counting(c.dim), c.position), c.half_split);
  }
}

TEST_CASE("The gradient of Rope is the rotation back", "[nn][position][rope]") {
  const std::vector<double> expected[]{
      {-0.9899924966, -0.14112000806, 0.029995500202, 0.999550033749},
      {-0.9899924966, 0.029995500202, -0.14112000806, 0.999550033749}};
  for (int i = 0; i < 2; ++i) {
    const Rope rope({.layout = layouts[i]});
    Tensor x = counting(4).requires_grad_();
    Tape tape;
    tape.backward(turned(rope, x, 3), row({1, 0, 0, 1}));
    check_near(x.grad(), expected[i], sizeof(real) == 8 ? 5e-11 : 2e-6);
  }
}

TEST_CASE("Rope makes scores depend on distance alone", "[nn][position][rope]") {
  const double expected[]{12.174419190251, 9.791172532442};
  const Tensor q = counting(4), k = row({-0.5, 0.25, 1, 2});
  for (int i = 0; i < 2; ++i)
    for (const auto& [m, n] : {std::pair{3, 1}, {7, 5}, {102, 100}}) {
      const Rope rope({.layout = layouts[i]});
      const Tensor score = sum(turned(rope, q, static_cast<std::size_t>(m)) *
                               turned(rope, k, static_cast<std::size_t>(n)));
      CHECK_THAT(score.item(), WithinRel(expected[i], sizeof(real) == 8 ? 1e-12 : 5e-6));
    }
}

TEST_CASE("Rope keeps norms, does nothing at position 0, and adds up", "[nn][position][rope]") {
  const Tensor x = random({2, 3, 5, 8});
  for (const RopeLayout layout : layouts) {
    const Rope rope({.layout = layout});
    const Tensor y = turned(rope, x, 40);
    CHECK(max(abs(sum(square(y) - square(x), -1))).item() < 20 * tolerance);
    const Tensor first = slice(x, 2, 0, 1);
    CHECK(max(abs(turned(rope, first, 0) - first)).item() == 0);
    CHECK(max(abs(turned(rope, turned(rope, first, 3), 4) - turned(rope, first, 7))).item() <
          tolerance);
  }
}

TEST_CASE("Rope turns token t of a text by start + t, however long the text",
          "[nn][position][rope]") {
  const Tensor x = random({1, 2, 9, 4});
  const Rope rope;
  const Tensor early = turned(rope, x, 3);
  const Tensor far = turned(rope, x, 5000);  // the table grows
  CHECK(max(abs(turned(rope, x, 3) - early)).item() == 0);
  for (std::int64_t t = 0; t < 9; ++t) {
    const Tensor alone = slice(x, 2, t, t + 1);
    CHECK(max(abs(turned(rope, alone, static_cast<std::size_t>(3 + t)) - slice(early, 2, t, t + 1)))
              .item() == 0);
    CHECK(max(abs(turned(Rope(), alone, static_cast<std::size_t>(5000 + t)) -
                  slice(far, 2, t, t + 1)))
              .item() == 0);
  }
}

TEST_CASE("One Rope serves heads of different widths", "[nn][position][rope]") {
  const Rope rope;
  const Tensor wide = turned(rope, counting(8), 5);
  turned(rope, counting(4), 5);
  CHECK(max(abs(turned(rope, counting(8), 5) - wide)).item() == 0);
}

TEST_CASE("Rope's angles are exact at far positions", "[nn][position][rope]") {
  // Angle 131071 * 10^(-2i/4) has 17 bits before the point: single-precision angles would be off by
  // 4e-3.
  const Tensor y = turned(Rope({.layout = RopeLayout::interleaved}), row({1, 0, 1, 0}), 131071);
  check_near(y, {std::cos(131071.0), std::sin(131071.0), std::cos(1310.71), std::sin(1310.71)},
             sizeof(real) == 8 ? 1e-12 : 1e-6);
}

TEST_CASE("Rope names widths it cannot turn", "[nn][position][rope]") {
  CHECK(error_of<std::invalid_argument>([] { Rope({.rotary_dim = 3}); }) ==
        "Rope: rotary_dim must be even, got 3");
  CHECK(error_of<std::invalid_argument>([] { Rope({.base = 1}); }) ==
        "Rope: base must be greater than 1, got 1");
  CHECK(error_of<std::invalid_argument>([] { Rope({.scaling = nullptr}); }) ==
        "Rope: scaling is empty; rope_scaling::none changes nothing");
  const Rope three({.scaling = [](double, std::size_t, std::size_t) {
    return RopeFrequencies{.theta = {1, 0.1, 0.01}};
  }});
  CHECK(error_of<ShapeError>([&] { turned(three, counting(8), 0); }) ==
        "Rope: scaling gives 3 frequencies, 8 features to turn need 4");
  CHECK(error_of<ShapeError>([] { turned(Rope(), counting(5), 0); }) ==
        "Rope: needs an even number of features to turn, at most 5, got 5");
  CHECK(error_of<ShapeError>([] { turned(Rope({.rotary_dim = 6}), counting(4), 0); }) ==
        "Rope: needs an even number of features to turn, at most 4, got 6");
}

namespace {

void check_frequencies(const RopeScaling& scaling, double base, std::size_t length,
                       const std::vector<double>& theta, double attention_factor = 1) {
  const RopeFrequencies got = scaling(base, 2 * theta.size(), length);
  REQUIRE(got.theta.size() == theta.size());
  for (std::size_t i = 0; i < theta.size(); ++i) {
    INFO("pair " << i);
    CHECK_THAT(got.theta[i], WithinRel(theta[i], 1e-13));
  }
  CHECK_THAT(got.attention_factor, WithinRel(attention_factor, 1e-14));
}

}  // namespace

TEST_CASE("Every scaling of Rope gives the published frequencies", "[nn][position][rope]") {
  const double base = 10000;
  const std::vector<double> trained{1, 0.1, 0.01, 0.001};
  check_frequencies(rope_scaling::none, base, 4096, trained);
  check_frequencies(rope_scaling::linear(4), base, 4096, {0.25, 0.025, 0.0025, 0.00025});
  check_frequencies(rope_scaling::ntk(4), base, 4096,
                    {1, 0.062996052494743658, 0.0039685026299204987, 0.00025});
  const RopeScaling dynamic = rope_scaling::dynamic({.factor = 2, .original_length = 2048});
  check_frequencies(dynamic, base, 4096,
                    {1, 0.06933612743506347, 0.0048074985676913613, 1.0 / 3000});
  check_frequencies(dynamic, base, 2048, trained);
  check_frequencies(dynamic, base, 1, trained);
  check_frequencies(rope_scaling::yarn({.factor = 4, .original_length = 2048}), base, 1,
                    {1, 0.1, 0.00625, 0.00025}, 1.1386294361119891);
  check_frequencies(rope_scaling::yarn({.factor = 4, .original_length = 2048, .truncate = false}),
                    base, 1, {1, 0.1, 0.0050569715211294348, 0.00025}, 1.1386294361119891);
  check_frequencies(
      rope_scaling::llama3(
          {.factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_length = 8192}),
      500000, 1, {1, 0.037606030930863936, 0.00052484616099295467, 6.6478698711812358e-6});
}

TEST_CASE("YaRN ramps between the pairs that its limits name", "[nn][position][rope]") {
  const auto trained = rope_scaling::none(10000, 128, 1).theta;
  const auto theta =
      rope_scaling::yarn({.factor = 4, .original_length = 4096})(10000, 128, 1).theta;
  for (std::size_t i = 0; i < 64; ++i) {
    INFO("pair " << i);
    const double share = i <= 20 ? 0 : i >= 46 ? 1 : static_cast<double>(i - 20) / 26;
    CHECK_THAT(theta[i] / trained[i], WithinRel(1 - share * 3 / 4, 1e-13));
  }
}

TEST_CASE("YaRN's ramp is kept among the pairs, and is a step where its ends meet",
          "[nn][position][rope]") {
  const auto yarn = [](std::size_t original) {
    return rope_scaling::yarn({.factor = 4, .original_length = original, .attention_factor = 1});
  };
  check_frequencies(yarn(64), 10000, 1, {1, 0.0625, 0.0025, 0.00025});  // from -1 to 2: 0 to 2
  check_frequencies(
      yarn(400), 10, 1,  // from 1 to 8: 1 to 7
      {1, std::pow(10, -0.25), 0.875 * std::pow(10, -0.5), 0.75 * std::pow(10, -0.75)});
  check_frequencies(yarn(6), 10000, 1, {1, 0.025, 0.0025, 0.00025});  // from -2 to 0: 0 to 0
}

TEST_CASE("YaRN's attention factor is what is given, else what the mscales or the factor make it",
          "[nn][position][rope]") {
  const auto factor = [](rope_scaling::YarnOptions options) {
    return rope_scaling::yarn(options)(10000, 8, 1).attention_factor;
  };
  const double standard = 1.1386294361119891;
  CHECK_THAT(factor({.factor = 4, .original_length = 64}), WithinRel(standard, 1e-14));
  CHECK_THAT(factor({.factor = 4, .original_length = 64, .mscale = 1, .mscale_all_dim = 0.5}),
             WithinRel(1.0648216253695714, 1e-14));
  CHECK_THAT(factor({.factor = 4, .original_length = 64, .mscale = 0.5}),
             WithinRel(standard, 1e-14));
  CHECK(factor({.factor = 4,
                .original_length = 64,
                .attention_factor = 0.7,
                .mscale = 1,
                .mscale_all_dim = 0.5}) == 0.7);
  CHECK(factor({.factor = 1, .original_length = 64}) == 1);
}

TEST_CASE("A factor of 1 and a single pair change no frequency", "[nn][position][rope]") {
  const std::vector<double> trained{1, 0.1, 0.01, 0.001};
  const rope_scaling::Llama3Options llama{
      .factor = 1, .low_freq_factor = 1, .high_freq_factor = 4, .original_length = 64};
  for (const RopeScaling& scaling :
       {rope_scaling::linear(1), rope_scaling::ntk(1),
        rope_scaling::dynamic({.factor = 1, .original_length = 64}),
        rope_scaling::yarn({.factor = 1, .original_length = 64}), rope_scaling::llama3(llama)})
    check_frequencies(scaling, 10000, 64, trained);
  check_frequencies(rope_scaling::ntk(4), 10000, 9, {1});
  check_frequencies(rope_scaling::dynamic({.factor = 4, .original_length = 2}), 10000, 9, {1});
}

TEST_CASE("Rope turns by its scaling's frequencies, and stretches by its attention factor",
          "[nn][position][rope]") {
  const RopeScaling yarn = rope_scaling::yarn({.factor = 4, .original_length = 2048});
  const Rope rope({.layout = RopeLayout::interleaved, .scaling = yarn});
  for (const std::size_t p : {0, 3, 131071}) {
    std::vector<double> expected;
    for (const double theta : {1.0, 0.1, 0.00625, 0.00025}) {
      const double angle = static_cast<double>(p) * theta;
      expected.push_back(1.1386294361119891 * std::cos(angle));
      expected.push_back(1.1386294361119891 * std::sin(angle));
    }
    check_near(turned(rope, row({1, 0, 1, 0, 1, 0, 1, 0}), p), expected,
               sizeof(real) == 8 ? 1e-11 : 1e-6);
  }
}

TEST_CASE("A partial rotation is scaled where it turns, and there alone", "[nn][position][rope]") {
  // 4 of 6 features turn: the exponent divides by 4, and the last two have no attention factor.
  const Rope rope({.rotary_dim = 4,
                   .layout = RopeLayout::interleaved,
                   .scaling = [](double base, std::size_t rotary, std::size_t length) {
                     RopeFrequencies result = rope_scaling::linear(2)(base, rotary, length);
                     result.attention_factor = 1.5;
                     return result;
                   }});
  const double c0 = std::cos(1.0), s0 = std::sin(1.0), c1 = std::cos(0.01), s1 = std::sin(0.01);
  check_near(turned(rope, counting(6), 2),
             {1.5 * (c0 - 2 * s0), 1.5 * (s0 + 2 * c0), 1.5 * (3 * c1 - 4 * s1),
              1.5 * (3 * s1 + 4 * c1), 5, 6});
}

TEST_CASE("Attention turns and stretches queries and keys alike, forward and backward",
          "[nn][position][rope]") {
  // The same scores from a plain Rope, with q and k stretched where they are turned.
  const RopeScaling stretched = [](double base, std::size_t rotary, std::size_t length) {
    RopeFrequencies result = rope_scaling::none(base, rotary, length);
    result.attention_factor = 1.25;
    return result;
  };
  for (const RopeLayout layout : layouts) {
    const Rope plain({.rotary_dim = 4, .layout = layout}),
        scaled({.rotary_dim = 4, .layout = layout, .scaling = stretched});
    const Tensor stretch = tensor({1.25, 1.25, 1.25, 1.25, 1, 1, 1, 1});
    const auto run = [&](const auto& attend, bool by_scaling) {
      Tensor q = random({2, 4, 7, 8}, 1).requires_grad_(),
             k = random({2, 2, 7, 8}, 2).requires_grad_(),
             v = random({2, 2, 7, 8}, 3).requires_grad_();
      const Rope& rope = by_scaling ? scaled : plain;
      const AttentionOptions options{.positions = rope.in_attention(4, 8, 30, 7)};
      Tape tape;
      const Tensor y =
          by_scaling ? attend(q, k, v, options) : attend(q * stretch, k * stretch, v, options);
      tape.backward(y, random(y.shape(), 4));
      return concat({flatten(y), flatten(q.grad()), flatten(k.grad()), flatten(v.grad())}, 0);
    };
    const Tensor expected = run(composite::attention, false);
    for (const auto attend : {attention, composite::attention})
      CHECK(max(abs(run(attend, true) - expected)).item() < 10 * tolerance);
  }
}

TEST_CASE("Dynamic scaling goes by the length of the text, and goes back", "[nn][position][rope]") {
  const Rope rope({.scaling = rope_scaling::dynamic({.factor = 2, .original_length = 16})}), plain;
  const Tensor x = random({1, 2, 4, 8});
  const Tensor early = turned(rope, x, 12);  // the text has 16 tokens so far
  CHECK(max(abs(early - turned(plain, x, 12))).item() == 0);
  const Tensor late = turned(rope, x, 28);  // 32
  const double base = 10000 * std::pow(2.0 * 2 - 1, 8.0 / 6);
  CHECK(max(abs(late - turned(Rope({.base = base}), x, 28))).item() < tolerance);
  CHECK(max(abs(late - turned(plain, x, 28))).item() > 0.1);
  CHECK(max(abs(turned(rope, x, 12) - early)).item() == 0);
  // Only the sum of start and length counts: all keys of a text are turned alike.
  const RopeTables whole = rope.in_attention(2, 8, 0, 32).rotation,
                   end = rope.in_attention(2, 8, 28, 4).rotation;
  CHECK(whole.cos.data() == end.cos.data());
}

TEST_CASE("Layers share one pair of tables until frequencies, width or length ask for another",
          "[nn][position][rope]") {
  int calls = 0;
  const Rope rope({.scaling = [&calls](double base, std::size_t rotary, std::size_t length) {
    ++calls;
    return rope_scaling::none(base, rotary, length);
  }});
  const auto table = [&](std::size_t width, std::size_t length) {
    return rope.in_attention(1, width, 0, length).rotation.cos;
  };
  const Tensor first = table(8, 10);
  CHECK(table(8, 64).data() == first.data());
  CHECK(table(8, 65).data() != first.data());
  CHECK(table(4, 10).size(1) == 2);
  CHECK(calls == 4);
}

TEST_CASE("Threads that ask one Rope for different tables each get theirs",
          "[nn][position][rope][threads]") {
  const Rope rope({.scaling = rope_scaling::dynamic({.factor = 2, .original_length = 8})});
  const Tensor x = random({1, 1, 4, 8});
  std::vector<std::size_t> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i)
    threads.emplace_back([&, i] {
      const std::size_t start = 20 * i;
      const Tensor expected = turned(Rope({.scaling = rope.options.scaling}), x, start);
      for (int trial = 0; trial < 200; ++trial)
        wrong[i] += max(abs(turned(rope, x, start) - expected)).item() != 0;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<std::size_t>(4, 0));
}

TEST_CASE("A scaling of one's own is a function", "[nn][position][rope]") {
  // LongRoPE (2402.13753): every pair has a factor of its own, in long texts another one.
  const std::vector<double> in_short{1, 1, 1, 2}, in_long{1, 1.5, 4, 8};
  const RopeScaling longrope = [=](double base, std::size_t rotary, std::size_t length) {
    RopeFrequencies result = rope_scaling::none(base, rotary, length);
    for (std::size_t i = 0; i < rotary / 2; ++i)
      result.theta[i] /= (length > 16 ? in_long : in_short)[i];
    result.attention_factor = std::sqrt(1 + std::log(4.0) / std::log(16.0));
    return result;
  };
  check_frequencies(longrope, 10000, 16, {1, 0.1, 0.01, 0.0005}, std::sqrt(1.5));
  check_frequencies(longrope, 10000, 17, {1, 0.1 / 1.5, 0.0025, 0.000125}, std::sqrt(1.5));
  CHECK(turned(Rope({.scaling = longrope}), counting(8), 40).shape() == Shape{1, 1, 1, 8});
}

TEST_CASE("Scalings name the settings that make no sense", "[nn][position][rope]") {
  using namespace rope_scaling;
  const auto error = [](const auto& call) { return error_of<std::invalid_argument>(call); };
  CHECK(error([] { linear(0.5); }) ==
        "rope_scaling::linear: factor must be a finite number >= 1, got 0.5");
  CHECK(error([] { ntk(INFINITY); }) ==
        "rope_scaling::ntk: factor must be a finite number >= 1, got inf");
  CHECK(error([] { dynamic({.factor = NAN, .original_length = 4}); }) ==
        "rope_scaling::dynamic: factor must be a finite number >= 1, got nan");
  CHECK(error([] { dynamic({.factor = 2, .original_length = 0}); }) ==
        "rope_scaling::dynamic: original_length must be positive");
  CHECK(error([] { yarn({.factor = 0, .original_length = 4}); }) ==
        "rope_scaling::yarn: factor must be a finite number >= 1, got 0");
  CHECK(error([] { yarn({.factor = 2, .original_length = 0}); }) ==
        "rope_scaling::yarn: original_length must be positive");
  CHECK(error([] { yarn({.factor = 2, .original_length = 4, .beta_fast = 1, .beta_slow = 32}); }) ==
        "rope_scaling::yarn: needs 0 < beta_slow < beta_fast, got 32 and 1");
  CHECK(error([] {
          llama3({.factor = -1, .low_freq_factor = 1, .high_freq_factor = 4, .original_length = 4});
        }) == "rope_scaling::llama3: factor must be a finite number >= 1, got -1");
  CHECK(error([] {
          llama3({.factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_length = 0});
        }) == "rope_scaling::llama3: original_length must be positive");
  CHECK(error([] {
          llama3({.factor = 8, .low_freq_factor = 4, .high_freq_factor = 4, .original_length = 4});
        }) == "rope_scaling::llama3: needs 0 < low_freq_factor < high_freq_factor, got 4 and 4");
}

TEST_CASE("SinusoidalPosition adds sines and cosines to scaled embeddings", "[nn][position]") {
  const SinusoidalPosition scheme;
  check_near(scheme.on_embedding(zeros({1, 1, 4}), 3),
             {0.14112000806, -0.9899924966, 0.029995500202, 0.999550033749},
             sizeof(real) == 8 ? 5e-11 : 1e-6);
  const Tensor x = random({2, 5, 4});
  const Tensor table = scheme.on_embedding(zeros({1, 5, 4}), 2);
  CHECK(max(abs(scheme.on_embedding(x, 2) - (2 * x + table))).item() < tolerance);
  CHECK(scheme.on_embedding(zeros({1, 3, 5}), 0).shape() ==
        Shape{1, 3, 5});  // an odd width ends with a sine
}

TEST_CASE("LearnedPosition adds rows of its table and trains them", "[nn][position]") {
  const LearnedPosition scheme({.length = 6, .dim = 4});
  CHECK(scheme.max_length() == std::size_t{6});
  CHECK_THAT(std::sqrt(mean(square(scheme.weight)).item()), WithinRel(0.02, 0.5));
  const Tensor x = random({2, 3, 4});
  Tape tape;
  const Tensor y = scheme.on_embedding(x, 2);
  CHECK(max(abs(y - (x + slice(scheme.weight, 0, 2, 5)))).item() == 0);
  tape.backward(sum(y));
  for (std::size_t i = 0; i < 24; ++i)
    CHECK(scheme.weight.grad().data()[i] == (i / 4 >= 2 && i / 4 < 5 ? 2 : 0));
}

TEST_CASE("LearnedPosition ends where its table ends", "[nn][position]") {
  const LearnedPosition scheme({.length = 6, .dim = 4});
  CHECK(scheme.on_embedding(zeros({1, 3, 4}), 3).shape() == Shape{1, 3, 4});
  CHECK(error_of<ShapeError>([&] {
          scheme.on_embedding(zeros({1, 3, 4}), 4);
        }) ==
        "LearnedPosition: positions 4 to 6 are beyond the table of 6; give shorter texts, a "
        "longer table, or .wrap = true");
  CHECK(error_of<ShapeError>([&] {
          scheme.on_embedding(zeros({1, 3, 8}), 0);
        }) == "LearnedPosition: embeddings (1, 3, 8) do not fit a table of width 4");
  CHECK_THROWS_AS(LearnedPosition({.length = 6, .dim = 1}).on_embedding(zeros({1, 3, 8}), 0),
                  ShapeError);  // and does not broadcast
  CHECK(error_of<std::invalid_argument>([] { LearnedPosition({.length = 0, .dim = 4}); }) ==
        "LearnedPosition(0, 4): sizes must be positive");
}

TEST_CASE("A LearnedPosition that wraps begins its table again, and has no end", "[nn][position]") {
  const LearnedPosition scheme({.length = 3, .dim = 2, .wrap = true});
  CHECK(scheme.max_length() == std::nullopt);
  const Tensor x = random({2, 4, 2});
  Tape tape;
  const Tensor y = scheme.on_embedding(x, 5);  // rows 2, 0, 1, 2
  const Tensor rows = embedding(scheme.weight, Indices{2, 0, 1, 2});
  CHECK(max(abs(y - (x + rows))).item() == 0);
  tape.backward(sum(y));
  check_near(scheme.weight.grad(), {2, 2, 2, 2, 4, 4});
}

TEST_CASE("ALiBi's slopes are the published ones for any number of heads",
          "[nn][position][alibi]") {
  const auto powers = [](std::vector<double> exponents) {
    for (double& e : exponents) e = std::exp2(e);
    return exponents;
  };
  const auto check = [](std::size_t heads, const std::vector<double>& expected) {
    std::vector<real> slopes = alibi_slopes(heads);
    REQUIRE(slopes.size() == heads);
    CHECK(slopes == Alibi().in_attention(heads, 4, 0, 9).slopes);
    for (std::size_t h = 0; h < expected.size(); ++h)
      CHECK_THAT(slopes[h], WithinRel(expected[h], sizeof(real) == 8 ? 1e-15 : 1e-7));
  };
  check(8, powers({-1, -2, -3, -4, -5, -6, -7, -8}));
  check(12, {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625, 0.7071067811865476,
             0.3535533905932738, 0.1767766952966369, 0.0883883476483185});
  check(6, powers({-2, -4, -6, -8, -1, -3}));
  check(3, powers({-4, -8, -2}));
  check(16, powers({-0.5, -1}));
  check(1, powers({-8}));
  CHECK(alibi_slopes(2, 4) == std::vector<real>{0.25, 0.0625});
  CHECK(Alibi({.max_bias = 4}).in_attention(2, 4, 0, 9).slopes == alibi_slopes(2, 4));
  CHECK(error_of<std::invalid_argument>([] { Alibi({.max_bias = 0}); }) ==
        "Alibi: max_bias must be positive and finite, got 0");
  CHECK(error_of<std::invalid_argument>([] { alibi_slopes(0); }) ==
        "alibi_slopes: needs at least 1 head");
}

TEST_CASE("ALiBi's slopes are the reference's and MPT's for 1 to 199 heads",
          "[nn][position][alibi]") {
  // The closed form for a largest exponent of 8.
  const auto published = [](std::size_t heads) {
    std::size_t c = 1;
    while (2 * c <= heads) c *= 2;
    std::vector<double> slopes;
    for (std::size_t h = 0; h < heads; ++h) {
      const auto place = static_cast<double>(h < c ? h + 1 : 2 * (h - c) + 1);
      slopes.push_back(std::exp2((h < c ? -8 : -4) * place / static_cast<double>(c)));
    }
    return slopes;
  };
  // 2^(-M k/N) for k = 1..N, the next power of 2; even k first unless all are taken.
  const auto mpt = [](std::size_t heads, double max_bias) {
    std::size_t n = 1;
    while (n < heads) n *= 2;
    std::vector<double> all, slopes;
    for (std::size_t k = 1; k <= n; ++k)
      all.push_back(std::exp2(-max_bias * static_cast<double>(k) / static_cast<double>(n)));
    if (n == heads) return all;
    for (const std::size_t first : {1, 0})
      for (std::size_t k = first; k < n; k += 2) slopes.push_back(all[k]);
    slopes.resize(heads);
    return slopes;
  };
  const auto same = [](const std::vector<real>& slopes, const std::vector<double>& expected) {
    return std::equal(slopes.begin(), slopes.end(), expected.begin(), expected.end(),
                      [](double a, double b) {
                        return std::abs(a - b) <= (sizeof(real) == 8 ? 1e-15 : 1e-7) * b;
                      });
  };
  for (std::size_t heads = 1; heads < 200; ++heads) {
    INFO(heads << " heads");
    CHECK(same(alibi_slopes(heads), published(heads)));
    CHECK(same(alibi_slopes(heads), mpt(heads, 8)));
    CHECK(same(alibi_slopes(heads, 5), mpt(heads, 5)));
  }
}

TEST_CASE("RelativeBias puts distances into T5's buckets", "[nn][position][relative]") {
  // The first distance of each bucket, from the definition in whole numbers:
  // (n/e)^(buckets - e) >= (max/e)^k, e = buckets/2.
  const auto check = [](std::size_t buckets, std::size_t max_distance,
                        const std::vector<std::size_t>& first) {
    const RelativeBias scheme({.heads = 1, .buckets = buckets, .max_distance = max_distance});
    REQUIRE(first.size() == buckets);
    for (std::size_t n = 0; n < 2 * max_distance; ++n) {
      const auto after = std::upper_bound(first.begin(), first.end(), n);
      INFO("distance " << n << ", " << buckets << " buckets up to " << max_distance);
      CHECK(scheme.bucket(n) == static_cast<std::size_t>(after - first.begin() - 1));
    }
    CHECK(scheme.bucket(std::size_t{1} << 40) == buckets - 1);
  };
  check(32, 128, {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                  16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113});
  check(32, 64, {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                 16, 18, 20, 21, 23, 25, 27, 30, 32, 35, 39, 42, 46, 50, 54, 59});
  check(8, 16, {0, 1, 2, 3, 4, 6, 8, 12});
  check(7, 20, {0, 1, 2, 3, 5, 8, 13});
  check(2, 2, {0, 1});
  check(9, 128, {0, 1, 2, 3, 4, 8, 16, 32, 64});  // log 2 / log 32 * 5 is less than 1 in double
}

TEST_CASE("RelativeBias hands attention the rows of its weight by distance",
          "[nn][position][relative]") {
  const RelativeBias scheme({.heads = 3, .buckets = 4, .max_distance = 6});
  CHECK(scheme.weight.shape() == Shape{4, 3});
  CHECK_THAT(std::sqrt(mean(square(scheme.weight)).item()), WithinRel(0.02, 0.7));
  Tape tape;
  const AttentionPositions positions = scheme.in_attention(3, 8, 100, 7);
  REQUIRE(positions.bias.shape() == Shape{3, 7});
  const std::size_t buckets[]{0, 1, 2, 2, 3, 3, 3};  // the last begins at 2 sqrt(6/2) = 3.46
  for (std::size_t h = 0; h < 3; ++h)
    for (std::size_t n = 0; n < 7; ++n)
      CHECK(positions.bias.data()[7 * h + n] == scheme.weight.data()[3 * buckets[n] + h]);
  tape.backward(sum(positions.bias));
  check_near(scheme.weight.grad(), {1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3});
}

TEST_CASE("RelativeBias names settings and heads that do not fit", "[nn][position][relative]") {
  const auto error = [](RelativeBiasOptions options) {
    return error_of<std::invalid_argument>([&] { RelativeBias{options}; });
  };
  CHECK(error({.heads = 0}) == "RelativeBias: needs at least 1 head");
  CHECK(error({.heads = 2, .buckets = 1}) == "RelativeBias: needs at least 2 buckets, got 1");
  CHECK(error({.heads = 2, .max_distance = 16}) ==
        "RelativeBias: max_distance must be more than 16, half the buckets, got 16");
  CHECK(error_of<ShapeError>([] { RelativeBias({.heads = 4}).in_attention(8, 16, 0, 3); }) ==
        "RelativeBias: made for 4 heads, attention has 8");
}

TEST_CASE("Every scheme leaves alone what is not its business", "[nn][position]") {
  const Tensor x = random({2, 3, 4, 8});
  for (const std::string& name : position_names()) {
    INFO(name);
    const auto scheme = make_position(name, {.length = 5, .dim = 8, .heads = 3});
    const Tensor embedded = reshape(x, {6, 4, 8});
    CHECK((scheme->on_embedding(embedded, 1).data() != embedded.data()) ==
          (name == "learned" || name == "sinusoidal"));
    CHECK((turned(*scheme, x, 1).data() != x.data()) == (name == "rope"));
    CHECK(scheme->in_attention(3, 8, 1, 4).slopes.empty() == (name != "alibi"));
    CHECK(scheme->in_attention(3, 8, 1, 4).bias.defined() == (name == "relative"));
    CHECK(scheme->max_length().has_value() == (name == "learned"));
    CHECK(scheme->parameters().size() == (name == "learned" || name == "relative" ? 1 : 0));
  }
}

TEST_CASE("make_position lists the names it knows, and schemes the sizes they need",
          "[nn][position]") {
  const auto error = [](const char* name, PositionSizes sizes) {
    return error_of<std::invalid_argument>([&] { make_position(name, sizes); });
  };
  CHECK(error("rotary", {}) ==
        "position \"rotary\": unknown; choose one of rope, alibi, relative, learned, sinusoidal, "
        "nope");
  CHECK(error("learned", {.dim = 4}) == "LearnedPosition(0, 4): sizes must be positive");
  CHECK(error("relative", {.length = 4}) == "RelativeBias: needs at least 1 head");
}

// ---- every scheme in an attention layer

namespace {

struct Setting {
  const char* name;
  std::function<std::shared_ptr<Position>()> make;
  bool relative = true;  ///< a common shift of all positions changes nothing
};

template <class Scheme, class... Options>
auto making(Options... options) {
  return [=] { return std::make_shared<Scheme>(options...); };
}

const std::vector<Setting> settings{
    {"nope", making<NoPosition>()},
    {"rope", making<Rope>()},
    {"rope, interleaved", making<Rope>(RopeOptions{.layout = RopeLayout::interleaved})},
    {"rope, partial", making<Rope>(RopeOptions{.rotary_dim = 2})},
    {"rope, linear", making<Rope>(RopeOptions{.scaling = rope_scaling::linear(2)})},
    {"rope, ntk", making<Rope>(RopeOptions{.scaling = rope_scaling::ntk(2)})},
    {"rope, dynamic",
     making<Rope>(
         RopeOptions{.scaling = rope_scaling::dynamic({.factor = 2, .original_length = 4})}),
     false},  // its frequencies depend on where the text ends
    {"rope, yarn",
     making<Rope>(RopeOptions{
         .rotary_dim = 2, .scaling = rope_scaling::yarn({.factor = 2, .original_length = 64})})},
    {"rope, llama3",
     making<Rope>(RopeOptions{
         .scaling = rope_scaling::llama3(
             {.factor = 2, .low_freq_factor = 1, .high_freq_factor = 4, .original_length = 64})})},
    {"alibi", making<Alibi>()},
    {"alibi, gentle", making<Alibi>(AlibiOptions{.max_bias = 5})},
    {"relative",
     [] {
       auto scheme = std::make_shared<RelativeBias>(
           RelativeBiasOptions{.heads = 4, .buckets = 6, .max_distance = 8});
       for (real& value : scheme->weight.mutable_array()) value *= 50;  // as if trained
       return scheme;
     }},
    {"learned", making<LearnedPosition>(LearnedPositionOptions{.length = 32, .dim = 16}), false},
    {"learned, wrapped",
     making<LearnedPosition>(LearnedPositionOptions{.length = 5, .dim = 16, .wrap = true}), false},
    {"sinusoidal", making<SinusoidalPosition>(), false},
};

CausalSelfAttention layer(const std::shared_ptr<Position>& scheme, std::size_t kv_heads,
                          AttentionImpl implementation) {
  return CausalSelfAttention({.dim = 16,
                              .heads = 4,
                              .kv_heads = kv_heads,
                              .position = scheme,
                              .attention = implementation});
}

}  // namespace

TEST_CASE("Fused and composite attention agree under every scheme, forward and backward",
          "[nn][position]") {
  for (const Setting& setting : settings)
    for (const std::size_t kv_heads : {1, 2, 4}) {
      INFO(setting.name << ", " << kv_heads << " key heads");
      const auto run = [&](AttentionImpl implementation) {
        const auto scheme = setting.make();
        const CausalSelfAttention attn = layer(scheme, kv_heads, implementation);
        Tensor x = random({2, 11, 16}).requires_grad_();
        Tape tape;
        const Tensor y = attn(scheme->on_embedding(x, 3), 3);
        tape.backward(y, random(y.shape(), 2));
        std::vector<Tensor> all{flatten(y), flatten(x.grad())};
        for (const Tensor& parameter : attn.parameters()) all.push_back(flatten(parameter.grad()));
        for (const Tensor& parameter : scheme->parameters())
          all.push_back(flatten(parameter.grad()));
        return concat(all, 0);
      };
      const Tensor fused = run(AttentionImpl::fused), composed = run(AttentionImpl::composite);
      CHECK(max(abs(fused - composed)).item() < 20 * tolerance);
    }
}

TEST_CASE(
    "A common shift of positions changes nothing under a relative scheme, and much under others",
    "[nn][position]") {
  const Tensor x = random({2, 6, 16});
  for (const Setting& setting : settings)
    for (const AttentionImpl implementation : {AttentionImpl::fused, AttentionImpl::composite}) {
      INFO(setting.name);
      const auto scheme = setting.make();
      const CausalSelfAttention attn = layer(scheme, 2, implementation);
      const auto at = [&](std::size_t start) {
        return attn(scheme->on_embedding(x, start), start);
      };
      const double change = max(abs(at(17) - at(0))).item();
      if (setting.relative)
        CHECK(change < 20 * tolerance);
      else
        CHECK(change > 1e-4);
    }
}

TEST_CASE("Every scheme tells one order of tokens from another, but NoPE in a single layer",
          "[nn][position]") {
  const Tensor x = random({1, 4, 16});
  const Tensor swapped = concat({slice(x, 1, 1, 2), slice(x, 1, 0, 1), slice(x, 1, 2, 4)}, 1);
  for (const Setting& setting : settings) {
    INFO(setting.name);
    const auto scheme = setting.make();
    const CausalSelfAttention attn = layer(scheme, 2, AttentionImpl::fused);
    const auto last = [&](const Tensor& tokens) {
      return slice(attn(scheme->on_embedding(tokens, 0)), 1, 3, 4);
    };
    const double change = max(abs(last(swapped) - last(x))).item();
    CHECK((change < 20 * tolerance) == (setting.name == std::string("nope")));
  }
}

TEST_CASE("A text in a cache is attended to as if whole, under every scheme", "[nn][position]") {
  const std::size_t capacity = 12;  // that of the text: dynamic scaling goes by it
  const Tensor x = random({2, 12, 16});
  for (const Setting& setting : settings)
    for (const AttentionImpl implementation : {AttentionImpl::fused, AttentionImpl::composite}) {
      INFO(setting.name);
      const auto scheme = setting.make();
      const CausalSelfAttention attn = layer(scheme, 2, implementation);
      const Tensor whole = attn(scheme->on_embedding(x, 0));
      KeyValueCache cache = attn.make_cache(2, capacity);
      std::vector<Tensor> parts;
      std::int64_t start = 0;
      for (const std::int64_t count : {3, 1, 5, 1, 2}) {
        const Tensor part = slice(x, 1, start, start + count);
        parts.push_back(attn(scheme->on_embedding(part, static_cast<std::size_t>(start)), cache));
        start += count;
      }
      CHECK(max(abs(concat(parts, 1) - whole)).item() < 20 * tolerance);
    }
}

TEST_CASE("A cache asks its scheme once, and records nothing", "[nn][position]") {
  struct Counting : RelativeBias {
    using RelativeBias::RelativeBias;
    AttentionPositions in_attention(std::size_t heads, std::size_t width, std::size_t start,
                                    std::size_t length) const override {
      ++calls;
      return RelativeBias::in_attention(heads, width, start, length);
    }
    mutable int calls = 0;
  };
  const auto scheme = std::make_shared<Counting>(RelativeBiasOptions{.heads = 4});
  const CausalSelfAttention attn = layer(scheme, 2, AttentionImpl::fused);
  const Tensor x = random({2, 1, 16});
  Tape tape;
  KeyValueCache cache = attn.make_cache(2, 8);
  CHECK(tape.size() == 0);
  const Pause pause;
  for (int token = 0; token < 5; ++token) attn(x, cache);
  CHECK(scheme->calls == 1);
}

TEST_CASE("The bias of RelativeBias has the gradient that finite differences say",
          "[nn][position][relative][gradcheck]") {
  if (sizeof(real) == 4) {
    SUCCEED("checked in double");
    return;
  }
  for (const AttentionImpl implementation : {AttentionImpl::fused, AttentionImpl::composite}) {
    const auto scheme = std::make_shared<RelativeBias>(
        RelativeBiasOptions{.heads = 4, .buckets = 6, .max_distance = 8});
    const CausalSelfAttention attn = layer(scheme, 2, implementation);
    const Tensor x = random({2, 11, 16}), direction = random({2, 11, 16}, 2);
    Tape tape;
    tape.backward(attn(x), direction);
    const Pause pause;
    for (std::size_t i = 0; i < scheme->weight.size(); ++i) {
      const auto at = [&](double shift) {
        real& value = scheme->weight.mutable_data()[i];
        const real before = value;
        value += static_cast<real>(shift);
        const double result = sum(attn(x) * direction).item();
        value = before;
        return result;
      };
      INFO("element " << i);
      const double slope = (at(1e-5) - at(-1e-5)) / 2e-5;
      CHECK_THAT(scheme->weight.grad().data()[i], WithinRel(slope, 1e-7) || WithinAbs(slope, 1e-9));
    }
  }
}

TEST_CASE("A Gpt adopts one relative bias for all its layers, trains, saves and loads it",
          "[nn][position][relative][gpt]") {
  for (const AttentionImpl implementation : {AttentionImpl::fused, AttentionImpl::composite}) {
    const auto make = [&](bool recompute, std::uint64_t seed) {
      return std::make_unique<Gpt>(GptOptions{.vocab = 11,
                                              .layers = 3,
                                              .heads = 2,
                                              .dim = 16,
                                              .position = make_position("relative", {.heads = 2}),
                                              .attention = implementation,
                                              .recompute = recompute,
                                              .seed = seed});
    };
    const auto model = make(false, 1), recomputing = make(true, 1), other = make(false, 2);
    const auto names = model->named_parameters();
    CHECK(names.back().first == "wpe.weight");
    CHECK(std::count_if(names.begin(), names.end(), [](const auto& item) {
            return item.second.shape() == Shape{32, 2};
          }) == 1);

    Rng rng(1);
    Indices ids = Indices::from_shape({4, 12}), targets = ids;
    for (std::int64_t& id : ids) id = static_cast<std::int64_t>(rng.below(11));
    for (std::int64_t& id : targets) id = static_cast<std::int64_t>(rng.below(11));
    const auto train = [&](Gpt& gpt) {
      AdamW optimizer(gpt.parameters(), {.lr = 1e-2});
      std::vector<real> losses;
      for (int step = 0; step < 5; ++step) {
        Tape tape;
        const Tensor loss = cross_entropy(gpt(ids), targets);
        tape.backward(loss);
        optimizer.step();
        optimizer.zero_grad();
        losses.push_back(loss.item());
      }
      return losses;
    };
    const Tensor before = names.back().second.clone();
    const std::vector<real> losses = train(*model);
    CHECK(losses.back() < losses.front());
    CHECK(train(*recomputing) == losses);
    const Tensor change = abs(names.back().second - before);
    CHECK(min(slice(change, 0, 0, 12)).item() > 0);  // distances that occur
    other->load_state_dict(model->state_dict());
    CHECK(max(abs((*other)(ids) - (*model)(ids))).item() == 0);
  }
}

namespace {

/// A scheme of this file: a trained number per head and distance, far ones alike.
struct ClippedDistance : Position {
  ClippedDistance(std::size_t heads, std::size_t reach)
      : weight(this, "weight", zeros({heads, reach + 1})) {}
  AttentionPositions in_attention(std::size_t, std::size_t, std::size_t,
                                  std::size_t length) const override {
    Indices column = Indices::from_shape({length});
    for (std::size_t n = 0; n < length; ++n)
      column(n) = static_cast<std::int64_t>(std::min(n, weight.size(1) - 1));
    return {.bias = index_select(weight, 1, column)};
  }
  Parameter weight;
};

}  // namespace

TEST_CASE("A scheme that attention has never heard of trains", "[nn][position]") {
  // The task: the token before. Without positions no better than a guess among all before.
  for (const AttentionImpl implementation : {AttentionImpl::fused, AttentionImpl::composite}) {
    const auto scheme = std::make_shared<ClippedDistance>(2, 3);
    const CausalSelfAttention attn(
        {.dim = 8, .heads = 2, .position = scheme, .attention = implementation});
    std::vector<Tensor> parameters = attn.parameters();
    parameters.push_back(scheme->weight);
    Adam optimizer(parameters, {.lr = 3e-2});
    real loss_value = 0;
    for (std::uint64_t step = 0; step < 200; ++step) {
      const Tensor x = random({4, 9, 8}, step + 1);
      Tape tape;
      const Tensor loss = mse_loss(slice(attn(x), 1, 1, 9), slice(x, 1, 0, 8));
      tape.backward(loss);
      optimizer.step();
      optimizer.zero_grad();
      loss_value = loss.item();
    }
    CHECK(loss_value < real(0.1));
    const real* bias = scheme->weight.data();
    for (std::size_t h = 0; h < 2; ++h)  // one token back
      CHECK(std::max_element(bias + 4 * h, bias + 4 * h + 4) == bias + 4 * h + 1);
  }
}
