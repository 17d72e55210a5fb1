// How random words become forks, integers, normals and permutations: the same on any machine.
// Hence nothing of the math library but sqrt, which IEEE 754 rounds correctly, as it does + - * /.
//
// Compile this file with -ffp-contract=off: a fused multiply-add rounds once instead of twice, and
// so would give the last bits of normals a dependence on the compiler and its target.
#include <xgrad/core/random.hpp>

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include <xgrad/core/error.hpp>

static_assert(FLT_EVAL_METHOD == 0, "normals need arithmetic without excess precision");

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// The counter's last word tells what a block is for, so that no derived key is a stream's output.
enum class Purpose : std::uint32_t { kDraw = 0, kForkById = 1, kForkByName = 2 };

std::uint64_t derive_key(std::uint64_t key, std::uint64_t id, Purpose purpose) {
  const auto words =
      philox({static_cast<std::uint32_t>(id), static_cast<std::uint32_t>(id >> 32), 0,
              static_cast<std::uint32_t>(purpose)},
             {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)});
  return words[0] | std::uint64_t{words[1]} << 32;
}

// FNV-1a, 64 bits (Fowler, Noll, Vo).
std::uint64_t hash(std::string_view text) {
  std::uint64_t state = 0xCBF29CE484222325;
  for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return state;
}

// values[i] = convert(word i % 4 of block i / 4, counted from the generator's position).
template <class Convert>
void fill(Rng& rng, std::span<real> values, const Convert& convert) {
  std::array<std::uint32_t, 256> words;
  for (std::size_t start = 0; start < values.size(); start += words.size()) {
    const std::size_t count = std::min(words.size(), values.size() - start);
    rng.read_words(rng.position() + start / 4, std::span(words).first(count));
    for (std::size_t i = 0; i < count; ++i) values[start + i] = convert(words[i]);
  }
  rng.skip(values.size() / 4 + (values.size() % 4 != 0));
}

// sum_k coefficients[k] x^k by Horner's rule.
template <std::size_t N>
double polynomial(double x, const double (&coefficients)[N]) {
  double sum = 0;
  for (std::size_t k = N; k-- > 0;) sum = sum * x + coefficients[k];
  return sum;
}

// The natural logarithm of a positive normal number, to a few 1e-16 relative: x = m 2^e with m in
// [sqrt(1/2), sqrt(2)), and log m = 2 artanh t = 2 (t + t^3/3 + t^5/5 + ...), t = (m-1) / (m+1).
// There t^2 < 0.03, so that the first term left out, t^23 / 23, is below 2^-58 of the sum.
double plain_log(double x) {
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCD;  // the bits of sqrt(1/2)
  const std::uint64_t offset = std::bit_cast<std::uint64_t>(x) - kSqrtHalf;
  const auto e = static_cast<std::int64_t>(offset) >> 52;
  const auto m = std::bit_cast<double>((offset & 0xFFFFFFFFFFFFF) + kSqrtHalf);
  const double t = (m - 1) / (m + 1);
  const double series = polynomial(t * t, {1., 1. / 3, 1. / 5, 1. / 7, 1. / 9, 1. / 11, 1. / 13,
                                           1. / 15, 1. / 17, 1. / 19, 1. / 21});
  return static_cast<double>(e) * 0.693147180559945309417 + 2 * t * series;
}

}  // namespace

Rng Rng::fork(std::uint64_t id) const { return Rng(derive_key(key_, id, Purpose::kForkById)); }

Rng Rng::fork(std::string_view name) const {
  return Rng(derive_key(key_, hash(name), Purpose::kForkByName));
}

std::uint64_t Rng::below(std::uint64_t n) {
  require(n >= 1, "below: needs n >= 1, got 0");
  // 2^64 is seldom a multiple of n. Without its first 2^64 mod n values the range is one.
  const std::uint64_t excess = (0 - n) % n;
  std::uint64_t draw = next();
  while (draw < excess) draw = next();
  return draw % n;
}

