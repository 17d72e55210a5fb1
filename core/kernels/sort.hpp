// Positions in order of the numbers that stand there. Bound by arithmetic: comparisons, and the
// branches that they decide.
#pragma once

#include <cstdint>

#include <xgrad/core/kernels/line.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// ids[o, :, i] = the first `count` positions of x[o, :, i] in order, for x (outer, n, inner).
/// Of equal numbers the first comes first; NaN is greater than all.
void order(const Line& line, std::size_t count, bool descending, const real* x, std::int64_t* ids);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
