// Strided copies; see copy.hpp. Bound by memory: what counts is to read and write whole cache
// lines.
#include <xgrad/core/kernels/copy.hpp>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

constexpr std::size_t kGrain = 32768;  // elements that are worth a thread

using Line = real __attribute__((vector_size(64)));  // a cache line, and a tile's row
constexpr std::size_t kTile = sizeof(Line) / sizeof(real);
constexpr std::size_t kStrip = 4 * kTile;  // lines of one page are wanted together

struct Axis {
  std::size_t size, in, out;  // how many, and how far apart on either side
};

// Axes of size 1 go; neighbours that are one run of memory on both sides become one axis. What is
// left is short, and its last axis as long as it can be.
std::vector<Axis> merge_axes(const Shape& shape, const Shape& in_strides,
                             const Shape& out_strides) {
  std::vector<Axis> axes;
  for (std::size_t k = 0; k < shape.size(); ++k) {
    const Axis axis{shape[k], in_strides[k], out_strides[k]};
    if (axis.size == 1) continue;
    if (!axes.empty() && axes.back().in == axis.size * axis.in &&
        axes.back().out == axis.size * axis.out)
      axes.back() = {axes.back().size * axis.size, axis.in, axis.out};
    else
      axes.push_back(axis);
  }
  if (axes.empty()) axes.push_back({1, 1, 1});
  return axes;
}

std::size_t count_of(const std::vector<Axis>& axes) {
  std::size_t count = 1;
  for (const Axis& axis : axes) count *= axis.size;
  return count;
}

// Calls visit(in offset, out offset) for the indices begin, …, end - 1 of `axes`, counted in
// row-major order.
template <class Visit>
void walk(const std::vector<Axis>& axes, std::size_t begin, std::size_t end, const Visit& visit) {
  std::vector<std::size_t> index(axes.size());
  std::size_t in = 0, out = 0, rest = begin;
  for (std::size_t k = axes.size(); k-- > 0; rest /= axes[k].size) {
    index[k] = rest % axes[k].size;
    in += index[k] * axes[k].in;
    out += index[k] * axes[k].out;
  }
  for (std::size_t i = begin; i < end; ++i) {
    visit(in, out);
    for (std::size_t k = axes.size(); k-- > 0;) {  // the next index, as an odometer counts
      in += axes[k].in;
      out += axes[k].out;
      if (++index[k] < axes[k].size) break;
      in -= axes[k].size * axes[k].in;
      out -= axes[k].size * axes[k].out;
      index[k] = 0;
    }
  }
}

void copy_run(const Axis& axis, std::size_t count, const real* in, real* out) {
  if (axis.in == 1 && axis.out == 1)
    std::copy_n(in, count, out);
  else if (axis.in == 0 && axis.out == 1)
    std::fill_n(out, count, *in);
  else
    for (std::size_t i = 0; i < count; ++i) out[i * axis.out] = in[i * axis.in];
}

void add_run(const Axis& axis, std::size_t count, const real* in, real* out) {
  if (axis.in == 1 && axis.out == 1)
    for (std::size_t i = 0; i < count; ++i) out[i] += in[i];
  else
    for (std::size_t i = 0; i < count; ++i) out[i * axis.out] += in[i * axis.in];
}

// Calls run(axis, count, in, out) for pieces of the innermost of `axes` that cover all of them.
template <class Run>
void for_runs(std::vector<Axis> axes, const real* in, real* out, const Run& run) {
  const Axis inner = axes.back();
  axes.pop_back();
  if (axes.empty()) {
    parallel_for(inner.size, kGrain, [&](std::size_t begin, std::size_t end) {
      run(inner, end - begin, in + begin * inner.in, out + begin * inner.out);
    });
    return;
  }
  parallel_for(count_of(axes), kGrain / inner.size, [&](std::size_t begin, std::size_t end) {
    walk(axes, begin, end,
         [&](std::size_t from, std::size_t to) { run(inner, inner.size, in + from, out + to); });
  });
}

// Of a square of rows, exchanges the upper right with the lower left quarter in each block of
// 2 half x 2 half numbers.
template <std::size_t half, std::size_t... k>
void exchange(Line (&rows)[kTile], std::index_sequence<k...>) {
  for (std::size_t i = 0; i < kTile; ++i) {
    if (i & half) continue;
    const Line a = rows[i], b = rows[i + half];
    rows[i] = __builtin_shufflevector(a, b, (k & half ? kTile + k - half : k)...);
    rows[i + half] = __builtin_shufflevector(a, b, (k & half ? kTile + k : k + half)...);
  }
}

