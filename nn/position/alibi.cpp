// Alibi; see alibi.hpp.
#include <xgrad/nn/position/alibi.hpp>

#include <bit>
#include <cmath>

namespace xgrad::inline XGRAD_PRECISION {

Alibi::Alibi(AlibiOptions o) : options(o) {
  require(o.max_bias > 0 && std::isfinite(o.max_bias),
          "Alibi: max_bias must be positive and finite, got ", o.max_bias);
}

AttentionPositions Alibi::in_attention(std::size_t heads, std::size_t /*width*/,
                                       std::size_t /*start*/, std::size_t /*length*/) const {
  return {.slopes = alibi_slopes(heads, options.max_bias)};
}

std::vector<real> alibi_slopes(std::size_t heads, double max_bias) {
  require(heads > 0, "alibi_slopes: needs at least 1 head");
  const std::size_t c = std::bit_floor(heads);
  std::vector<real> result;
  for (std::size_t h = 0; h < heads; ++h) {
    const std::size_t step = h < c ? 2 * (h + 1) : 2 * (h - c) + 1;  // of 2c
    result.push_back(static_cast<real>(
        std::exp2(-max_bias * static_cast<double>(step) / static_cast<double>(2 * c))));
  }
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION
