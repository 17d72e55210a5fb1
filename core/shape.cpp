// Shapes, axes and broadcasting; see shape.hpp.
#include <xgrad/core/shape.hpp>

#include <algorithm>
#include <limits>

namespace xgrad::inline XGRAD_PRECISION {

std::string to_string(const Shape& shape) { return concat_text(shape); }

std::size_t element_count(const Shape& shape) {
  constexpr std::size_t limit = std::numeric_limits<std::ptrdiff_t>::max() / sizeof(real);
  std::size_t count = 1;
  bool empty = false, overflow = false;
  for (const std::size_t size : shape) {
    empty |= size == 0;
    if (size == 0) continue;
    overflow |= count > limit / size;
    if (!overflow) count *= size;
  }
  require<ShapeError>(!overflow || empty, "shape ", shape, ": too many elements");
  return empty ? 0 : count;
}

Shape to_shape(const char* op, const Ints& sizes) {
  Shape shape;
  for (const std::int64_t size : sizes) {
    require<ShapeError>(size >= 0, op, ": negative size in shape ", sizes);
    shape.push_back(static_cast<std::size_t>(size));
  }
  return shape;
}

std::size_t normalize_axis(const char* op, std::int64_t axis, std::size_t ndim) {
  const auto n = static_cast<std::int64_t>(ndim);
  require<ShapeError>(axis >= -n && axis < n, op, ": axis ", axis, " is out of range for ", ndim,
                      ndim == 1 ? " axis" : " axes");
  return static_cast<std::size_t>(axis < 0 ? axis + n : axis);
}

Axes normalize_axes(const char* op, const Ints& axes, std::size_t ndim) {
  Axes result;
  for (const std::int64_t axis : axes) result.push_back(normalize_axis(op, axis, ndim));
  std::sort(result.begin(), result.end());
  require<ShapeError>(std::adjacent_find(result.begin(), result.end()) == result.end(), op,
                      ": repeated axis in ", axes);
  return result;
}

Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b) {
  const std::size_t ndim = std::max(a.size(), b.size());
  Shape result(ndim);
  for (std::size_t i = 0; i < ndim; ++i) {
    const std::size_t from_a = i + a.size() < ndim ? 1 : a[i + a.size() - ndim];
    const std::size_t from_b = i + b.size() < ndim ? 1 : b[i + b.size() - ndim];
    require<ShapeError>(from_a == from_b || from_a == 1 || from_b == 1, op, ": shapes ", a, " and ",
                        b, " do not broadcast: axis ", i, " is ", from_a, " and ", from_b);
    result[i] = from_a == 1 ? from_b : from_a;
  }
  return result;
}

Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims) {
  Shape result;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const bool reduced = std::binary_search(axes.begin(), axes.end(), axis);
    if (!reduced)
      result.push_back(shape[axis]);
    else if (keepdims)
      result.push_back(1);
  }
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION
