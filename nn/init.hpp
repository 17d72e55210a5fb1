// Initial values: fills a tensor in place from an explicit stream of random numbers.
// Which layer starts how is each layer's own line.
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION::init {

/// x, filled with values uniform in [low, high).
Tensor uniform(Tensor x, real low, real high, Rng rng);
/// x, filled with normal values.
Tensor normal(Tensor x, real mean, real standard_deviation, Rng rng);
Tensor constant(Tensor x, real value);

}  // namespace xgrad::inline XGRAD_PRECISION::init
