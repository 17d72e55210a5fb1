// Assignment: what "nearest" means.
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Vectors and codes are compared after both went through one map, on the tape; the nearest code by
/// Euclidean distance wins, the first of equals. From there on everything (estimator, losses,
/// averages) sees the mapped ones alone. A map of one's own works on rows: (..., d) -> (..., d).
struct Assignment {
  Tensor (*map)(const Tensor& x);

  static const Assignment euclidean;  ///< as they are
  static const Assignment cosine;     ///< by direction: x / |x|. Codes have length 1
};

inline constexpr Assignment Assignment::euclidean{[](const Tensor& x) { return x; }};
inline constexpr Assignment Assignment::cosine{[](const Tensor& x) { return normalize(x); }};

}  // namespace xgrad::inline XGRAD_PRECISION
