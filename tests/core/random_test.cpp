// The random numbers: known answers, exact bits, and statistics with bounds that say why.
// Every seed is fixed: these tests cannot fail by chance, only by a change of the generator.
#include <xgrad/core/random.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <span>
#include <stdexcept>
#include <vector>

#include "catch.hpp"

using namespace xgrad;

namespace {

using Words = std::array<std::uint32_t, 4>;

std::vector<real> uniforms(Rng rng, std::size_t count) {
  std::vector<real> values(count);
  rng.fill_uniform(values, 0, 1);
  return values;
}

std::vector<real> normals(Rng rng, std::size_t count) {
  std::vector<real> values(count);
  rng.fill_normal(values, 0, 1);
  return values;
}

double correlation(const std::vector<real>& x, const std::vector<real>& y) {
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean_x) * (y[i] - mean_y);
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  return xy / std::sqrt(xx * yy);
}

// sum (observed - expected)^2 / expected over k equally likely cells: mean k - 1, variance 2 (k -
// 1). The result is in standard deviations from the mean, so a few units at most, on either side.
double chi_square_deviations(const std::vector<int>& observed) {
  const double total = std::accumulate(observed.begin(), observed.end(), 0.0);
  const double expected = total / static_cast<double>(observed.size());
  double sum = 0;
  for (const int count : observed) sum += (count - expected) * (count - expected) / expected;
  const double freedom = static_cast<double>(observed.size()) - 1;
  return (sum - freedom) / std::sqrt(2 * freedom);
}

}  // namespace

TEST_CASE("philox gives the known answers of Random123", "[core][random]") {
  constexpr std::uint32_t ones = 0xFFFFFFFF;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8});
  CHECK(philox({ones, ones, ones, ones}, {ones, ones}) ==
        Words{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD});
  CHECK(philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}) ==
        Words{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1});
}

TEST_CASE("draws have the same bits on every machine", "[core][random]") {
  // These numbers came from this code, whose correctness the other tests establish. Here they show
  // that compiler, optimisation level and target do not matter, fused multiply-add included.
  Rng rng(42);
  CHECK(rng.next() == 0x77F5493B9CEAF053);
  CHECK(rng.next() == 0x53BA6CFDFCDB2127);
  const std::vector<double> expected{
      0x1.25ee4fdc0b436p-2, -0x1.42dc65d29b5bbp-4, -0x1.73bf4292b862cp+0, -0x1.a3f4a5af3d7b5p-2,
      0x1.1fc5661c73277p+1, -0x1.caca1d265552cp-2, 0x1.1d9c5f4a4f502p-5,  -0x1.d61412d77222ap-4};
  const auto z = normals(Rng(42), expected.size());
  for (std::size_t i = 0; i < z.size(); ++i) CHECK(z[i] == static_cast<real>(expected[i]));
  // A wide sample in one number: a hash of the bits of 10^5 quantiles, tails included.
  std::uint64_t checksum = 0;
  for (int i = 0; i < 100000; ++i) {
    checksum = checksum * 31 + std::bit_cast<std::uint64_t>(normal_quantile((i + 0.5) / 100000));
  }
  CHECK(checksum == 0x85956C5C897EF3B1);
}

TEST_CASE("a generator is its key and position", "[core][random]") {
  Rng rng(7);
  CHECK(rng.key() == 7);
  CHECK(rng.position() == 0);
  rng.next();
  rng.uniform();
  CHECK(rng.position() == 2);
  Rng restored(rng.key(), rng.position());
  CHECK(restored.next() == rng.next());
  Rng skipped(7);
  skipped.skip(3);
  CHECK(skipped.next() == rng.next());
}

TEST_CASE("scalar draws agree between precisions up to rounding", "[core][random]") {
  Rng narrow(3), wide(3);
  for (int i = 0; i < 1000; ++i) {
    const real u = narrow.uniform();
    CHECK(u >= 0);
    CHECK(u < 1);
    CHECK(std::abs(u - wide.uniform64()) < 0x1p-24);
  }
}

TEST_CASE("the largest word is below 1 as a unit number and the smallest is 0", "[core][random]") {
  CHECK(Rng::to_unit(0xFFFFFFFF) < 1);
  CHECK(Rng::to_unit(0xFFFFFFFF) >= 1 - static_cast<real>(0x1p-24));
  CHECK(Rng::to_unit(0) == 0);
  CHECK(Rng::to_unit(0x80000000) == real{0.5});
}

