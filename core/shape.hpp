// Shapes, axes and NumPy's broadcasting rules: arithmetic on sizes, with the errors people meet
// first. No values live here.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <xgrad/core/error.hpp>
#include <xgrad/core/xtensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Sizes of the axes, outermost first; () is a scalar. Up to four axes need no heap.
using Shape = xt::dynamic_shape<std::size_t>;
/// Numbers of axes, counted from the front.
using Axes = xt::dynamic_shape<std::size_t>;

/// A short list of integers as a caller writes it: a shape `{2, 3}`, axes `{0, -1}`, or one of
/// them, `-1`.
class Ints {
 public:
  /// Any integer type, so that `{batch, -1}` needs no casts.
  struct Any {
    template <std::integral T>
    constexpr Any(T number)
        : value(static_cast<std::int64_t>(number)) {}  // NOLINT: implicit by purpose
    std::int64_t value;
  };

  Ints() = default;
  template <std::integral T>
  Ints(T one) : values_{static_cast<std::int64_t>(one)} {}
  Ints(std::initializer_list<Any> list) {
    for (const Any item : list) values_.push_back(item.value);
  }
  Ints(const Shape& shape) : values_(shape.begin(), shape.end()) {}
  Ints(const std::vector<std::int64_t>& list) : values_(list.begin(), list.end()) {}

  std::size_t size() const { return values_.size(); }
  std::int64_t operator[](std::size_t i) const { return values_[i]; }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }

 private:
  xt::dynamic_shape<std::int64_t> values_;
};

/// NumPy's spelling: "(2, 3)", "(4,)", "()".
std::string to_string(const Shape& shape);

/// Product of the sizes. Throws ShapeError when it overflows.
std::size_t element_count(const Shape& shape);

/// Sizes as given, which must not be negative. `op` names the caller in the error.
Shape to_shape(const char* op, const Ints& sizes);

/// `axis` counted from the front, negative axes from the back. Throws ShapeError when out of range.
std::size_t normalize_axis(const char* op, std::int64_t axis, std::size_t ndim);

/// Normalised, sorted axes. Throws ShapeError when one is out of range or repeated.
Axes normalize_axes(const char* op, const Ints& axes, std::size_t ndim);

/// The shape that `a` and `b` broadcast to by NumPy's rule. Throws ShapeError when they do not.
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);

/// `shape` without `axes` (normalised, sorted), or with size 1 there if `keepdims`.
Shape reduced_shape(const Shape& shape, const Axes& axes, bool keepdims);

}  // namespace xgrad::inline XGRAD_PRECISION
