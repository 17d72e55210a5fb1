// Sums and extrema along one axis; see reduce.hpp.
// Bound by memory: x is read once, in order, and there is less than one operation per number read.
// Work is cut into blocks that depend on the sizes alone; their results are reduced in turn, so
// that no sum adds more than a few thousand numbers one after another and the bits are the same for
// any number of threads.
#include <xgrad/core/kernels/reduce.hpp>

#include <limits>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

struct Sum {
  static constexpr real identity = 0;
  template <class T>
  T operator()(const T& a, const T& b) const {
    return a + b;
  }
};

// The hardware's max drops NaN or keeps it by the order of its operands. Here a NaN is taken when
// it comes, and no number replaces it: x > NaN is false. (isnan: xsimd 8 on AVX finds NaN != NaN
// false.)
struct Max {
  static constexpr real identity = -std::numeric_limits<real>::infinity();
  Batch operator()(const Batch& m, const Batch& x) const {
    return select((x > m) | isnan(x), x, m);
  }
  real operator()(real m, real x) const { return x > m || x != x ? x : m; }
};
struct Min {
  static constexpr real identity = std::numeric_limits<real>::infinity();
  Batch operator()(const Batch& m, const Batch& x) const {
    return select((x < m) | isnan(x), x, m);
  }
  real operator()(real m, real x) const { return x < m || x != x ? x : m; }
};

/// y[j] = combination over i of x[i, j]: registers run along the columns, four rows in one visit to
/// y.
template <class Op>
void fold_columns(const real* x, std::size_t rows, std::size_t stride, std::size_t columns,
                  real* y) {
  const Op op;
  std::copy_n(x, columns, y);
  std::size_t i = 1;
  for (; i + 4 <= rows; i += 4) {
    const real *a = x + i * stride, *b = a + stride, *c = b + stride, *d = c + stride;
    std::size_t j = 0;
    for (; j + row::lanes <= columns; j += row::lanes) {
      const auto load = [j](const real* p) { return Batch::load_unaligned(p + j); };
      op(load(y), op(op(load(a), load(b)), op(load(c), load(d)))).store_unaligned(y + j);
    }
    for (; j < columns; ++j) y[j] = op(y[j], op(op(a[j], b[j]), op(c[j], d[j])));
  }
  for (; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) y[j] = op(y[j], x[i * stride + j]);
}

template <class Op>
void reduce(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y) {
  if (outer * n * inner == 0) {
    std::fill_n(y, outer * inner, Op::identity);
    return;
  }
  // A block is `height` rows of `width` columns; the width is limited so that y's part stays in the
  // first cache and a block has at least 16 rows.
  const std::size_t width = std::min<std::size_t>(inner, 2048);
  const std::size_t strips = (inner + width - 1) / width;
  const std::size_t height = row::block / width, blocks = (n + height - 1) / height;
  const Ref<Buffer> partial = blocks > 1 ? Buffer::create(outer * blocks * inner) : Ref<Buffer>();
  real* results = blocks > 1 ? partial->data() : y;  // (outer, blocks, inner)
  parallel_for(
      outer * blocks * strips, row::grain(std::min(n, height) * width),
      [&](std::size_t begin, std::size_t end) {
        for (std::size_t task = begin; task < end; ++task) {
          const std::size_t column = task % strips * width, o_block = task / strips;
          const std::size_t o = o_block / blocks, first = o_block % blocks * height;
          const std::size_t rows = std::min(height, n - first);
          const real* from = x + (o * n + first) * inner + column;
          real* to = results + o_block * inner + column;
          if (inner > 1)
            fold_columns<Op>(from, rows, inner, std::min(width, inner - column), to);
          else
            *to = row::fold(
                rows, Op::identity,
                [from](auto part, std::size_t i) { return part.load(from + i, Op::identity); },
                Op{});
        }
      });
  if (blocks > 1) reduce<Op>(results, outer, blocks, inner, y);
}

}  // namespace

void sum(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y) {
  reduce<Sum>(x, outer, n, inner, y);
}
void max(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y) {
  reduce<Max>(x, outer, n, inner, y);
}
void min(const real* x, std::size_t outer, std::size_t n, std::size_t inner, real* y) {
  reduce<Min>(x, outer, n, inner, y);
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
