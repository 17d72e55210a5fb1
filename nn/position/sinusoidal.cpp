// SinusoidalPosition; see sinusoidal.hpp.
#include <xgrad/nn/position/sinusoidal.hpp>

#include <cmath>

namespace xgrad::inline XGRAD_PRECISION {

Tensor SinusoidalPosition::on_embedding(const Tensor& x, std::size_t start) const {
  const std::size_t length = x.size(-2), dim = x.size(-1);
  Tensor table = Tensor::empty({length, dim});
  real* out = table.mutable_data();
  for (std::size_t j = 0; j < dim; ++j) {
    const double frequency =
        std::pow(10000.0, -static_cast<double>(j / 2 * 2) / static_cast<double>(dim));
    for (std::size_t t = 0; t < length; ++t) {
      const double angle = static_cast<double>(start + t) * frequency;
      out[t * dim + j] = static_cast<real>(j % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  return x * static_cast<real>(std::sqrt(static_cast<double>(dim))) + table;
}

}  // namespace xgrad::inline XGRAD_PRECISION
