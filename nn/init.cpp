// Initial values; see init.hpp.
#include <xgrad/nn/init.hpp>

#include <algorithm>

namespace xgrad::inline XGRAD_PRECISION::init {

Tensor uniform(Tensor x, real low, real high, Rng rng) {
  rng.fill_uniform({x.mutable_data(), x.size()}, low, high);
  return x;
}

Tensor normal(Tensor x, real mean, real standard_deviation, Rng rng) {
  rng.fill_normal({x.mutable_data(), x.size()}, mean, standard_deviation);
  return x;
}

Tensor constant(Tensor x, real value) {
  std::fill_n(x.mutable_data(), x.size(), value);
  return x;
}

}  // namespace xgrad::inline XGRAD_PRECISION::init
