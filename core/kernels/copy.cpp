// Strided copies; see copy.hpp. Bound by memory: what counts is to read and write whole cache
// lines.
#include <xgrad/core/kernels/copy.hpp>

#include <algorithm>
#include <vector>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

constexpr std::size_t kGrain = 32768;  // elements that are worth a thread
constexpr std::size_t kTile = 16;      // a tile's row is one cache line of floats

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

// out[r * out_stride + c] = in[c * in_stride + r] on a tile. It goes through a small square, so
// that each cache line is touched once on either side: strides are often powers of two, whose lines
// evict one another.
void transpose_tile(std::size_t rows, std::size_t cols, const real* in, std::size_t in_stride,
                    real* out, std::size_t out_stride) {
  real square[kTile][kTile];
  if (rows == kTile && cols == kTile) {  // the sizes are constants here, and the loops unroll
    for (std::size_t c = 0; c < kTile; ++c)
      for (std::size_t r = 0; r < kTile; ++r) square[c][r] = in[c * in_stride + r];
    for (std::size_t r = 0; r < kTile; ++r)
      for (std::size_t c = 0; c < kTile; ++c) out[r * out_stride + c] = square[c][r];
  } else {
    for (std::size_t c = 0; c < cols; ++c)
      for (std::size_t r = 0; r < rows; ++r) square[c][r] = in[c * in_stride + r];
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t c = 0; c < cols; ++c) out[r * out_stride + c] = square[c][r];
  }
}

// `row` is contiguous in the input, `col` in the output; `outer` are the other axes.
void transpose(std::vector<Axis> outer, Axis row, Axis col, const real* in, real* out) {
  const std::size_t tiles = (row.size + kTile - 1) / kTile;
  outer.push_back({tiles, kTile * row.in, kTile * row.out});
  parallel_for(count_of(outer), kGrain / (kTile * col.size),
               [&](std::size_t begin, std::size_t end) {
                 std::size_t tile = begin % tiles;
                 walk(outer, begin, end, [&](std::size_t from, std::size_t to) {
                   const std::size_t rows = std::min(kTile, row.size - tile * kTile);
                   for (std::size_t c = 0; c < col.size; c += kTile)
                     transpose_tile(rows, std::min(kTile, col.size - c), in + from + c * col.in,
                                    col.in, out + to + c, row.out);
                   tile = tile + 1 == tiles ? 0 : tile + 1;
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
  axes.pop_back();
  if (axes.empty()) {
    parallel_for(inner.size, kGrain, [&](std::size_t begin, std::size_t end) {
      copy_run(inner, end - begin, in + begin * inner.in, out + begin * inner.out);
    });
    return;
  }
  const auto row =
      std::find_if(axes.begin(), axes.end(), [](const Axis& axis) { return axis.in == 1; });
  if (inner.out == 1 && inner.in > 1 && row != axes.end()) {
    const Axis contiguous = *row;
    axes.erase(row);
    transpose(std::move(axes), contiguous, inner, in, out);
    return;
  }
  parallel_for(count_of(axes), kGrain / inner.size, [&](std::size_t begin, std::size_t end) {
    walk(axes, begin, end, [&](std::size_t from, std::size_t to) {
      copy_run(inner, inner.size, in + from, out + to);
    });
  });
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
