// RelativeBias; see relative_bias.hpp.
#include <xgrad/nn/position/relative_bias.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

RelativeBiasOptions checked(RelativeBiasOptions o) {
  require(o.heads > 0, "RelativeBias: needs at least 1 head");
  require(o.buckets >= 2, "RelativeBias: needs at least 2 buckets, got ", o.buckets);
  require(o.max_distance > o.buckets / 2, "RelativeBias: max_distance must be more than ",
          o.buckets / 2, ", half the buckets, got ", o.max_distance);
  return o;
}

}  // namespace

RelativeBias::RelativeBias(RelativeBiasOptions o)
    : options(checked(o)),
      weight(this, "weight",
             init::normal(zeros({o.buckets, o.heads}), 0, real(0.02), init_rng("weight"))) {}

std::size_t RelativeBias::bucket(std::size_t distance) const {
  const auto& [heads, buckets, max_distance] = options;
  const std::size_t exact = buckets / 2;
  if (distance < exact) return distance;
  if (distance >= max_distance) return buckets - 1;
  const auto log_of = [&](std::size_t n) {
    return std::log(static_cast<double>(n) / static_cast<double>(exact));
  };
  // A distance that stands on a border opens the next bucket, however its logarithm is rounded.
  const double place =
      log_of(distance) / log_of(max_distance) * static_cast<double>(buckets - exact) + 1e-9;
  return std::min(exact + static_cast<std::size_t>(place), buckets - 1);
}

AttentionPositions RelativeBias::in_attention(std::size_t heads, std::size_t /*width*/,
                                              std::size_t /*start*/, std::size_t length) const {
  require<ShapeError>(heads == options.heads, "RelativeBias: made for ", options.heads,
                      " heads, attention has ", heads);
  Indices rows = Indices::from_shape({length});
  for (std::size_t n = 0; n < length; ++n) rows(n) = static_cast<std::int64_t>(bucket(n));
  return {.bias = transpose(embedding(weight, rows))};  // (H, length)
}

}  // namespace xgrad::inline XGRAD_PRECISION
