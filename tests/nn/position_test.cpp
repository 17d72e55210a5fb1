// Position schemes one by one: rotations, sinusoids and slopes against numbers worked out apart
// from this code, and what each promises. How attention uses them is attention_test.cpp.
#include <xgrad/nn/position.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

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
  CHECK(error_of<ShapeError>([] { turned(Rope(), counting(5), 0); }) ==
        "Rope: needs an even number of features to turn, at most 5, got 5");
  CHECK(error_of<ShapeError>([] { turned(Rope({.rotary_dim = 6}), counting(4), 0); }) ==
        "Rope: needs an even number of features to turn, at most 4, got 6");
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
        }) == "LearnedPosition: positions 4 to 6 are beyond the table of 6");
  CHECK(error_of<std::invalid_argument>([] { LearnedPosition({.length = 0, .dim = 4}); }) ==
        "LearnedPosition(0, 4): sizes must be positive");
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
  CHECK(error_of<std::invalid_argument>([] { alibi_slopes(0); }) ==
        "alibi_slopes: needs at least 1 head");
}

TEST_CASE("Every scheme leaves alone what is not its business", "[nn][position]") {
  const Tensor x = random({2, 3, 4, 8});
  for (const char* name : {"rope", "alibi", "nope", "learned", "sinusoidal"}) {
    INFO(name);
    const auto scheme = make_position(name, {.length = 5, .dim = 8});
    const std::string kind = name;
    const Tensor embedded = reshape(x, {6, 4, 8});
    CHECK((scheme->on_embedding(embedded, 1).data() == embedded.data()) ==
          (kind == "rope" || kind == "alibi" || kind == "nope"));
    CHECK((turned(*scheme, x, 1).data() == x.data()) == (kind != "rope"));
    CHECK(scheme->in_attention(4, 8, 1, 4).slopes.empty() == (kind != "alibi"));
    CHECK(scheme->max_length().has_value() == (kind == "learned"));
    CHECK(scheme->parameters().size() == (kind == "learned" ? 1 : 0));
  }
}

TEST_CASE("make_position lists the names it knows", "[nn][position]") {
  CHECK(error_of<std::invalid_argument>([] { make_position("rotary", {.length = 1, .dim = 1}); }) ==
        "position \"rotary\": unknown; choose rope, alibi, nope, learned or sinusoidal");
}
