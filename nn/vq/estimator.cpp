// Estimators; see estimator.hpp.
#include <xgrad/nn/vq/estimator.hpp>

#include <cmath>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Tensor dot(const Tensor& a, const Tensor& b) { return sum(a * b, -1, keepdims); }

void check(const char* op, const Tensor& z, const Tensor& q) {
  require<ShapeError>(z.ndim() >= 1 && z.shape() == q.shape(), op, ": z has shape ", z.shape(),
                      ", q ", q.shape());
}

}  // namespace

Tensor StraightThrough::operator()(const Tensor& z, const Tensor& q) const {
  check("straight_through", z, q);
  return straight_through(q, z);
}

Tensor RotationTrick::operator()(const Tensor& z, const Tensor& q) const {
  check("rotation", z, q);
  const Tensor from = z.detach(), to = q.detach(), zn = sqrt(dot(from, from)),
               qn = sqrt(dot(to, to)), e = from / zn, f = to / qn, w = e + f,
               t = dot(w, w) / real(2);
  const Tensor turned = (qn / zn) * (z - w * (dot(w, z) / t) + f * (real(2) * dot(e, z)));
  return straight_through(q, turned);
}

Angles count_angles(const Tensor& z, const Tensor& q) {
  check("count_angles", z, q);
  Angles angles;
  const std::size_t d = z.size(-1);
  for (std::size_t i = 0; d > 0 && i < z.size() / d; ++i) {
    double zz = 0, qq = 0, zq = 0;
    for (std::size_t j = i * d; j < (i + 1) * d; ++j) {
      zz += z.data()[j] * z.data()[j];
      qq += q.data()[j] * q.data()[j];
      zq += z.data()[j] * q.data()[j];
    }
    angles.obtuse += zq < 0;
    angles.degenerate += zz == 0 || qq == 0 || zq <= -std::sqrt(zz * qq) * (1 - 1e-6);
  }
  return angles;
}

}  // namespace xgrad::inline XGRAD_PRECISION