void Rng::read_words(std::uint64_t first, std::span<std::uint32_t> words) const {
  // Counters side by side, all ten rounds of each in registers. A word lives in the lower half of a
  // 64-bit lane, where vector units multiply 32 x 32 -> 64 bits; what is above it is never read.
  constexpr std::size_t kLanes = 16;
  constexpr std::uint64_t kLow = 0xFFFFFFFF;
  std::array<std::uint64_t, 2 * kLanes> pairs;  // words 0 and 1, words 2 and 3 of each block
  const auto pair = [](std::uint64_t a, std::uint64_t b) {
    return std::endian::native == std::endian::little ? (a & kLow) | b << 32 : a << 32 | (b & kLow);
  };
  for (std::size_t start = 0; start < words.size(); start += 4 * kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t index = first + start / 4 + lane;
      std::uint64_t c0 = index, c1 = index >> 32, c2 = 0, c3 = 0;
      auto k0 = static_cast<std::uint32_t>(key_), k1 = static_cast<std::uint32_t>(key_ >> 32);
#pragma GCC unroll 10
      for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = (c0 & kLow) * 0xD2511F53, b = (c2 & kLow) * 0xCD9E8D57;
        c0 = b >> 32 ^ c1 ^ k0;
        c1 = b;
        c2 = a >> 32 ^ c3 ^ k1;
        c3 = a;
        philox_bump(k0, k1);
      }
      pairs[2 * lane] = pair(c0, c1);
      pairs[2 * lane + 1] = pair(c2, c3);
    }
    const std::size_t count = std::min(4 * kLanes, words.size() - start);
    std::memcpy(words.data() + start, pairs.data(), count * sizeof(std::uint32_t));
  }
}

void Rng::fill_uniform(std::span<real> values, real low, real high) {
  require(low <= high && std::isfinite(high - low),
          "fill_uniform: needs low <= high and a finite range, got low ", low, " and high ", high);
  fill(*this, values, [=](std::uint32_t word) { return low + (high - low) * to_unit(word); });
}

void Rng::fill_normal(std::span<real> values, real mean, real std) {
  require(std >= 0, "fill_normal: needs std >= 0, got ", std);
  fill(*this, values, [=](std::uint32_t word) {
    // The midpoints of 2^32 equal cells: never 0 or 1, and symmetric about 1/2.
    const double z = normal_quantile((word + 0.5) * 0x1p-32);
    return static_cast<real>(mean + std * z);
  });
}

std::vector<std::int64_t> Rng::permutation(std::int64_t n) {
  require(n >= 0, "permutation: needs n >= 0, got ", n);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  // Fisher-Yates: each place, from the last to the second, takes one of those not yet placed.
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

double normal_quantile(double p) {
  require(p >= DBL_MIN && p < 1, "normal_quantile: needs 2^-1022 <= p < 1, got ", p);
  // Three rational approximations, each the quotient of two polynomials of degree 7. The centre is
  // in terms of q = p - 1/2, odd in q; the two tails in terms of r = sqrt(-log(min(p, 1 - p))).
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q *
           polynomial(r, {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                          1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                          3.3430575583588128105e4, 2.5090809287301226727e3}) /
           polynomial(r, {1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
                          5.3941960214247511077e3, 2.1213794301586595867e4, 3.9307895800092710610e4,
                          2.8729085735721942674e4, 5.2264952788528545610e3});
  }
  const double r = std::sqrt(-plain_log(q < 0 ? p : 1 - p));
  const double z =
      r <= 5 ? polynomial(r - 1.6, {1.42343711074968357734e0, 4.63033784615654529590e0,
                                    5.76949722146069140550e0, 3.64784832476320460504e0,
                                    1.27045825245236838258e0, 2.41780725177450611770e-1,
                                    2.27238449892691845833e-2, 7.74545014278341407640e-4}) /
                   polynomial(r - 1.6, {1.0, 2.05319162663775882187e0, 1.67638483018380384940e0,
                                        6.89767334985100004550e-1, 1.48103976427480074590e-1,
                                        1.51986665636164571966e-2, 5.47593808499534494600e-4,
                                        1.05075007164441684324e-9})
             : polynomial(r - 5, {6.65790464350110377720e0, 5.46378491116411436990e0,
                                  1.78482653991729133580e0, 2.96560571828504891230e-1,
                                  2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                  2.71155556874348757815e-5, 2.01033439929228813265e-7}) /
                   polynomial(r - 5, {1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
                                      1.48753612908506148525e-2, 7.86869131145613259100e-4,
                                      1.84631831751005468180e-5, 1.42151175831644588870e-7,
                                      2.04426310338993978564e-15});
  return q < 0 ? -z : z;
}

}  // namespace xgrad::inline XGRAD_PRECISION
