// Order along an axis: positions by comparison, values by looking those up, which is what makes
// them differentiable.
#include <xgrad/core/kernels/sort.hpp>
#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// The first `count` positions along an axis in order of the elements.
Indices order(const Tensor& x, std::size_t axis, std::size_t count, bool descending) {
  Shape shape = x.shape();
  shape[axis] = count;
  Indices ids = Indices::from_shape(shape);
  kernels::order(kernels::line_of(x.shape(), axis), count, descending, x.data(), ids.data());
  return ids;
}

}  // namespace

Indices argsort(const Tensor& x, std::int64_t axis, bool descending) {
  const std::size_t along = normalize_axis("argsort", axis, x.ndim());
  return order(x, along, x.shape()[along], descending);
}

Sorted sort(const Tensor& x, std::int64_t axis, bool descending) {
  const std::size_t along = normalize_axis("sort", axis, x.ndim());
  Indices ids = order(x, along, x.shape()[along], descending);
  Tensor values = gather(x, axis, ids);
  return {values, std::move(ids)};
}

Sorted topk(const Tensor& x, std::size_t k, std::int64_t axis, bool largest) {
  const std::size_t along = normalize_axis("topk", axis, x.ndim());
  require<ShapeError>(k <= x.shape()[along], "topk: k = ", k, " exceeds axis ", along, " of shape ",
                      x.shape());
  Indices ids = order(x, along, k, largest);
  Tensor values = gather(x, axis, ids);
  return {values, std::move(ids)};
}

}  // namespace xgrad::inline XGRAD_PRECISION
