// Matrix products in registers, for factors that stay in the first cache, and copies for them.
// How large matrices are cut into such pieces is the business of gemm.cpp and attention.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include <xgrad/core/kernels/reduce_row.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels::tile {

using row::Batch, row::lanes;

constexpr std::size_t round_up(std::size_t n, std::size_t unit) {
  return (n + unit - 1) / unit * unit;
}

/// The left factor: element (m, k) is data[m row + k step].
struct Left {
  const real* data;
  std::size_t row, step;
  const real* at(std::size_t m, std::size_t k) const { return data + m * row + k * step; }
  Left from(std::size_t m, std::size_t k) const { return {at(m, k), row, step}; }
};

/// The right factor and the result: rows of whole vectors.
template <class Number>
struct Rows {
  Number* data;
  std::size_t stride;
};

struct Range {
  std::size_t begin, end;
};

enum class Into { replace, add, scale_add };  // C = AB, C + AB, diag(factor) C + AB

// A product's block of sums, which stays in registers over the whole depth: enough of them that a
// multiply-add need not wait for the one before, few enough that vectors and a broadcast fit
// beside.
inline constexpr std::size_t block_rows = 4;
inline constexpr std::size_t block_vectors = sizeof(Batch) == 64 ? 4 : 3;

// Tells the compiler that v is used as a register. Else g++ reads it from memory again in each
// multiply-add: four loads where one would do, and loads become the limit.
inline Batch in_register(Batch v) {
#if defined(__GNUC__) && defined(__SSE2__)
  asm("" : "+v"(v.data));
#endif
  return v;
}

/// M rows by N vectors of C, from the products at depth k in `range`. Its short loops are unrolled
/// by order: g++ by itself comes to that too late to keep the sums out of memory.
template <std::size_t M, std::size_t N, Into into>
void block(Range range, Left a, Rows<const real> b, Rows<real> c, const real* factor) {
  const auto at = [c](std::size_t i) { return c.data + i / N * c.stride + i % N * lanes; };
  Batch sum[M * N];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < M * N; ++i) {
    sum[i] = into == Into::replace ? Batch(0) : Batch::load_unaligned(at(i));
    if (into == Into::scale_add) sum[i] *= Batch(factor[i / N]);
  }
  for (std::size_t k = range.begin; k < range.end; ++k) {
    Batch right[N];
#pragma GCC unroll 4
    for (std::size_t n = 0; n < N; ++n)
      right[n] = in_register(Batch::load_unaligned(b.data + k * b.stride + n * lanes));
#pragma GCC unroll 16
    for (std::size_t i = 0; i < M * N; ++i)
      sum[i] = row::multiply_add(Batch(*a.at(i / N, k)), right[i % N], sum[i]);
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < M * N; ++i) sum[i].store_unaligned(at(i));
}

using Block = void (*)(Range, Left, Rows<const real>, Rows<real>, const real*);

/// blocks[(M - 1) block_vectors + N - 1] is block<M, N>.
template <Into into, std::size_t... I>
constexpr std::array<Block, sizeof...(I)> make_blocks(std::index_sequence<I...>) {
  return {block<I / block_vectors + 1, I % block_vectors + 1, into>...};
}

/// C (rows, …) from A (rows, …) and B, whose rows are as wide. Block by block, `vectors(m)` says
/// which vectors of row m and the next block_rows - 1 are computed, `depth(m)` from which products.
template <Into into, class Depth, class Vectors>
void multiply(std::size_t rows, Left a, Rows<const real> b, Rows<real> c, const Depth& depth,
              const Vectors& vectors, const real* factor = nullptr) {
  static constexpr auto blocks =
      make_blocks<into>(std::make_index_sequence<block_rows * block_vectors>());
  for (std::size_t m = 0; m < rows; m += block_rows) {
    const std::size_t M = std::min(block_rows, rows - m);
    const Range terms = depth(m), columns = vectors(m);
    for (std::size_t n = columns.begin; n < columns.end; n += block_vectors) {
      const std::size_t N = std::min(block_vectors, columns.end - n);
      blocks[(M - 1) * block_vectors + N - 1](terms, a.from(m, 0), {b.data + n * lanes, b.stride},
                                              {c.data + m * c.stride + n * lanes, c.stride},
                                              factor ? factor + m : nullptr);
    }
  }
}

/// For multiply(): the same for every block, such as a depth of n products.
constexpr auto always(std::size_t n) {
  return [n](std::size_t) { return Range{0, n}; };
}

/// out[c][r] = in[r][c]; both sizes are multiples of 4. Squares of 4 by 4 are turned in registers.
inline void transpose(std::size_t rows, std::size_t cols, const real* in, std::size_t in_stride,
                      real* out, std::size_t out_stride) {
  using Four [[gnu::vector_size(4 * sizeof(real)), gnu::aligned(sizeof(real)), gnu::may_alias]] =
      real;
  for (std::size_t r = 0; r < rows; r += 4)
    for (std::size_t c = 0; c < cols; c += 4) {
      Four x[4];
      for (std::size_t i = 0; i < 4; ++i)
        x[i] = *reinterpret_cast<const Four*>(in + (r + i) * in_stride + c);
      const Four a = __builtin_shufflevector(x[0], x[2], 0, 4, 1, 5),
                 b = __builtin_shufflevector(x[0], x[2], 2, 6, 3, 7),
                 d = __builtin_shufflevector(x[1], x[3], 0, 4, 1, 5),
                 e = __builtin_shufflevector(x[1], x[3], 2, 6, 3, 7);
      const Four y[4]{
          __builtin_shufflevector(a, d, 0, 4, 1, 5), __builtin_shufflevector(a, d, 2, 6, 3, 7),
          __builtin_shufflevector(b, e, 0, 4, 1, 5), __builtin_shufflevector(b, e, 2, 6, 3, 7)};
      for (std::size_t i = 0; i < 4; ++i)
        *reinterpret_cast<Four*>(out + (c + i) * out_stride + r) = y[i];
    }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels::tile
