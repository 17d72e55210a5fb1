// Windows as columns; see im2col.hpp.
#include <xgrad/core/kernels/im2col.hpp>

#include <xgrad/core/kernels/reduce_row.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

/// Positions next to each other in one row of the output, as one tap sees them: `before` of them
/// read padding, then `count` read the image from `pixel` on, then `after` read padding again.
struct Run {
  std::size_t before, count, after, pixel;
};

/// Calls visit(run) for the positions [begin, end) of each tap of each channel, in the order of the
/// matrix.
template <class Visit>
void walk_runs(std::size_t channels, const Window& window, std::size_t begin, std::size_t end,
               const Visit& visit) {
  const Window::Axis &rows = window.axes[0], &columns = window.axes[1];
  for (std::size_t c = 0; c < channels; ++c)
    for (std::size_t s = 0; s < rows.kernel; ++s)
      for (std::size_t t = 0; t < columns.kernel; ++t) {
        const auto [inside_first, inside_last] = columns.inside(t);
        std::size_t i = begin / columns.out, j = begin % columns.out;
        for (std::size_t p = begin; p < end; ++i, j = 0) {
          const std::size_t stop = std::min(columns.out, j + end - p), y = rows.position(i, s);
          p += stop - j;
          if (y >= rows.in) {
            visit(Run{stop - j, 0, 0, 0});
            continue;
          }
          const std::size_t first = std::clamp(inside_first, j, stop),
                            last = std::clamp(inside_last, first, stop);
          const std::size_t pixel = (c * rows.in + y) * columns.in + columns.position(first, t);
          visit(Run{first - j, last - first, stop - last, pixel});
        }
      }
}

}  // namespace

void im2col(const real* image, std::size_t channels, const Window& window, std::size_t begin,
            std::size_t end, real* columns) {
  const std::size_t stride = window.axes[1].stride;
  // Rows are short as a rule: a loop in place, where std::copy would be a call.
  const auto zero = [](std::size_t n, real* to) {
    row::walk(n, [to](auto part, std::size_t k) { part.store(to + k, row::Batch(0)); });
  };
  walk_runs(channels, window, begin, end, [&](const Run& run) {
    zero(run.before, columns);
    columns += run.before;
    const real* from = image + run.pixel;
    if (stride == 1)
      row::walk(run.count, [=, to = columns](auto part, std::size_t k) {
        part.store(to + k, part.load(from + k));
      });
    else
      for (std::size_t k = 0; k < run.count; ++k) columns[k] = from[k * stride];
    columns += run.count;
    zero(run.after, columns);
    columns += run.after;
  });
}

void col2im(const real* columns, std::size_t channels, const Window& window, std::size_t begin,
            std::size_t end, real* image) {
  const std::size_t stride = window.axes[1].stride;
  walk_runs(channels, window, begin, end, [&](const Run& run) {
    const real* from = columns + run.before;
    real* to = image + run.pixel;
    if (stride == 1)
      row::walk(run.count, [=](auto part, std::size_t k) {
        part.store(to + k, part.load(to + k) + part.load(from + k));
      });
    else
      for (std::size_t k = 0; k < run.count; ++k) to[k * stride] += from[k];
    columns += run.before + run.count + run.after;
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
