// Order along an axis: positions by comparison, values by looking those up, which is what makes
// them differentiable.
#include <algorithm>
#include <cmath>
#include <numeric>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// The first `count` positions along an axis in order of the elements; NaN is greater than all,
/// and of equal elements the first comes first.
Indices order(const Tensor& x, std::size_t axis, std::size_t count, bool descending) {
  const std::size_t size = x.shape()[axis];
  std::size_t inner = 1;
  for (std::size_t k = axis + 1; k < x.ndim(); ++k) inner *= x.shape()[k];
  Shape shape = x.shape();
  shape[axis] = count;
  Indices ids = Indices::from_shape(shape);
  if (ids.size() == 0) return ids;
  const real* const numbers = x.data();
  std::int64_t* const out = ids.data();
  parallel_for(x.size() / size, 4096 / size, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<real, std::int64_t>> items(size);
    for (std::size_t lane = begin; lane < end; ++lane) {
      const std::size_t o = lane / inner, i = lane % inner;
      for (std::size_t j = 0; j < size; ++j)
        items[j] = {numbers[(o * size + j) * inner + i], static_cast<std::int64_t>(j)};
      const auto less = [](real a, real b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
      const auto before = [&](const auto& a, const auto& b) {
        const auto& [low, high] =
            descending ? std::pair(b.first, a.first) : std::pair(a.first, b.first);
        if (less(low, high)) return true;
        return !less(high, low) && a.second < b.second;
      };
      const auto last = items.begin() + static_cast<std::ptrdiff_t>(count);
      if (count < size)
        std::partial_sort(items.begin(), last, items.end(), before);
      else
        std::sort(items.begin(), items.end(), before);  // positions break ties: no need of stable
      for (std::size_t j = 0; j < count; ++j) out[(o * count + j) * inner + i] = items[j].second;
    }
  });
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
