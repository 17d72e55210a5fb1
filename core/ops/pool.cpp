// Pooling: the largest or the mean number of each window. Both are linear where they are smooth,
// and so are their adjoints: each rule is the other half of its pair. The mean of everything is a
// reduction: reduce.cpp.
#include <algorithm>
#include <memory>

#include <xgrad/core/kernels/pool.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Window pool_window(const char* op, std::size_t rank, const Tensor& x, const Ints& kernel,
                   const Ints& stride, const Ints& padding, const Ints& dilation) {
  require<ShapeError>(x.ndim() >= rank, op, ": needs x (..., ", rank == 1 ? "L" : "H, W",
                      "), got shape ", x.shape());
  Window window(op, rank, kernel, stride.size() > 0 ? stride : kernel, padding, dilation);
  for (const Window::Axis& axis : window.axes)
    require(2 * axis.padding <= axis.span(), op,
            ": padding is at most half a window: ", axis.padding, " > ", axis.span(), " / 2");
  window.slide_over(op, x.shape());
  return window;
}

std::size_t image_count(const Tensor& x, const Window& window) {
  return x.size() / std::max<std::size_t>(1, window.pixels());
}

// ---- maxima: numbers picked from x, at places that count as constants

/// Where the results of max_pool stand in x, shared by the rules that need it.
struct Places {
  Shape x, y;
  std::size_t images, pixels, positions;
  std::vector<std::uint32_t> pixel;  // (images, positions)
};
using PlacesPtr = std::shared_ptr<const Places>;

Tensor put(const Tensor& y, const PlacesPtr& places);

/// Writes down that y holds what stands at these places of x.
Tensor picked(const Tensor& x, const Tensor& y, const PlacesPtr& places) {
  return record("max_pool", {x}, y, Keep::nothing,
                [places](auto& r) { r.to(0, put(r.grad(), places)); });
}

Tensor pick(const Tensor& x, const PlacesPtr& p) {
  Tensor y = Tensor::empty(p->y);
  kernels::pick(x.data(), p->pixel.data(), p->images, p->pixels, p->positions, y.mutable_data());
  return picked(x, y, p);
}

Tensor put(const Tensor& y, const PlacesPtr& p) {
  Tensor x = zeros(p->x);
  kernels::put(y.data(), p->pixel.data(), p->images, p->pixels, p->positions, x.mutable_data());
  return record("max_pool_adjoint", {y}, x, Keep::nothing,
                [places = p](auto& r) { r.to(0, pick(r.grad(), places)); });
}

Tensor max_pool(const char* op, std::size_t rank, const Tensor& x, const Ints& kernel,
                const MaxPoolOptions& o) {
  const Window window = pool_window(op, rank, x, kernel, o.stride, o.padding, o.dilation);
  require<ShapeError>(window.pixels() < kernels::nowhere, op, ": images of shape ", x.shape(),
                      " are too large");
  const std::size_t images = image_count(x, window), positions = window.positions();
  const auto places = std::make_shared<Places>(
      Places{x.shape(), window.result(x.shape()), images, window.pixels(), positions, {}});
  places->pixel.resize(images * positions);
  Tensor y = Tensor::empty(places->y);
  kernels::max_pool(x.data(), images, window, y.mutable_data(), places->pixel.data());
  return picked(x, y, places);
}

// ---- means: linear

Tensor avg_pool_adjoint(const Tensor& y, const Window& window, bool count_padding, const Shape& x);

Tensor avg_pool(const Tensor& x, const Window& window, bool count_padding) {
  Tensor y = Tensor::empty(window.result(x.shape()));
  kernels::avg_pool(x.data(), image_count(x, window), window, count_padding, y.mutable_data());
  return record("avg_pool", {x}, y, Keep::nothing, [window, count_padding](auto& r) {
    r.to(0, avg_pool_adjoint(r.grad(), window, count_padding, r.shape(0)));
  });
}

Tensor avg_pool_adjoint(const Tensor& y, const Window& window, bool count_padding,
                        const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  kernels::avg_pool_adjoint(y.data(), image_count(x, window), window, count_padding,
                            x.mutable_data());
  return record("avg_pool_adjoint", {y}, x, Keep::nothing, [window, count_padding](auto& r) {
    r.to(0, avg_pool(r.grad(), window, count_padding));
  });
}

}  // namespace

Tensor max_pool1d(const Tensor& x, const Ints& kernel, const MaxPoolOptions& options) {
  return max_pool("max_pool1d", 1, x, kernel, options);
}
Tensor max_pool2d(const Tensor& x, const Ints& kernel, const MaxPoolOptions& options) {
  return max_pool("max_pool2d", 2, x, kernel, options);
}
Tensor avg_pool1d(const Tensor& x, const Ints& kernel, const AvgPoolOptions& o) {
  return avg_pool(x, pool_window("avg_pool1d", 1, x, kernel, o.stride, o.padding, 1),
                  o.count_include_pad);
}
Tensor avg_pool2d(const Tensor& x, const Ints& kernel, const AvgPoolOptions& o) {
  return avg_pool(x, pool_window("avg_pool2d", 2, x, kernel, o.stride, o.padding, 1),
                  o.count_include_pad);
}

}  // namespace xgrad::inline XGRAD_PRECISION
