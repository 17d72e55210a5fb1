// LearnedPosition; see learned.hpp.
#include <xgrad/nn/position/learned.hpp>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {

LearnedPosition::LearnedPosition(LearnedPositionOptions o)
    : options((require(o.length > 0 && o.dim > 0, "LearnedPosition(", o.length, ", ", o.dim,
                       "): sizes must be positive"),
               o)),
      weight(this, "weight",
             init::normal(zeros({o.length, o.dim}), 0, real(0.02), init_rng("weight"))) {}

std::optional<std::size_t> LearnedPosition::max_length() const {
  return options.wrap ? std::nullopt : std::optional(options.length);
}

Tensor LearnedPosition::on_embedding(const Tensor& x, std::size_t start) const {
  require<ShapeError>(x.ndim() >= 2 && x.size(-1) == options.dim, "LearnedPosition: embeddings ",
                      x.shape(), " do not fit a table of width ", options.dim);
  const std::size_t length = x.size(-2), stop = start + length;
  require<ShapeError>(options.wrap || stop <= options.length, "LearnedPosition: positions ", start,
                      " to ", stop - 1, " are beyond the table of ", options.length,
                      "; give shorter texts, a longer table, or .wrap = true");
  Indices rows = Indices::from_shape({length});
  for (std::size_t t = 0; t < length; ++t)
    rows(t) = static_cast<std::int64_t>((start + t) % options.length);
  return x + embedding(weight, rows);
}

}  // namespace xgrad::inline XGRAD_PRECISION
