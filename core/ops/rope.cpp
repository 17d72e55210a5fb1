// Rotary positions: turning pairs of features by given angles.
// Where the angles come from is nn/position/rope.cpp.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// One pass, bound by memory: each row is read and written once, the tables stay in cache.
Tensor rotate(const Tensor& x, const Tensor& cos, const Tensor& sin, RopeLayout layout,
              real direction) {
  const std::size_t d = x.size(-1), length = x.size(-2), half = cos.size(-1);
  const std::size_t rows = d == 0 ? 0 : x.size() / d;
  const bool interleaved = layout == RopeLayout::interleaved;
  const std::size_t step = interleaved ? 2 : 1, partner = interleaved ? 1 : half;
  Tensor y = Tensor::empty(x.shape());
  const real* in = x.data();
  real* out = y.mutable_data();
  parallel_for(rows, std::max<std::size_t>(1, (1 << 15) / std::max<std::size_t>(1, d)),
               [&](std::size_t begin, std::size_t end) {
                 for (std::size_t row = begin; row < end; ++row) {
                   const real* from = in + row * d;
                   real* to = out + row * d;
                   const real* c = cos.data() + row % length * half;
                   const real* s = sin.data() + row % length * half;
                   for (std::size_t i = 0; i < half; ++i) {
                     const real first = from[step * i], second = from[step * i + partner],
                                turn = direction * s[i];
                     to[step * i] = first * c[i] - second * turn;
                     to[step * i + partner] = second * c[i] + first * turn;
                   }
                   std::copy(from + 2 * half, from + d, to + 2 * half);
                 }
               });
  return y;
}

// A rotation is linear and orthogonal: its adjoint is the rotation back. Scaled tables scale both
// alike.
Tensor rope_by(const Tensor& x, const Tensor& cos, const Tensor& sin, RopeLayout layout,
               real direction) {
  return record("rope", {x}, rotate(x, cos, sin, layout, direction), Keep::nothing,
                [=](auto& r) { r.to(0, rope_by(r.grad(), cos, sin, layout, -direction)); });
}

}  // namespace

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, RopeLayout layout) {
  require<ShapeError>(x.ndim() >= 2, "rope: needs at least 2 axes (..., T, d), got ", x.shape());
  require<ShapeError>(cos.ndim() == 2 && cos.shape() == sin.shape() && cos.size(0) == x.size(-2) &&
                          2 * cos.size(1) <= x.size(-1),
                      "rope: tables ", cos.shape(), " and ", sin.shape(), " do not fit x ",
                      x.shape(), ": they must be (T, r/2) with r <= d");
  return rope_by(x, cos, sin, layout, 1);
}

}  // namespace xgrad::inline XGRAD_PRECISION
