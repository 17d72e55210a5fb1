// Tiles of a matrix product over panels of its right factor: what is common to kernels that read a
// copy of that factor made for the purpose. What becomes of the sums is theirs: gemm.cpp writes
// them to memory, nearest.cpp compares them.
#pragma once

#include <type_traits>

#include <xgrad/core/kernels/gemm.hpp>
#include <xgrad/core/kernels/tile.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels::panel {

using row::Batch, row::lanes;
using tile::Left, tile::round_up;

// A tile takes 24 of AVX-512's 32 registers, or 12 of the 16 of its predecessors; the rest hold the
// factors.
inline constexpr std::size_t tile_rows = sizeof(Batch) == 64 ? 8 : 4;
inline constexpr std::size_t tile_vectors = 3;
inline constexpr std::size_t panel_width = tile_vectors * lanes;

inline constexpr std::size_t block_rows = 96;          // rows of A that one task works on
inline constexpr std::size_t scratch_limit = 1 << 20;  // numbers of B that are packed at a time
inline constexpr double task_work = 2e6;         // multiply-adds that are worth waking a thread for
inline constexpr std::size_t enough_tasks = 16;  // to keep any few threads busy to the end

/// sum[i][j] = sum over p < steps of A[i, p] B[p, j], j counting registers of a panel that is as
/// wide as the tile.
template <std::size_t rows, std::size_t vectors>
[[gnu::always_inline]] inline void multiply(std::size_t steps, Left a, const real* b,
                                            Batch (&sum)[rows][vectors]) {
  for (auto& line : sum)
    for (Batch& value : line) value = Batch(0);
  for (std::size_t p = 0; p < steps; ++p, b += vectors * lanes) {
    Batch right[vectors];
    for (std::size_t j = 0; j < vectors; ++j) right[j] = Batch::load_unaligned(b + j * lanes);
    for (std::size_t i = 0; i < rows; ++i) {
      const Batch left(*a.at(i, p));
      for (std::size_t j = 0; j < vectors; ++j)
        sum[i][j] = row::multiply_add(left, right[j], sum[i][j]);
    }
  }
}

template <std::size_t rows>
using Height = std::integral_constant<std::size_t, rows>;

/// Calls body(Height<h>, i) for tiles that cover rows [i, end): as high as they can be, then halves
/// for the rest.
template <std::size_t rows = tile_rows, class Body>
void for_tiles(std::size_t end, const Body& body, std::size_t i = 0) {
  for (; i + rows <= end; i += rows) body(Height<rows>(), i);
  if constexpr (rows > 1) for_tiles<rows / 2>(end, body, i);
}

/// A panel of B: steps [p, p + steps) of columns [j, j + width), one row of whole registers after
/// another, zeros beyond the width.
inline void pack(Matrix b, std::size_t p, std::size_t steps, std::size_t j, std::size_t width,
                 real* out) {
  using row::Part;
  const std::size_t padded = round_up(width, lanes);
  if (!b.transposed) {
    for (std::size_t i = 0; i < steps; ++i)
      row::walk(width, [&, from = b.data + (p + i) * b.stride + j](auto part, std::size_t k) {
        part.load(from + k).store_unaligned(out + i * padded + k);
      });
    return;
  }
  // Squares, so that whole cache lines are read as well as written.
  for (std::size_t column = 0; column < padded; column += lanes)
    for (std::size_t step = 0; step < steps; step += lanes) {
      real square[lanes][lanes];
      const std::size_t columns = std::min(lanes, width - column),
                        count = std::min(lanes, steps - step);
      const real* from = b.data + (j + column) * b.stride + p + step;
      for (std::size_t k = 0; k < lanes; ++k)
        (k < columns ? Part{count}.load(from + k * b.stride) : Batch(0)).store_unaligned(square[k]);
      for (std::size_t i = 0; i < count; ++i)
        for (std::size_t k = 0; k < lanes; ++k)
          out[(step + i) * padded + column + k] = square[k][i];
    }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels::panel
