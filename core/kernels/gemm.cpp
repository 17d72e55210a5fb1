// Matrix products; see gemm.hpp.
//
// Bound by arithmetic: a core that starts one fused multiply-add of full registers per cycle is at
// its limit. What keeps it there (Goto & van de Geijn 2008, Anatomy of high-performance matrix
// multiplication; Van Zee & van de Geijn 2015, BLIS):
//   * C is computed in tiles that live in registers, each from `depth` steps of k at a time;
//   * B is copied once into panels as wide as a tile, so that a step reads adjacent registers, and
//     all threads share them; A is read where it stands, one number for a whole register of B;
//   * a block of rows of A stays in the second cache while all panels pass by.
// Every number of C is one sum over k in order, whatever tile and thread it falls to.
#include <xgrad/core/kernels/gemm.hpp>

#include <algorithm>

#include <xgrad/core/kernels/panel.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using panel::block_rows, panel::enough_tasks, panel::panel_width, panel::scratch_limit,
    panel::task_work, panel::tile_rows;
using row::Batch, row::Full, row::lanes, row::Part;
using tile::Left, tile::round_up;  // Left: A as tiles read it

constexpr std::size_t depth = 384;    // steps of k between two visits to C
constexpr std::size_t few_rows = 16;  // up to here a copy of B does not pay

/// Where a tile's sums go: `rows` rows of C, one register of columns after another, of which the
/// last holds `tail` numbers.
struct Target {
  real* data;
  std::size_t stride;
  std::size_t tail;
  bool add;
  const real* bias;  // or null
};

/// C[i, j] (+)= sum over p < steps of A[i, p] B[p, j], for one tile.
template <std::size_t rows, std::size_t vectors>
void compute_tile(std::size_t steps, Left a, const real* b, Target c) {
  // A store waits for its line of C: asked for now, it is there by the end. (Not where A is read
  // down its columns, a line for each step; that needs all the lines that can be under way.)
  if (a.step == 1)
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < vectors; ++j)
        __builtin_prefetch(c.data + i * c.stride + j * lanes, 1);
  Batch sum[rows][vectors];
  panel::multiply(steps, a, b, sum);
  const auto finish = [&](auto part, std::size_t i, std::size_t j) {
    real* to = c.data + i * c.stride + j * lanes;
    Batch value = sum[i][j];
    if (c.bias) value += part.load(c.bias + j * lanes);
    if (c.add) value += part.load(to);
    part.store(to, value);
  };
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j + 1 < vectors; ++j) finish(Full{}, i, j);
    c.tail == lanes ? finish(Full{}, i, vectors - 1) : finish(Part{c.tail}, i, vectors - 1);
  }
}

/// All tiles of a block of rows over one panel.
template <std::size_t vectors>
void compute_tiles(std::size_t rows, std::size_t steps, Left a, const real* b, Target c) {
  panel::for_tiles(rows, [=]<std::size_t height>(panel::Height<height>, std::size_t i) {
    Target here = c;
    here.data += i * c.stride;
    compute_tile<height, vectors>(steps, a.from(i, 0), b, here);
  });
}

/// A product whose right factor is packed whole.
struct Product {
  std::size_t m, n, k;
  Matrix a, b;
  real* c;
  std::size_t c_stride;
  GemmOptions options;

  std::size_t passes() const { return (k + depth - 1) / depth; }
  std::size_t panels() const { return (n + panel_width - 1) / panel_width; }
  std::size_t steps(std::size_t pass) const { return std::min(depth, k - pass * depth); }
  std::size_t width(std::size_t panel) const {
    return std::min(panel_width, n - panel * panel_width);
  }
  /// How many numbers are packed before this panel: pass by pass, one panel behind the other.
  std::size_t offset(std::size_t pass, std::size_t panel) const {
    return pass * depth * round_up(n, lanes) + panel * panel_width * steps(pass);
  }

  /// Rows [top, bottom) of C for panels [first, last).
  void multiply(std::size_t top, std::size_t bottom, std::size_t first, std::size_t last,
                const real* packed) const {
    const Left whole{a.data, a.transposed ? 1 : a.stride, a.transposed ? a.stride : 1};
    for (std::size_t pass = 0; pass < passes(); ++pass)
      for (std::size_t panel = first; panel < last; ++panel) {
        const std::size_t j = panel * panel_width, vectors = (width(panel) + lanes - 1) / lanes;
        const Left left = whole.from(top, pass * depth);
        const Target target{c + top * c_stride + j, c_stride, width(panel) - (vectors - 1) * lanes,
                            options.accumulate || pass > 0,
                            options.bias && pass == 0 ? options.bias + j : nullptr};
        const auto run = vectors == 3   ? compute_tiles<3>
                         : vectors == 2 ? compute_tiles<2>
                                        : compute_tiles<1>;
        run(bottom - top, steps(pass), left, packed + offset(pass, panel), target);
      }
  }

