// Estimators: what stands in for the derivative of a quantizer, which is 0 or does not exist.
// Which code a vector gets, and what else trains the codes, is not known here.
#pragma once

#include <xgrad/core/kernels/estimator.hpp>
#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// From an encoder's vectors z (..., d) and their codes q (..., d): a tensor with q's numbers, to
/// the bit, through which the gradient g passes to z as G^T g. The matrix G may differ from row to
/// row and depend on z and q, but counts as a constant: what is differentiated is
/// sg(G) z + sg(q - G z), sg being stop_gradient. Su's essay 10489. A user's own derives from this.
struct Estimator {
  virtual ~Estimator() = default;
  virtual Tensor operator()(const Tensor& z, const Tensor& q) const = 0;
  /// Whether q gets a gradient too, so that the task itself trains the codebook.
  virtual bool trains_codebook() const { return false; }
};

/// G = I: dz = g, the same for all vectors that have a code in common. Bengio, Leonard & Courville
/// 2013 (1308.3432), van den Oord et al. 2017 (1711.00937).
struct StraightThrough : Estimator {
  Tensor operator()(const Tensor& z, const Tensor& q) const override;
};

/// Base of those whose G is made of the directions e and f of z and q and of l = |q|/|z|; see
/// kernels::GradientMap. O(d) per row, and no matrix. Where z or q is 0 to within rounding, or a
/// rotation needs the plane of vectors that point opposite ways, dz = g. For d = 1 nothing turns.
/// Throws ShapeError unless z and q have one shape.
class PlaneEstimator : public Estimator {
 public:
  /// Fused; it keeps z and q.
  Tensor operator()(const Tensor& z, const Tensor& q) const override;
  /// The same, spelled out: for second derivatives, and as the oracle.
  Tensor composite(const Tensor& z, const Tensor& q) const;

 protected:
  PlaneEstimator(const char* op, const kernels::GradientMap& map) : op_(op), map_(map) {}

 private:
  const char* const op_;
  const kernels::GradientMap map_;
};

struct LambdaClip {
  real low = 0, high = std::numeric_limits<real>::infinity();
};
struct RotationOptions {
  bool obtuse_straight_through = false;  ///< dz = g where z and q are more than 90 degrees apart
  LambdaClip lambda_clip{};              ///< of l = |q|/|z|, in the gradient
};

/// G = l R, R the rotation in the plane of z and q that turns e into f, so that G z = q: the
/// gradient keeps its angle to the vector, |dz| = l |g|, and differs within a cell. It needs an
/// origin: far from it, it is StraightThrough. Fifty et al. 2024, the rotation trick (2410.06424).
struct Rotation : PlaneEstimator {
  explicit Rotation(RotationOptions options = {});
};
/// G = l R (I - e e^T), without the part along z: what comes of differentiating through z/|z|.
struct TangentRotation : PlaneEstimator {
  explicit TangentRotation(RotationOptions options = {});
};
/// G = R.
struct RotationNoScale : PlaneEstimator {
  RotationNoScale();
};
/// G = l I.
struct ScaleOnly : PlaneEstimator {
  ScaleOnly();
};
/// G = l (I - 2 v v^T), v along e - f: also takes z to q, but by a mirror.
struct Reflection : PlaneEstimator {
  Reflection();
};

struct DiveqOptions {
  real alpha = 1;  ///< at least 0, which is StraightThrough for z
  real noise = 0;  ///< variance per number of what is added to q - z before its direction is taken
  Rng rng{};       ///< of the noise
};
/// z + r sg((q - z)/r) with r = |q - z|^alpha: G = I - alpha u u^T, u along q - z, and q gets what
/// z does not, dq = alpha (u.g) u, so that no codebook loss is needed. Vali et al. 2025, DiVeQ
/// (2509.26469) in the form of Su's essay 11328. With noise (in training, say 1e-3) the numbers are
/// no longer q's: |q - z| stays, its direction is shaken.
class Diveq : public PlaneEstimator {
 public:
  explicit Diveq(DiveqOptions options = {});
  Tensor operator()(const Tensor& z, const Tensor& q) const override;
  bool trains_codebook() const override { return true; }

 private:
  const DiveqOptions options_;
  mutable Rng rng_;  // advances with every call that draws
};

/// `obtuse`: rows whose z and q are more than 90 degrees apart, over which a rotation turns
/// gradients back; `degenerate`: rows that a rotation leaves to StraightThrough.
using AngleCounts = kernels::AngleCounts;
AngleCounts count_angles(const Tensor& z, const Tensor& q);

}  // namespace xgrad::inline XGRAD_PRECISION
