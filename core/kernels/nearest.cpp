// Nearest rows; see nearest.hpp.
//
// |z - c|^2 = |z|^2 + 2 s with s = |c|^2/2 - z.c, so the least s decides, and the products z.c are
// a matrix product, bound by arithmetic as gemm.cpp's is and made of the same tiles. Its result,
// one score per vector and code, is never written: while a tile's sums are in registers they are
// compared with the best so far, one per lane, and dropped.
#include <xgrad/core/kernels/nearest.hpp>

#include <limits>

#include <xgrad/core/kernels/panel.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using panel::block_rows, panel::panel_width;
using row::Batch, row::lanes;
using tile::Left, tile::round_up;

/// Per vector and lane the least score so far, and which register of codes it came from: a whole
/// number below 2^20, so that a real holds it.
struct Best {
  Batch score[block_rows], at[block_rows];
};

/// Compares the scores of `rows` vectors from `i` on with one panel. A later code must be better,
/// not as good: of equals in a lane the first stays. A score that is NaN (infinity less infinity,
/// from finite numbers) is not better.
template <std::size_t rows, std::size_t vectors>
void compare_tile(std::size_t d, Left z, const real* codes, const real* half_squares, real number,
                  Batch* best, Batch* at) {
  Batch sum[rows][vectors];
  panel::multiply(d, z, codes, sum);
  for (std::size_t i = 0; i < rows; ++i) {
    Batch least = best[i], where = at[i];
    for (std::size_t j = 0; j < vectors; ++j) {
      const Batch score = Batch::load_unaligned(half_squares + j * lanes) - sum[i][j];
      const auto better = score < least;
      least = select(better, score, least);
      where = select(better, Batch(number + static_cast<real>(j)), where);
    }
    best[i] = least;
    at[i] = where;
  }
}

template <std::size_t vectors>
void compare_tiles(std::size_t rows, std::size_t d, Left z, const real* codes,
                   const real* half_squares, real number, Best& best) {
  panel::for_tiles(rows, [&]<std::size_t height>(panel::Height<height>, std::size_t i) {
    compare_tile<height, vectors>(d, z.from(i, 0), codes, half_squares, number, best.score + i,
                                  best.at + i);
  });
}

void subtract(const real* x, const real* origin, std::size_t rows, std::size_t d, real* out) {
  for (std::size_t i = 0; i < rows; ++i)
    row::walk(d, [=, x = x + i * d, out = out + i * d](auto part, std::size_t j) {
      part.store(out + j, part.load(x + j) - part.load(origin + j));
    });
}

/// As many codes as are packed at a time.
struct Strip {
  const real* origin;  // or null
  std::size_t d, codes;
  real *packed, *half_squares;  // (d, codes) by panels, |c|^2/2 (codes); rounded up to registers

  std::size_t panels() const { return (codes + panel_width - 1) / panel_width; }
  std::size_t width(std::size_t panel) const {
    return std::min(panel_width, codes - panel * panel_width);
  }

  void pack(const real* c) const {
    parallel_for(panels(), 1 + row::block / (panel_width * (d + 1)),
                 [=, this](std::size_t begin, std::size_t end) {
                   const Ref<Buffer> moved = Buffer::create(origin ? panel_width * d : 0);
                   for (std::size_t i = begin; i < end; ++i) {
                     const real* from = c + i * panel_width * d;
                     if (origin) {
                       subtract(from, origin, width(i), d, moved->data());
                       from = moved->data();
                     }
                     pack_panel(from, i);
                   }
                 });
  }

  void pack_panel(const real* c, std::size_t i) const {
    panel::pack({c, d, true}, 0, d, 0, width(i), packed + i * panel_width * d);
    real* half = half_squares + i * panel_width;
    for (std::size_t k = 0; k < width(i); ++k) {
      const auto square = [code = c + k * d](auto part, std::size_t j) {
        const Batch v = part.load(code + j);
        return v * v;
      };
      half[k] = row::sum(d, square) / 2;
    }
    // Spare lanes lose against any code.
    std::fill(half + width(i), half + round_up(width(i), lanes),
              std::numeric_limits<real>::infinity());
  }

  /// Scores of some vectors with all codes of the strip; `better(i, k, score)` gets the first code
  /// of the best of each vector.
  template <class Better>
  void search(const real* z, std::size_t rows, const Better& better) const {
    constexpr real none = std::numeric_limits<real>::infinity();
    Best best;
    std::fill_n(best.score, rows, Batch(none));
    std::fill_n(best.at, rows, Batch(0));
    for (std::size_t i = 0; i < panels(); ++i) {
      const std::size_t first = i * panel_width, vectors = (width(i) + lanes - 1) / lanes;
      const auto run = vectors == 3   ? compare_tiles<3>
                       : vectors == 2 ? compare_tiles<2>
                                      : compare_tiles<1>;
      run(rows, d, {z, d, 1}, packed + first * d, half_squares + first,
          static_cast<real>(first / lanes), best);
    }
    for (std::size_t i = 0; i < rows; ++i) {
      real score[lanes], at[lanes];
      best.score[i].store_unaligned(score);
      best.at[i].store_unaligned(at);
      real least = none;
      std::size_t code = 0;
      for (std::size_t lane = 0; lane < lanes; ++lane) {
        const std::size_t k = static_cast<std::size_t>(at[lane]) * lanes + lane;
        if (score[lane] < least || (score[lane] == least && k < code)) {
          least = score[lane];
          code = k;
        }
      }
      better(i, code, least);
    }
  }
};

}  // namespace

void nearest(const real* z, const real* c, const real* origin, std::size_t rows, std::size_t codes,
             std::size_t d, std::int64_t* ids) {
  const std::size_t strip =
      std::min(round_up(codes, lanes),
               std::max(panel_width, panel::scratch_limit / (d + 1) / panel_width * panel_width));
  const Ref<Buffer> packed = Buffer::create(strip * (d + 1)), least = Buffer::create(rows);
  const std::size_t height =
      std::min(block_rows,
               round_up((rows + panel::enough_tasks - 1) / panel::enough_tasks, panel::tile_rows));
  for (std::size_t first = 0; first < codes; first += strip) {
    const Strip some{origin, d, std::min(strip, codes - first), packed->data(),
                     packed->data() + strip * d};
    some.pack(c + first * d);
    const double work = static_cast<double>(height * d) * static_cast<double>(some.codes);
    const std::size_t blocks = 1 + static_cast<std::size_t>(panel::task_work / (work + 1));
    parallel_for(rows, blocks * height, [=, least = least->data()](std::size_t i, std::size_t end) {
      const Ref<Buffer> moved = Buffer::create(origin ? height * d : 0);
      for (; i < end; i += height) {
        const std::size_t count = std::min(height, end - i);
        const real* from = z + i * d;
        if (origin) {
          subtract(from, origin, count, d, moved->data());
          from = moved->data();
        }
        some.search(from, count, [=](std::size_t row, std::size_t code, real score) {
          if (first > 0 && !(score < least[i + row])) return;
          least[i + row] = score;
          ids[i + row] = static_cast<std::int64_t>(first + code);
        });
      }
    });
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
