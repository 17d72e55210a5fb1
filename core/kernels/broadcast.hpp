// One function over arrays that broadcast against one another: map.hpp's, for different shapes.
// Bound by memory; what repeats is read from the cache.
#pragma once

#include <array>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/shape.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// A contiguous array that takes part.
struct Operand {
  const real* numbers;
  const Shape& shape;
};

/// out[i] = f(x[i]...) for every index i of `shape`, to which all operands broadcast. `f` takes and
/// returns a Batch. No size may be 0.
template <class F, class... X>
void map_broadcast(const Shape& shape, real* out, const F& f, const X&... x) {
  constexpr std::size_t inputs = sizeof...(X);
  const std::array<Operand, inputs> operands{x...};
  // The axes, innermost first, without those of size 1; neighbours that every operand runs through
  // in one go, or repeats, are one axis. A step is 0 where the operand repeats.
  struct Axis {
    std::size_t size;
    std::array<std::size_t, inputs> steps;
  };
  xt::svector<Axis, 4> axes;
  std::array<std::size_t, inputs> next;  // an operand's next step, if it does not repeat
  next.fill(1);
  for (std::size_t k = 0; k < shape.size(); ++k) {
    Axis axis{shape[shape.size() - 1 - k], {}};
    if (axis.size == 1) continue;
    bool joins = !axes.empty();
    for (std::size_t n = 0; n < inputs; ++n) {
      const Shape& own = operands[n].shape;
      if (k < own.size() && own[own.size() - 1 - k] > 1)
        axis.steps[n] = next[n], next[n] *= axis.size;
      joins = joins && axis.steps[n] == axes.back().size * axes.back().steps[n];
    }
    if (joins)
      axes.back().size *= axis.size;
    else
      axes.push_back(axis);
  }
  while (axes.size() < 2) axes.push_back({1, {}});

  // Rows along the innermost axis, long ones in pieces.
  const Axis inner = axes.front();
  const std::size_t piece = std::min(inner.size, row::block),
                    pieces = (inner.size + piece - 1) / piece;
  std::size_t rows = 1;
  for (std::size_t a = 1; a < axes.size(); ++a) rows *= axes[a].size;
  parallel_for(rows * pieces, row::grain(piece), [&](std::size_t begin, std::size_t end) {
    real repeated[inputs][row::lanes];
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t start = task % pieces * piece, count = std::min(piece, inner.size - start);
      std::array<const real*, inputs> from;
      for (std::size_t n = 0; n < inputs; ++n) {
        from[n] = operands[n].numbers + start * inner.steps[n];
        std::size_t rest = task / pieces;
        for (std::size_t a = 1; a + 1 < axes.size(); rest /= axes[a++].size)
          from[n] += rest % axes[a].size * axes[a].steps[n];
        from[n] += rest * axes.back().steps[n];
        if (inner.steps[n] == 0)
          from[n] = std::fill_n(repeated[n], row::lanes, *from[n]) - row::lanes;
      }
      real* to = out + task / pieces * inner.size + start;
      [&]<std::size_t... n>(std::index_sequence<n...>) {
        row::walk(count, [=, steps = inner.steps](auto part, std::size_t i) {
          part.store(to + i, f(part.load(from[n] + i * steps[n])...));
        });
      }
      (std::make_index_sequence<inputs>());
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
