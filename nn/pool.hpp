// Pooling as layers: nothing to learn, so plain functions with their settings filled in.
//
//     MaxPool2d pool{.kernel = 2};                       // a member of a model
//     net.add(AvgPool1d{.kernel = 4, .options = {.stride = 2}});   // a step of a Sequential
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct MaxPool1d {
  Ints kernel;
  MaxPoolOptions options{};
  Tensor operator()(const Tensor& x) const { return max_pool1d(x, kernel, options); }
};
struct MaxPool2d {
  Ints kernel;
  MaxPoolOptions options{};
  Tensor operator()(const Tensor& x) const { return max_pool2d(x, kernel, options); }
};
struct AvgPool1d {
  Ints kernel;
  AvgPoolOptions options{};
  Tensor operator()(const Tensor& x) const { return avg_pool1d(x, kernel, options); }
};
struct AvgPool2d {
  Ints kernel;
  AvgPoolOptions options{};
  Tensor operator()(const Tensor& x) const { return avg_pool2d(x, kernel, options); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
