// Random numbers: a counter-based generator, whose i-th value is a pure function of (key, i).
// Not for secrets, and not the standard library's distributions, which differ between platforms.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// One round of Philox on the counter c0..c3 under the key k0, k1. Multiplying 32 x 32 -> 64 bits
/// mixes; crossing the halves over keeps the map invertible.
constexpr void philox_round(std::uint32_t& c0, std::uint32_t& c1, std::uint32_t& c2,
                            std::uint32_t& c3, std::uint32_t k0, std::uint32_t k1) {
  const std::uint64_t a = std::uint64_t{0xD2511F53} * c0;
  const std::uint64_t b = std::uint64_t{0xCD9E8D57} * c2;
  c0 = static_cast<std::uint32_t>(b >> 32) ^ c1 ^ k0;
  c1 = static_cast<std::uint32_t>(b);
  c2 = static_cast<std::uint32_t>(a >> 32) ^ c3 ^ k1;
  c3 = static_cast<std::uint32_t>(a);
}

/// The key of the next round: Weyl sequences by the golden ratio and by sqrt(3) - 1.
constexpr void philox_bump(std::uint32_t& k0, std::uint32_t& k1) {
  k0 += 0x9E3779B9;
  k1 += 0xBB67AE85;
}

/// Philox4x32-10: ten rounds, a keyed bijection of 128-bit counters whose outputs pass for random
/// bits. Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
constexpr std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                              std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    philox_round(counter[0], counter[1], counter[2], counter[3], key[0], key[1]);
    philox_bump(key[0], key[1]);
  }
  return counter;
}

/// A stream of random numbers: 64 bits of key choose the stream, 64 bits of position the next block
/// of four 32-bit words. Two integers are the whole state: copy it, store it, or jump anywhere in
/// it. The same seed gives the same bits on any machine and with any number of threads.
class Rng {
 public:
  /// Different seeds are independent streams. `Rng(r.key(), r.position())` goes on where r stands.
  explicit constexpr Rng(std::uint64_t seed = 0, std::uint64_t position = 0)
      : key_(seed), position_(position) {}

  constexpr std::uint64_t key() const { return key_; }
  constexpr std::uint64_t position() const { return position_; }

  /// An independent stream for a part of the program. It depends on this key and on the id or name
  /// only, not on the position: what one part draws never changes what another part sees.
  Rng fork(std::uint64_t id) const;
  Rng fork(std::string_view name) const;

  /// 64 random bits. Takes one block, as each scalar draw below does; `fill_*` waste nothing.
  constexpr std::uint64_t next() {
    const auto words = block(position_++);
    return words[0] | std::uint64_t{words[1]} << 32;
  }
  /// Uniform on the multiples of 2^-24 (float) or 2^-53 (double) in [0, 1).
  constexpr real uniform() {
    return sizeof(real) == 4 ? static_cast<real>(next() >> 40) * static_cast<real>(0x1p-24)
                             : static_cast<real>(uniform64());
  }
  /// The same draw in double in every build: uniform on the multiples of 2^-53 in [0, 1).
  constexpr double uniform64() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform on {0, ..., n - 1}, without bias. Throws std::invalid_argument if n is 0.
  std::uint64_t below(std::uint64_t n);

  /// Element i of a fill is made of word i % 4 of block position() + i / 4, so a fill may be split
  /// among threads; afterwards the position has moved by ceil(size / 4) blocks. Float and double
  /// builds draw the same words: their values differ by rounding only.
  ///
  /// Uniform between `low` and `high`; rounding may give `high` itself unless low = 0 and high = 1.
  /// Throws std::invalid_argument unless low <= high and high - low is finite.
  void fill_uniform(std::span<real> values, real low, real high);
  /// Normal: mean + std * normal_quantile((word + 1/2) / 2^32), hence at most 6.34 deviations out.
  /// Throws std::invalid_argument unless std >= 0.
  void fill_normal(std::span<real> values, real mean, real std);
  /// The numbers 0, ..., n - 1, each of the n! orders equally likely. Needs n >= 0.
  std::vector<std::int64_t> permutation(std::int64_t n);

  /// The four words at any position, without moving.
  constexpr std::array<std::uint32_t, 4> block(std::uint64_t index) const {
    return philox(
        {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 0},
        {static_cast<std::uint32_t>(key_), static_cast<std::uint32_t>(key_ >> 32)});
  }
  /// words[i] = block(first + i / 4)[i % 4]: the same in bulk, several times as fast, for kernels
  /// that draw where they compute (dropout). Best in pieces of a few hundred words, on the stack.
  void read_words(std::uint64_t first, std::span<std::uint32_t> words) const;
  /// Marks as used the blocks that such a kernel has read, from position() on.
  constexpr void skip(std::uint64_t blocks) { position_ += blocks; }
  /// A word as a number in [0, 1): its upper 24 bits (float) or all 32 (double), exactly.
  static constexpr real to_unit(std::uint32_t word) {
    if constexpr (sizeof(real) == 8) return word * static_cast<real>(0x1p-32);
    // Via int: vector units convert signed integers in one instruction, unsigned ones in many.
    return static_cast<real>(static_cast<std::int32_t>(word >> 8)) * static_cast<real>(0x1p-24);
  }

 private:
  std::uint64_t key_, position_;
};

/// The z with P(Z <= z) = p for a standard normal Z, to about 1e-15 relative, with the same bits on
/// any machine. Throws std::invalid_argument unless 2^-1022 <= p < 1.
/// Wichura 1988, "Algorithm AS 241: the percentage points of the normal distribution", PPND16.
double normal_quantile(double p);

}  // namespace xgrad::inline XGRAD_PRECISION
