// Gradients of a quantizer's estimators, on rows of plain memory.
// What each estimator is, and the tape: nn/vq/estimator.cpp.
#pragma once

#include <cstddef>
#include <limits>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// The matrix G of a row z and its code q. With e and f the directions of z and q, w and u those of
/// e + f and f - e, and l = |q|/|z|, it is
///     l R,   l R (I - e e^T)   or   l (I - shrink u u^T),   where R = I + 2 f e^T - 2 w w^T
/// is the rotation that turns e into f and leaves alone what is at right angles to both. l may be
/// absent, R or shrink too.
struct GradientMap {
  bool directions = true;  ///< else e = z and f = q
  bool scale = false;      ///< by l
  bool turn = false;       ///< by R
  bool tangent = false;    ///< I - e e^T before R
  real shrink = 0;
  real low = 0, high = std::numeric_limits<real>::infinity();  ///< limits of l
  bool skip_obtuse = false;                                    ///< G = I where e.f < 0
};

/// Where G = I for want of a plane or a length: |z| or |q| below `length`, or e almost -f.
struct Degenerate {
  real length;
  static constexpr real turn = sizeof(real) == 4 ? real(1e-6) : real(1e-12);  // |e + f|^2 / 2
};

/// Below which length a row of z (rows, d) counts as 0: in units of their root mean square length,
/// if that is more than 1.
Degenerate degenerate(const real* z, std::size_t rows, std::size_t d);

/// dz = G^T g and dq = g - G^T g, row by row; either may be null, dz may be g itself.
void estimator_vjp(const GradientMap& map, Degenerate limit, const real* g, const real* z,
                   const real* q, std::size_t rows, std::size_t d, real* dz, real* dq);

struct AngleCounts {
  std::size_t obtuse, degenerate;
};
/// In how many rows e.f < 0, and how many are degenerate for R.
AngleCounts count_angles(Degenerate limit, const real* z, const real* q, std::size_t rows,
                         std::size_t d);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
