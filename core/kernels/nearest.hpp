// For each vector its nearest row of a table, on rows of plain memory.
// Checks and shapes: ops/nearest.cpp.
#pragma once

#include <cstdint>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// ids[n] = the first k for which |z_n - c_k|^2 is least, for z (rows, d) and c (codes, d) of
/// finite numbers. `origin` (d), or null, is subtracted from both first.
void nearest(const real* z, const real* c, const real* origin, std::size_t rows, std::size_t codes,
             std::size_t d, std::int64_t* ids);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
