// Making tensors: constants, ranges, given values, random numbers.
// None of these has a derivative, so nothing here touches the tape.
#include <algorithm>
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/recompute.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Tensor filled(const Shape& shape, real value) {
  Tensor x = Tensor::empty(shape);
  std::fill_n(x.mutable_data(), x.size(), value);
  return x;
}

std::span<real> values_of(Tensor& x) { return {x.mutable_data(), x.size()}; }

}  // namespace

Tensor zeros(const Ints& shape) { return filled(to_shape("zeros", shape), 0); }
Tensor ones(const Ints& shape) { return filled(to_shape("ones", shape), 1); }
Tensor full(const Ints& shape, real value) { return filled(to_shape("full", shape), value); }
Tensor scalar(real value) { return filled({}, value); }

Tensor arange(real start, real stop, real step) {
  require(step != 0 && std::isfinite(step) && std::isfinite(start) && std::isfinite(stop),
          "arange: needs finite bounds and a step other than 0, got ", start, ", ", stop, ", ",
          step);
  const double count = std::ceil((static_cast<double>(stop) - start) / step);
  Tensor x = Tensor::empty({static_cast<std::size_t>(std::max(0.0, count))});
  real* values = x.mutable_data();
  for (std::size_t i = 0; i < x.size(); ++i) values[i] = start + static_cast<real>(i) * step;
  return x;
}

Tensor tensor(const std::vector<real>& values, const Ints& shape) {
  Tensor x = Tensor::empty(to_shape("tensor", shape));
  require<ShapeError>(values.size() == x.size(), "tensor: ", values.size(),
                      " values do not fill shape ", x.shape(), ", which has ", x.size());
  std::copy(values.begin(), values.end(), x.mutable_data());
  return x;
}

Tensor tensor(std::initializer_list<real> values) {
  return tensor(std::vector<real>(values), values.size());
}

namespace {
// The stream of one fill, whose first blocks a recomputation repeats.
Rng stream_for(const Tensor& x, Rng& rng) {
  return take_stream(rng, x.size() / 4 + (x.size() % 4 != 0));
}
}  // namespace

Tensor rand(const Ints& shape, Rng& rng) {
  Tensor x = Tensor::empty(to_shape("rand", shape));
  stream_for(x, rng).fill_uniform(values_of(x), 0, 1);
  return x;
}

Tensor randn(const Ints& shape, Rng& rng) {
  Tensor x = Tensor::empty(to_shape("randn", shape));
  stream_for(x, rng).fill_normal(values_of(x), 0, 1);
  return x;
}

}  // namespace xgrad::inline XGRAD_PRECISION
