// Position schemes; see position.hpp.
#include <xgrad/nn/position.hpp>

#include <bit>
#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Tensor Position::on_embedding(const Tensor& x, std::size_t /*start*/) const { return x; }
AttentionPositions Position::in_attention(std::size_t /*heads*/, std::size_t /*width*/,
                                          std::size_t /*start*/, std::size_t /*length*/) const {
  return {};
}

LearnedPosition::LearnedPosition(LearnedPositionOptions o)
    : options((require(o.length > 0 && o.dim > 0, "LearnedPosition(", o.length, ", ", o.dim,
                       "): sizes must be positive"),
               o)),
      weight(this, "weight",
             init::normal(zeros({o.length, o.dim}), 0, real(0.02), init_rng("weight"))) {}

Tensor LearnedPosition::on_embedding(const Tensor& x, std::size_t start) const {
  const std::size_t stop = start + x.size(-2);
  require<ShapeError>(stop <= options.length, "LearnedPosition: positions ", start, " to ",
                      stop - 1, " are beyond the table of ", options.length);
  return x + slice(weight, 0, static_cast<std::int64_t>(start), static_cast<std::int64_t>(stop));
}

Tensor SinusoidalPosition::on_embedding(const Tensor& x, std::size_t start) const {
  const std::size_t length = x.size(-2), dim = x.size(-1);
  Tensor table = Tensor::empty({length, dim});
  real* out = table.mutable_data();
  for (std::size_t t = 0; t < length; ++t)
    for (std::size_t j = 0; j < dim; ++j) {
      const double angle =
          static_cast<double>(start + t) *
          std::pow(10000.0, -static_cast<double>(j / 2 * 2) / static_cast<double>(dim));
      *out++ = static_cast<real>(j % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return x * static_cast<real>(std::sqrt(static_cast<double>(dim))) + table;
}

Rope::Rope(RopeOptions o) : options_(o) {
  require(o.base > 1, "Rope: base must be greater than 1, got ", o.base);
  require(o.rotary_dim % 2 == 0, "Rope: rotary_dim must be even, got ", o.rotary_dim);
}

AttentionPositions Rope::in_attention(std::size_t /*heads*/, std::size_t width, std::size_t start,
                                      std::size_t length) const {
  const std::size_t rotary = options_.rotary_dim ? options_.rotary_dim : width;
  require<ShapeError>(rotary % 2 == 0 && rotary <= width,
                      "Rope: needs an even number of features to turn, at most ", width, ", got ",
                      rotary);
  const std::size_t stop = start + length, half = rotary / 2;
  const std::lock_guard lock(mutex_);
  if (!cos_.defined() || cos_.size(0) < stop || cos_.size(1) != half) {
    const std::size_t capacity = std::bit_ceil(std::max<std::size_t>(stop, 64));
    cos_ = Tensor::empty({capacity, half});
    sin_ = Tensor::empty({capacity, half});
    real *c = cos_.mutable_data(), *s = sin_.mutable_data();
    for (std::size_t p = 0; p < capacity; ++p)
      for (std::size_t i = 0; i < half; ++i) {
        // The exponent divides by the rotary width, not by the head's.
        const double angle =
            static_cast<double>(p) *
            std::pow(options_.base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary));
        *c++ = static_cast<real>(std::cos(angle));
        *s++ = static_cast<real>(std::sin(angle));
      }
  }
  return {.rotation = {.cos = cos_, .sin = sin_, .start = start, .layout = options_.layout}};
}

AttentionPositions Alibi::in_attention(std::size_t heads, std::size_t /*width*/,
                                       std::size_t /*start*/, std::size_t /*length*/) const {
  return {.slopes = alibi_slopes(heads)};
}

std::vector<real> alibi_slopes(std::size_t heads) {
  require(heads > 0, "alibi_slopes: needs at least 1 head");
  const std::size_t c = std::bit_floor(heads);
  std::vector<real> result;
  for (std::size_t h = 0; h < heads; ++h) {
    const double exponent =
        h < c ? -8.0 * static_cast<double>(h + 1) / static_cast<double>(c)
              : -4.0 * static_cast<double>(2 * (h - c) + 1) / static_cast<double>(c);
    result.push_back(static_cast<real>(std::exp2(exponent)));
  }
  return result;
}

std::shared_ptr<Position> make_position(std::string_view name, LearnedPositionOptions options) {
  if (name == "rope") return std::make_shared<Rope>();
  if (name == "alibi") return std::make_shared<Alibi>();
  if (name == "nope") return std::make_shared<NoPosition>();
  if (name == "learned") return std::make_shared<LearnedPosition>(options);
  if (name == "sinusoidal") return std::make_shared<SinusoidalPosition>();
  throw std::invalid_argument(concat_text(
      "position \"", name, "\": unknown; choose rope, alibi, nope, learned or sinusoidal"));
}

}  // namespace xgrad::inline XGRAD_PRECISION
