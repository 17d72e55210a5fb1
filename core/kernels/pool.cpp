// Pooling; see pool.hpp.
#include <xgrad/core/kernels/pool.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <vector>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

std::size_t image_grain(std::size_t work) {
  return std::max<std::size_t>(1, 32768 / std::max<std::size_t>(1, work));
}

/// Calls visit(position, count, pixel, step) for each row of the output and each tap in turn:
/// outputs [position, position + count) read the pixels pixel, pixel + step, …
template <class Visit>
void walk_taps(const Window& window, const Visit& visit) {
  const Window::Axis &rows = window.axes[0], &columns = window.axes[1];
  for (std::size_t i = 0; i < rows.out; ++i)
    for (std::size_t s = 0; s < rows.kernel; ++s) {
      const std::size_t row = rows.position(i, s);
      if (row >= rows.in) continue;
      for (std::size_t t = 0; t < columns.kernel; ++t) {
        const auto [first, last] = columns.inside(t);
        if (first < last)
          visit(i * columns.out + first, last - first,
                row * columns.in + columns.position(first, t), columns.stride);
      }
    }
}

/// 1 / how many numbers each mean is taken over.
std::vector<real> shares(const Window& window, bool count_padding) {
  const Window::Axis &rows = window.axes[0], &columns = window.axes[1];
  const auto counted = [count_padding](const Window::Axis& axis, std::size_t j) {
    std::size_t count = 0;
    for (std::size_t t = 0; t < axis.kernel; ++t)
      count += count_padding || axis.position(j, t) < axis.in;
    return count;
  };
  std::vector<real> share(window.positions());
  for (std::size_t i = 0; i < rows.out; ++i)
    for (std::size_t j = 0; j < columns.out; ++j)
      share[i * columns.out + j] =
          real(1) / static_cast<real>(counted(rows, i) * counted(columns, j));
  return share;
}

}  // namespace

void max_pool(const real* x, std::size_t images, const Window& window, real* y,
              std::uint32_t* places) {
  const std::size_t pixels = window.pixels(), positions = window.positions();
  parallel_for(
      images, image_grain(positions * window.taps()), [&](std::size_t begin, std::size_t end) {
        for (std::size_t image = begin; image < end; ++image) {
          const real* from = x + image * pixels;
          real* best = y + image * positions;
          std::uint32_t* place = places + image * positions;
          std::fill_n(best, positions, -std::numeric_limits<real>::infinity());
          std::fill_n(place, positions, nowhere);
          walk_taps(
              window, [=](std::size_t p, std::size_t count, std::size_t pixel, std::size_t step) {
                for (const std::size_t stop = p + count; p < stop; ++p, pixel += step) {
                  const real value = from[pixel];
                  const bool take = (value > best[p]) | (value != value) | (place[p] == nowhere);
                  best[p] = take ? value : best[p];
                  place[p] = take ? static_cast<std::uint32_t>(pixel) : place[p];
                }
              });
        }
      });
}

void pick(const real* x, const std::uint32_t* places, std::size_t images, std::size_t pixels,
          std::size_t positions, real* y) {
  parallel_for(images, image_grain(positions), [=](std::size_t begin, std::size_t end) {
    for (std::size_t image = begin; image < end; ++image)
      for (std::size_t p = image * positions; p < (image + 1) * positions; ++p)
        y[p] = places[p] == nowhere ? 0 : x[image * pixels + places[p]];
  });
}

void put(const real* y, const std::uint32_t* places, std::size_t images, std::size_t pixels,
         std::size_t positions, real* x) {
  parallel_for(images, image_grain(positions), [=](std::size_t begin, std::size_t end) {
    for (std::size_t image = begin; image < end; ++image)
      for (std::size_t p = image * positions; p < (image + 1) * positions; ++p)
        if (places[p] != nowhere) x[image * pixels + places[p]] += y[p];
  });
}

void avg_pool(const real* x, std::size_t images, const Window& window, bool count_padding,
              real* y) {
  const std::vector<real> share = shares(window, count_padding);
  const std::size_t pixels = window.pixels(), positions = window.positions();
  parallel_for(
      images, image_grain(positions * window.taps()), [&](std::size_t begin, std::size_t end) {
        for (std::size_t image = begin; image < end; ++image) {
          const real* from = x + image * pixels;
          real* to = y + image * positions;
          std::fill_n(to, positions, real(0));
          walk_taps(window,
                    [=](std::size_t p, std::size_t count, std::size_t pixel, std::size_t step) {
                      for (std::size_t k = 0; k < count; ++k) to[p + k] += from[pixel + k * step];
                    });
          std::transform(share.begin(), share.end(), to, to, std::multiplies<>());
        }
      });
}

void avg_pool_adjoint(const real* y, std::size_t images, const Window& window, bool count_padding,
                      real* x) {
  const std::vector<real> share = shares(window, count_padding);
  const std::size_t pixels = window.pixels(), positions = window.positions();
  parallel_for(
      images, image_grain(positions * window.taps()), [&](std::size_t begin, std::size_t end) {
        for (std::size_t image = begin; image < end; ++image) {
          const real *from = y + image * positions, *scale = share.data();
          real* to = x + image * pixels;
          std::fill_n(to, pixels, real(0));
          walk_taps(window,
                    [=](std::size_t p, std::size_t count, std::size_t pixel, std::size_t step) {
                      for (std::size_t k = 0; k < count; ++k)
                        to[pixel + k * step] += from[p + k] * scale[p + k];
                    });
        }
      });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