TEST_CASE("a fill is a function of key, position and index", "[core][random]") {
  const auto whole = normals(Rng(5), 23);
  // In parts, at multiples of a block, as threads would do it.
  for (std::size_t start = 0; start < whole.size(); start += 8) {
    const std::size_t count = std::min<std::size_t>(8, whole.size() - start);
    const auto part = normals(Rng(5, start / 4), count);
    CHECK(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(start)));
  }
  // The stream goes on with the next whole block.
  Rng rng(5);
  std::vector<real> values(23);
  rng.fill_normal(values, 0, 1);
  CHECK(rng.position() == 6);
  rng.fill_uniform({}, 0, 1);
  CHECK(rng.position() == 6);
  // And each element comes from the word that the documentation names, past the end of a piece too.
  const auto u = uniforms(Rng(5, 10), 1031);
  bool same = true;
  for (std::size_t i = 0; i < u.size(); ++i) {
    same &= u[i] == Rng::to_unit(Rng(5).block(10 + i / 4)[i % 4]);
  }
  CHECK(same);
}

TEST_CASE("words read in bulk are those of the blocks", "[core][random]") {
  const Rng rng(0x123456789ABCDEF0);
  for (const std::size_t count : {0, 1, 5, 256, 1000}) {
    // Across the carry from the counter's first word to its second.
    std::vector<std::uint32_t> words(count);
    rng.read_words(0xFFFFFFF0, words);
    bool same = true;
    for (std::size_t i = 0; i < count; ++i)
      same &= words[i] == rng.block(0xFFFFFFF0 + i / 4)[i % 4];
    CHECK(same);
  }
}

TEST_CASE("fills are scaled, shifted, and checked", "[core][random]") {
  std::vector<real> values(1000);
  Rng rng(1);
  rng.fill_uniform(values, -2, 3);
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  CHECK(*least >= -2);
  CHECK(*least < real{-1.9});
  CHECK(*most <= 3);
  CHECK(*most > real{2.9});
  const auto z = normals(Rng(2), 8);
  Rng(2).fill_normal(std::span(values).first(8), 10, real{0.5});
  for (std::size_t i = 0; i < z.size(); ++i) {
    CHECK_THAT(values[i], WithinAbs(10 + 0.5 * z[i], 2e-6));
  }
  rng.fill_normal(values, 4, 0);
  CHECK(std::count(values.begin(), values.end(), real{4}) == 1000);
  CHECK_THROWS_WITH(rng.fill_normal(values, 0, -1), "fill_normal: needs std >= 0, got -1");
  CHECK_THROWS_WITH(rng.fill_uniform(values, 2, 1),
                    "fill_uniform: needs low <= high and a finite range, got low 2 and high 1");
  CHECK_THROWS_AS(rng.fill_uniform(values, 0, INFINITY), std::invalid_argument);
  CHECK_THROWS_AS(rng.fill_normal(values, 0, NAN), std::invalid_argument);
}

TEST_CASE("uniform draws pass a chi-square test in high and low bits", "[core][random]") {
  std::vector<int> fill_high(256), next_high(256), next_low(256);
  for (const real u : uniforms(Rng(11), 1'000'000)) ++fill_high[static_cast<std::size_t>(u * 256)];
  Rng rng(12);
  for (int i = 0; i < 1'000'000; ++i) {
    const std::uint64_t draw = rng.next();
    ++next_high[draw >> 56];
    ++next_low[draw & 255];
  }
  CHECK(std::abs(chi_square_deviations(fill_high)) < 4);
  CHECK(std::abs(chi_square_deviations(next_high)) < 4);
  CHECK(std::abs(chi_square_deviations(next_low)) < 4);
}

