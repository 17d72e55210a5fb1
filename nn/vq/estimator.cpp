// Estimators; see estimator.hpp. The closed form of G^T g is in kernels/estimator.cpp.
#include <xgrad/nn/vq/estimator.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using kernels::GradientMap;

void check(const char* op, const Tensor& z, const Tensor& q) {
  require<ShapeError>(z.ndim() >= 1 && z.shape() == q.shape(), op,
                      ": needs z and q of one shape (..., d), got ", z.shape(), " and ", q.shape());
}

std::size_t row_count(const Tensor& x) { return x.size() / std::max<std::size_t>(1, x.size(-1)); }

kernels::Degenerate degenerate(const Tensor& z) {
  return kernels::degenerate(z.data(), row_count(z), z.size(-1));
}

Tensor dot(const Tensor& a, const Tensor& b) { return sum(a * b, -1, keepdims); }

GradientMap with(const char* layer, GradientMap map, const RotationOptions& options) {
  const auto [low, high] = options.lambda_clip;
  require(low >= 0 && low <= high, layer, ": lambda_clip must be 0 <= low <= high, got ", low,
          " and ", high);
  map.low = low;
  map.high = high;
  map.skip_obtuse = options.obtuse_straight_through;
  return map;
}

}  // namespace

Tensor StraightThrough::operator()(const Tensor& z, const Tensor& q) const {
  check("StraightThrough", z, q);
  return straight_through(q, z);
}

Rotation::Rotation(RotationOptions options)
    : PlaneEstimator("Rotation", with("Rotation", {.scale = true, .turn = true}, options)) {}
TangentRotation::TangentRotation(RotationOptions options)
    : PlaneEstimator(
          "TangentRotation",
          with("TangentRotation", {.scale = true, .turn = true, .tangent = true}, options)) {}
RotationNoScale::RotationNoScale() : PlaneEstimator("RotationNoScale", {.turn = true}) {}
ScaleOnly::ScaleOnly() : PlaneEstimator("ScaleOnly", {.scale = true}) {}
Reflection::Reflection() : PlaneEstimator("Reflection", {.scale = true, .shrink = 2}) {}
Diveq::Diveq(DiveqOptions options)
    : PlaneEstimator("Diveq", {.directions = false, .shrink = options.alpha}),
      options_(options),
      rng_(options.rng) {
  require(options.alpha >= 0, "Diveq: alpha must be at least 0, got ", options.alpha);
  require(options.noise >= 0, "Diveq: noise must be at least 0, got ", options.noise);
}

Tensor PlaneEstimator::operator()(const Tensor& z, const Tensor& q) const {
  check(op_, z, q);
  const Tensor code = trains_codebook() ? q : q.detach();
  return record_fused(
      op_, "its composite()", {z, code}, q.detach(), Keep::inputs, [map = map_](RawPull& r) {
        const Tensor z = r.in(0);
        Tensor dz, dq;
        if (r.needs(0)) dz = r.room();
        if (r.needs(1)) dq = Tensor::empty(z.shape());
        kernels::estimator_vjp(map, degenerate(z), r.grad().data(), z.data(), r.in(1).data(),
                               row_count(z), z.size(-1), dz.defined() ? dz.mutable_data() : nullptr,
                               dq.defined() ? dq.mutable_data() : nullptr);
        r.to(0, std::move(dz));
        r.to(1, std::move(dq));
      });
}

Tensor PlaneEstimator::composite(const Tensor& z, const Tensor& q) const {
  check(op_, z, q);
  const kernels::Degenerate limit = degenerate(z);
  const Tensor from = z.detach(), to = q.detach();  // what G is made of
  const Tensor zn = sqrt(dot(from, from)), qn = sqrt(dot(to, to));
  Tensor through = zeros(zn.shape());  // 1 where G = I
  const auto pass = [&](const Tensor& where) { through = maximum(through, where); };
  const auto divisor = [&](const Tensor& x) { return where(through, real(1), x); };
  Tensor e = from, f = to;
  if (map_.directions) {
    pass(maximum(zn < limit.length, qn < limit.length));
    e = e / divisor(zn);
    f = f / divisor(qn);
  }
  const Tensor w = e + f, u = f - e, t = dot(w, w) / real(2), uu = dot(u, u);
  if (map_.turn) pass(t < limit.turn);
  if (map_.skip_obtuse) pass(t < real(1));
  const auto apply = [&](const Tensor& x) {  // G x
    Tensor y = x;
    if (map_.tangent) y = y - e * dot(e, y);
    if (map_.turn) y = y - w * (dot(w, y) / divisor(t)) + f * (real(2) * dot(e, y));
    if (map_.shrink != 0) {
      const Tensor none = uu < (map_.directions ? 2 * limit.turn : limit.length * limit.length);
      y = y - u * (dot(u, y) * where(none, real(0), map_.shrink / where(none, real(1), uu)));
    }
    if (map_.scale) y = y * clamp(qn / divisor(zn), map_.low, map_.high);
    return where(through, x, y);
  };
  return straight_through(q, trains_codebook() ? q + apply(z - q) : apply(z));
}

// With r = |q - z|^alpha and a direction n, z + r sg(|q - z|^(1 - alpha) n), of which the gradient
// of |q - z| is u.
Tensor Diveq::operator()(const Tensor& z, const Tensor& q) const {
  if (options_.noise == 0) return PlaneEstimator::operator()(z, q);
  check("Diveq", z, q);
  const real limit = degenerate(z).length;
  const Tensor u = q - z, square = dot(u, u), none = square.detach() < limit * limit,
               length = sqrt(where(none, real(1), square)), r = pow(length, options_.alpha),
               shaken = (u + std::sqrt(options_.noise) * randn(z.shape(), rng_)).detach(),
               step = shaken * (length.detach() / (sqrt(dot(shaken, shaken)) * r.detach()));
  return z + where(none, u.detach(), r * step);
}

AngleCounts count_angles(const Tensor& z, const Tensor& q) {
  check("count_angles", z, q);
  return kernels::count_angles(degenerate(z), z.data(), q.data(), row_count(z), z.size(-1));
}

}  // namespace xgrad::inline XGRAD_PRECISION