  void run() const {
    const Ref<Buffer> packed = Buffer::create(k * round_up(n, lanes));
    parallel_for(passes() * panels(), 1 + row::block / (depth * panel_width),
                 [&](std::size_t begin, std::size_t end) {
                   for (std::size_t i = begin; i < end; ++i) {
                     const std::size_t pass = i / panels(), panel = i % panels();
                     panel::pack(b, pass * depth, steps(pass), panel * panel_width, width(panel),
                                 packed->data() + offset(pass, panel));
                   }
                 });
    const std::size_t height = std::min(block_rows, round_up(m, tile_rows));
    const std::size_t blocks = (m + height - 1) / height;
    // Few blocks of rows: the panels are spread over the threads too.
    const std::size_t group = blocks >= enough_tasks
                                  ? panels()
                                  : std::max<std::size_t>(1, panels() * blocks / enough_tasks);
    const std::size_t groups = (panels() + group - 1) / group;
    const double work = static_cast<double>(height * k) * static_cast<double>(group * panel_width);
    parallel_for(blocks * groups, 1 + static_cast<std::size_t>(task_work / work),
                 [&](std::size_t begin, std::size_t end) {
                   for (std::size_t i = begin; i < end; ++i) {
                     const std::size_t top = i / groups * height, first = i % groups * group;
                     multiply(top, std::min(m, top + height), first,
                              std::min(panels(), first + group), packed->data());
                   }
                 });
  }
};

/// A tile of C for B transposed, where rows of both factors are read side by side: sums of whole
/// registers, folded at the end.
template <std::size_t rows, std::size_t columns>
void dots(std::size_t k, const real* a, std::size_t a_stride, const real* b, std::size_t b_stride,
          real* c, std::size_t c_stride, bool add, const real* bias) {
  Batch sum[rows][columns];
  for (auto& line : sum)
    for (Batch& value : line) value = Batch(0);
  row::walk(k, [&](auto part, std::size_t p) {
    Batch right[columns];
    for (std::size_t j = 0; j < columns; ++j) right[j] = part.load(b + j * b_stride + p);
    for (std::size_t i = 0; i < rows; ++i) {
      const Batch left = part.load(a + i * a_stride + p);
      for (std::size_t j = 0; j < columns; ++j)
        sum[i][j] = row::multiply_add(left, right[j], sum[i][j]);
    }
  });
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      real& value = c[i * c_stride + j];
      value = (add ? value : 0) + (bias ? bias[j] : 0) + xsimd::hadd(sum[i][j]);
    }
}

/// The product for a few rows of A, as when a language model writes one token after another: bound
/// by memory, since every number of B serves only m multiplications. B is read where it stands.
void multiply_few(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real* c,
                  std::size_t c_stride, GemmOptions options) {
  parallel_for(n, 1 + row::block / k, [&](std::size_t begin, std::size_t end) {
    const auto all_rows = [&]<std::size_t columns>(std::size_t j) {
      const auto run = [&]<std::size_t rows>(std::size_t i) {
        dots<rows, columns>(k, a.data + i * a.stride, a.stride, b.data + j * b.stride, b.stride,
                            c + i * c_stride + j, c_stride, options.accumulate,
                            options.bias ? options.bias + j : nullptr);
      };
      std::size_t i = 0;
      for (; i + 4 <= m; i += 4) run.template operator()<4>(i);
      for (; i < m; ++i) run.template operator()<1>(i);
    };
    std::size_t j = begin;
    for (; j + 4 <= end; j += 4) all_rows.template operator()<4>(j);
    for (; j < end; ++j) all_rows.template operator()<1>(j);
  });
}

}  // namespace

void gemm(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real* c,
          std::size_t c_stride, GemmOptions options) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        real& value = c[i * c_stride + j];
        value = (options.accumulate ? value : 0) + (options.bias ? options.bias[j] : 0);
      }
    return;
  }
  if (m <= few_rows && b.transposed && !a.transposed)
    return multiply_few(m, n, k, a, b, c, c_stride, options);
  // In strips, if packing all of B would take too much memory.
  const std::size_t strip = std::max(panel_width, scratch_limit / k / panel_width * panel_width);
  for (std::size_t first = 0; first < n; first += strip) {
    Product strip_of{m, std::min(strip, n - first), k, a, b, c + first, c_stride, options};
    strip_of.b.data += b.transposed ? first * b.stride : first;
    if (options.bias) strip_of.options.bias += first;
    strip_of.run();
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