TEST_CASE("normal draws have the moments and the tails of a normal", "[core][random]") {
  const auto z = normals(Rng(13), 1'000'000);
  const auto n = static_cast<double>(z.size());
  double mean = 0;
  for (const real value : z) mean += value / n;
  double m2 = 0, m3 = 0, m4 = 0;
  int tail = 0;
  for (const real value : z) {
    const double d = value - mean;
    m2 += d * d / n;
    m3 += d * d * d / n;
    m4 += d * d * d * d / n;
    tail += std::abs(value) > real{4.5};
  }
  // Four times the deviation of each statistic over samples of n normals.
  CHECK(std::abs(mean) < 4 * std::sqrt(1 / n));
  CHECK(std::abs(m2 - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(m3 / std::pow(m2, 1.5)) < 4 * std::sqrt(6 / n));
  CHECK(std::abs(m4 / (m2 * m2) - 3) < 4 * std::sqrt(24 / n));
  // P(|Z| > 4.5) = 6.8e-6: about 7 are expected, none would happen once in 900 seeds.
  CHECK(tail >= 1);
  CHECK(tail <= 20);
}

TEST_CASE("the normal quantile inverts the distribution function", "[core][random]") {
  // Phi(z) = erfc(-z / sqrt 2) / 2. A relative error d of z moves Phi by about z^2 d of its own,
  // and so does the rounding of the argument of erfc: errors are measured in units of 1 + z^2.
  const auto error = [](double p) {
    const double z = normal_quantile(p);
    return std::abs(std::erfc(-z / std::sqrt(2.0)) / 2 / p - 1) / (1 + z * z);
  };
  double worst = 0;
  for (int i = 0; i < 20000; ++i)
    worst = std::max(worst, error((i + 0.5) / 40000));  // the lower half
  for (int e = -1; e >= -1000; --e)
    worst = std::max(worst, error(std::ldexp(1.0, e)));  // both tails
  CHECK(worst < 1e-15);
  CHECK(normal_quantile(0.5) == 0);
  CHECK(normal_quantile(0.75) == -normal_quantile(0.25));
  CHECK(normal_quantile(1 - 0x1p-20) == -normal_quantile(0x1p-20));
  CHECK_THAT(normal_quantile(0.975), WithinRel(1.959963984540054, 1e-15));
  CHECK_THAT(normal_quantile(0x1p-33), WithinAbs(-6.34, 0.01));
  CHECK_THROWS_WITH(normal_quantile(0), "normal_quantile: needs 2^-1022 <= p < 1, got 0");
  CHECK_THROWS_AS(normal_quantile(1), std::invalid_argument);
  CHECK_THROWS_AS(normal_quantile(NAN), std::invalid_argument);
}

TEST_CASE("forks are independent and do not depend on the position", "[core][random]") {
  const Rng root(17), moved(17, 1000);
  CHECK(root.fork("weights").key() == moved.fork("weights").key());
  CHECK(root.fork(3).key() == moved.fork(3).key());
  CHECK(root.fork("weights").position() == 0);
  CHECK(root.fork("a").fork("b").key() != root.fork("b").fork("a").key());
  CHECK(root.fork("").key() != root.key());
  const std::vector<Rng> streams{root,           Rng(18),        root.fork(0),   root.fork(1),
                                 root.fork("a"), root.fork("b"), Rng(18).fork(0)};
  std::vector<std::vector<real>> draws;
  draws.reserve(streams.size());
  for (const Rng& stream : streams) draws.push_back(uniforms(stream, 100'000));
  for (std::size_t i = 0; i < draws.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      // The correlation of n independent pairs has deviation 1 / sqrt(n).
      CHECK(std::abs(correlation(draws[i], draws[j])) < 4 / std::sqrt(100'000.0));
    }
  }
}

TEST_CASE("integers below n are unbiased", "[core][random]") {
  Rng rng(19);
  std::vector<int> counts(7);
  for (int i = 0; i < 70'000; ++i) ++counts[rng.below(7)];
  CHECK(std::abs(chi_square_deviations(counts)) < 4);
  // A remainder alone would send half of all draws to the first third of this range.
  const std::uint64_t third = std::uint64_t{1} << 62;
  int low = 0;
  for (int i = 0; i < 100'000; ++i) low += rng.below(3 * third) < third;
  CHECK(std::abs(low / 1e5 - 1.0 / 3) < 4 * std::sqrt(2.0 / 9 / 1e5));
  CHECK(rng.below(1) == 0);
  CHECK(rng.below(UINT64_MAX) < UINT64_MAX);
  CHECK_THROWS_WITH(rng.below(0), "below: needs n >= 1, got 0");
  CHECK_THROWS_AS(rng.below(0), std::invalid_argument);
}

TEST_CASE("a permutation has every number once, and every order is as likely", "[core][random]") {
  Rng rng(23);
  auto order = rng.permutation(1000);
  CHECK_FALSE(std::is_sorted(order.begin(), order.end()));
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) CHECK(order[i] == static_cast<std::int64_t>(i));
  std::map<std::vector<std::int64_t>, int> seen;
  for (int i = 0; i < 24'000; ++i) ++seen[rng.permutation(4)];
  std::vector<int> counts;
  counts.reserve(seen.size());
  for (const auto& [permutation, count] : seen) counts.push_back(count);
  CHECK(counts.size() == 24);
  CHECK(std::abs(chi_square_deviations(counts)) < 4);
  CHECK(rng.permutation(0).empty());
  CHECK(rng.permutation(1) == std::vector<std::int64_t>{0});
  CHECK_THROWS_WITH(rng.permutation(-1), "permutation: needs n >= 0, got -1");
}
