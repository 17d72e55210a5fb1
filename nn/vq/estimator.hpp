// Estimators: what stands in for the derivative of a quantizer, which is 0 or does not exist.
// Which code a vector gets, and what the code learns from it, is vector_quantizer.hpp's business.
#pragma once

#include <limits>

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// From the encoder's vectors z (..., d) and their codes q (..., d): a tensor whose numbers are q's
/// to the bit, and through which the gradient g passes to z as G^T g, for a matrix G per row that
/// may depend on z and q but counts as a constant. A user's own derives from this.
struct Estimator {
  virtual ~Estimator() = default;
  virtual Tensor operator()(const Tensor& z, const Tensor& q) const = 0;
  /// Whether q gets a gradient too, so that the task trains the codebook.
  virtual bool trains_codebook() const { return false; }
};

/// G = I: dz = g. Bengio, Leonard & Courville 2013 (1308.3432).
struct StraightThrough : Estimator {
  Tensor operator()(const Tensor& z, const Tensor& q) const override;
};

struct LambdaClip {
  real low = 0, high = std::numeric_limits<real>::infinity();
};

struct RotationOptions {
  bool obtuse_straight_through = false;  ///< dz = g where z and q stand at more than 90 degrees
  LambdaClip lambda_clip{};              ///< limits of |q|/|z|, in the gradient only
};

/// G = |q|/|z| R, R the rotation in the plane of z and q that takes z's direction to q's. Fifty et
/// al. 2024 (2410.06424).
struct RotationTrick : Estimator {
  explicit RotationTrick(RotationOptions options = {}) : options(options) {}
  Tensor operator()(const Tensor& z, const Tensor& q) const override;

  const RotationOptions options;
};

/// How many rows of (z, q) an estimator of this family meets with reserve.
struct Angles {
  std::size_t obtuse = 0;      ///< z and q stand at more than 90 degrees
  std::size_t degenerate = 0;  ///< z or q is (nearly) 0, or they point opposite ways
};
Angles count_angles(const Tensor& z, const Tensor& q);

}  // namespace xgrad::inline XGRAD_PRECISION
