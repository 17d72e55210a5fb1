// Rope; see rope.hpp.
#include <xgrad/nn/position/rope.hpp>

#include <algorithm>
#include <bit>
#include <cmath>

namespace xgrad::inline XGRAD_PRECISION {

Rope::Rope(RopeOptions o) : options(std::move(o)) {
  require(options.base > 1, "Rope: base must be greater than 1, got ", options.base);
  require(options.rotary_dim % 2 == 0, "Rope: rotary_dim must be even, got ", options.rotary_dim);
  require(options.scaling != nullptr, "Rope: scaling is empty; rope_scaling::none changes nothing");
}

AttentionPositions Rope::in_attention(std::size_t /*heads*/, std::size_t width, std::size_t start,
                                      std::size_t length) const {
  const std::size_t rotary = options.rotary_dim ? options.rotary_dim : width;
  require<ShapeError>(rotary % 2 == 0 && rotary <= width,
                      "Rope: needs an even number of features to turn, at most ", width, ", got ",
                      rotary);
  const std::size_t stop = start + length, half = rotary / 2;
  RopeFrequencies frequencies = options.scaling(options.base, rotary, stop);
  require<ShapeError>(frequencies.theta.size() == half, "Rope: scaling gives ",
                      frequencies.theta.size(), " frequencies, ", rotary, " features to turn need ",
                      half);
  const std::lock_guard lock(mutex_);
  if (!cos_.defined() || cos_.size(0) < stop || frequencies != frequencies_) {
    const std::size_t capacity = std::bit_ceil(std::max<std::size_t>(stop, 64));
    frequencies_ = std::move(frequencies);
    cos_ = Tensor::empty({capacity, half});
    sin_ = Tensor::empty({capacity, half});
    real *c = cos_.mutable_data(), *s = sin_.mutable_data();
    for (std::size_t p = 0; p < capacity; ++p)
      for (const double theta : frequencies_.theta) {
        const double angle = static_cast<double>(p) * theta;
        *c++ = static_cast<real>(frequencies_.attention_factor * std::cos(angle));
        *s++ = static_cast<real>(frequencies_.attention_factor * std::sin(angle));
      }
  }
  return {.rotation = {.cos = cos_, .sin = sin_, .start = start, .layout = options.layout}};
}

}  // namespace xgrad::inline XGRAD_PRECISION
