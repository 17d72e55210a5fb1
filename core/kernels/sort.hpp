// Positions in order of the numbers that stand there. Bound by arithmetic: comparisons, and the
// branches that they decide.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// ids[o, :, i] = the first `count` positions of x[o, :, i] in order, for x (outer, size, inner).
/// Of equal numbers the first comes first; NaN is greater than all.
void order(std::size_t outer, std::size_t size, std::size_t inner, std::size_t count,
           bool descending, const real* x, std::int64_t* ids);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