// out[r * out_stride + c] = in[c * in_stride + r] on a tile. It goes through registers, so that
// each cache line is touched once on either side: strides are often powers of two, whose lines
// evict one another.
void transpose_tile(const real* in, std::size_t in_stride, real* out, std::size_t out_stride) {
  constexpr auto lanes = std::make_index_sequence<kTile>();
  Line rows[kTile];
  for (std::size_t c = 0; c < kTile; ++c) std::memcpy(&rows[c], in + c * in_stride, sizeof(Line));
  if constexpr (kTile > 8) exchange<8>(rows, lanes);
  exchange<4>(rows, lanes);
  exchange<2>(rows, lanes);
  exchange<1>(rows, lanes);
  for (std::size_t r = 0; r < kTile; ++r) std::memcpy(out + r * out_stride, &rows[r], sizeof(Line));
}

// The same where the matrix ends before the tile.
void transpose_edge(std::size_t rows, std::size_t cols, const real* in, std::size_t in_stride,
                    real* out, std::size_t out_stride) {
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < cols; ++c) out[r * out_stride + c] = in[c * in_stride + r];
}

// `row` is contiguous in the input, `col` in the output; `outer` are the other axes.
void transpose(std::vector<Axis> outer, Axis row, Axis col, const real* in, real* out) {
  const std::size_t strips = (row.size + kStrip - 1) / kStrip;
  outer.push_back({strips, kStrip * row.in, kStrip * row.out});
  parallel_for(count_of(outer), kGrain / (kStrip * col.size),
               [&](std::size_t begin, std::size_t end) {
                 std::size_t strip = begin % strips;
                 walk(outer, begin, end, [&](std::size_t from, std::size_t to) {
                   const std::size_t rows = std::min(kStrip, row.size - strip * kStrip);
                   for (std::size_t c = 0; c < col.size; c += kTile)
                     for (std::size_t r = 0; r < rows; r += kTile) {
                       const real* source = in + from + c * col.in + r;
                       real* target = out + to + r * row.out + c;
                       if (c + kTile <= col.size && r + kTile <= rows)
                         transpose_tile(source, col.in, target, row.out);
                       else
                         transpose_edge(std::min(kTile, rows - r), std::min(kTile, col.size - c),
                                        source, col.in, target, row.out);
                     }
                   strip = strip + 1 == strips ? 0 : strip + 1;
                 });
               });
}

}  // namespace

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size());
  std::size_t stride = 1;
  for (std::size_t k = shape.size(); k-- > 0; stride *= shape[k]) strides[k] = stride;
  return strides;
}

void copy_strided(const Shape& shape, const real* in, const Shape& in_strides, real* out,
                  const Shape& out_strides) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return;
  std::vector<Axis> axes = merge_axes(shape, in_strides, out_strides);
  const Axis inner = axes.back();
  const auto row =
      std::find_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.in == 1; });
  if (inner.out == 1 && inner.in > 1 && row != axes.end()) {
    const Axis contiguous = *row;
    axes.pop_back();
    axes.erase(row);
    transpose(std::move(axes), contiguous, inner, in, out);
    return;
  }
  for_runs(std::move(axes), in, out, copy_run);
}

void add_strided(const Shape& shape, const real* in, const Shape& in_strides, real* out,
                 const Shape& out_strides) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return;
  for_runs(merge_axes(shape, in_strides, out_strides), in, out, add_run);
}

void triangle(bool lower, std::size_t count, std::size_t rows, std::size_t cols, std::int64_t k,
              const real* in, real* out) {
  if (cols == 0) return;
  parallel_for(count * rows, kGrain / cols, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      const auto split = static_cast<std::size_t>(std::clamp<std::int64_t>(
          static_cast<std::int64_t>(row % rows) + k, 0, static_cast<std::int64_t>(cols)));
      const std::size_t first = lower ? 0 : split, last = lower ? split : cols;
      std::fill_n(out + row * cols, first, real(0));
      std::copy(in + row * cols + first, in + row * cols + last, out + row * cols + first);
      std::fill_n(out + row * cols + last, cols - last, real(0));
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
