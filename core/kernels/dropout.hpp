// Dropout with a mask that is drawn where it is used, and never stored.
// Bound by arithmetic: ten rounds of Philox per four numbers.
#pragma once

#include <cstddef>

#include <xgrad/core/random.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// out[i] = word_i < p 2^32 ? 0 : x[i] / (1 - p), where word_i is word i % 4 of block
/// stream.position() + i / 4.
void dropout(std::size_t count, const real* x, real p, const Rng& stream, real* out);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
