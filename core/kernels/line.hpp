// One axis of an array as kernels see it: what comes before it, itself, and what comes after.
#pragma once

#include <functional>
#include <numeric>

#include <xgrad/core/shape.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// An axis of n numbers, with `outer` positions before it and `inner` after it.
struct Line {
  std::size_t outer, n, inner;
};

inline Line line_of(const Shape& shape, std::size_t axis) {
  const auto product = [](auto first, auto last) {
    return std::accumulate(first, last, std::size_t{1}, std::multiplies<>());
  };
  const auto at = shape.begin() + static_cast<std::ptrdiff_t>(axis);
  return {product(shape.begin(), at), *at, product(at + 1, shape.end())};
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
