// The scalar type of this build of the library, and the namespace that carries it.
// Nothing here depends on xtensor: see xtensor.hpp for that.
#pragma once

// The same sources are compiled twice: `xgrad::xgrad` (float) and `xgrad::xgrad64` (double, which
// defines XGRAD_DOUBLE for its users too). Each lives in an inline namespace of its own, so user
// code says `xgrad::Tensor` either way, and objects of the two builds cannot be linked together by
// accident.
#ifdef XGRAD_DOUBLE
#define XGRAD_PRECISION f64
#else
#define XGRAD_PRECISION f32
#endif

namespace xgrad::inline XGRAD_PRECISION {

#ifdef XGRAD_DOUBLE
using real = double;
#else
using real = float;
#endif

}  // namespace xgrad::inline XGRAD_PRECISION
