// One row of numbers in vector registers: the two loops that row kernels are made of.
// No kernel lives here; reduce.cpp, softmax.cpp and norm.cpp are built on it.
#pragma once

#include <algorithm>
#include <cstddef>

#include <xsimd/xsimd.hpp>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels::row {

using Batch = xsimd::batch<real>;
inline constexpr std::size_t lanes = Batch::size;

/// Numbers that one range of parallel_for should hold: enough work to be worth waking a thread for.
inline constexpr std::size_t block = 32768;

/// How many rows of n make a block.
inline std::size_t grain(std::size_t n) {
  return std::max<std::size_t>(1, block / std::max<std::size_t>(1, n));
}

/// Where the row fills a register: all lanes count.
struct Full {
  Batch load(const real* p, real /*fill*/ = 0) const { return Batch::load_unaligned(p); }
  void store(real* p, const Batch& v) const { v.store_unaligned(p); }
};

/// The end of a row: the first `count` lanes are its numbers, the others `fill`. Running it through
/// the same vector code as the rest, instead of a scalar loop, makes a number's result independent
/// of its place.
struct Part {
  std::size_t count;

#ifdef __AVX512F__  // Its masks make short rows (65 characters, 10 digits) several times as fast.
  unsigned mask() const { return (1U << count) - 1; }
#ifdef XGRAD_DOUBLE
  Batch load(const real* p, real fill = 0) const {
    return _mm512_mask_loadu_pd(Batch(fill), mask(), p);
  }
  void store(real* p, const Batch& v) const { _mm512_mask_storeu_pd(p, mask(), v); }
#else
  Batch load(const real* p, real fill = 0) const {
    return _mm512_mask_loadu_ps(Batch(fill), mask(), p);
  }
  void store(real* p, const Batch& v) const { _mm512_mask_storeu_ps(p, mask(), v); }
#endif
#else
  Batch load(const real* p, real fill = 0) const {
    alignas(Batch) real lane[lanes];
    std::fill_n(lane, lanes, fill);
    std::copy_n(p, count, lane);
    return Batch::load_aligned(lane);
  }
  void store(real* p, const Batch& v) const {
    alignas(Batch) real lane[lanes];
    v.store_aligned(lane);
    std::copy_n(lane, count, p);
  }
#endif
};

/// a b + c in one rounding. For AVX-512 xsimd 8.1 writes two operations, which g++ joins and
/// clang does not.
inline Batch multiply_add(const Batch& a, const Batch& b, const Batch& c) {
#if defined(__AVX512F__) && defined(XGRAD_DOUBLE)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#else
  return xsimd::fma(a, b, c);
#endif
}

/// Calls body(part, i) for the registers that cover [0, n): `part` is Full or Part, i the first
/// number's index.
template <class Body>
void walk(std::size_t n, const Body& body) {
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) body(Full{}, i);
  if (i < n) body(Part{n - i}, i);
}

/// Fetches from memory what is read next: the row after this one, while this one, which is in the
/// cache, is read for the last time. Without it the memory rests meanwhile.
inline void prefetch(const real* p) { __builtin_prefetch(p); }

/// Combines the lanes pairwise.
template <class Combine>
real fold_lanes(const Batch& v, const Combine& combine) {
  alignas(Batch) real lane[lanes];
  v.store_aligned(lane);
  for (std::size_t width = lanes / 2; width > 0; width /= 2)
    for (std::size_t i = 0; i < width; ++i) lane[i] = combine(lane[i], lane[i + width]);
  return lane[0];
}

/// The sum of the lanes.
inline real total(const Batch& v) {
  return fold_lanes(v, [](real a, real b) { return a + b; });
}

/// Combines term(part, i) over a row of n. Four registers accumulate at once: each waits for its
/// last result only every fourth step, and each lane adds so few numbers that float sums stay
/// accurate. A Part's spare lanes must come out as `identity`.
template <class Term, class Combine>
real fold(std::size_t n, real identity, const Term& term, const Combine& combine) {
  Batch a(identity), b(identity), c(identity), d(identity);
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = combine(a, term(Full{}, i));
    b = combine(b, term(Full{}, i + lanes));
    c = combine(c, term(Full{}, i + 2 * lanes));
    d = combine(d, term(Full{}, i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a = combine(a, term(Full{}, i));
  if (i < n) b = combine(b, term(Part{n - i}, i));
  return fold_lanes(combine(combine(a, b), combine(c, d)), combine);
}

template <class Term>
real sum(std::size_t n, const Term& term) {
  return fold(n, 0, term, [](const auto& a, const auto& b) { return a + b; });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels::row
