// The largest or the mean number of each window of an image, and the adjoints. Bound by memory:
// an image of ordinary size stays in the first caches while its taps pass over it one by one.
// Which images there are, and the tape: ops/pool.cpp.
#pragma once

#include <cstdint>

#include <xgrad/core/window.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// Stands for no pixel: a window that lies in the padding alone.
inline constexpr std::uint32_t nowhere = UINT32_MAX;

/// The first largest number of each window, NaN before all others, and the pixel it stands at.
/// x (images, pixels); y, places (images, positions).
void max_pool(const real* x, std::size_t images, const Window& window, real* y,
              std::uint32_t* places);

/// y[i, p] = x[i, places[i, p]], 0 for nowhere. x (images, pixels); y, places (images, positions).
void pick(const real* x, const std::uint32_t* places, std::size_t images, std::size_t pixels,
          std::size_t positions, real* y);
/// x[i, places[i, p]] += y[i, p]: the adjoint.
void put(const real* y, const std::uint32_t* places, std::size_t images, std::size_t pixels,
         std::size_t positions, real* x);

/// The mean of each window; what lies in the padding is 0, and counts only if `count_padding`.
void avg_pool(const real* x, std::size_t images, const Window& window, bool count_padding, real* y);
/// Gives each pixel its share of the windows that it counted in: the adjoint.
void avg_pool_adjoint(const real* y, std::size_t images, const Window& window, bool count_padding,
                      real* x);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
