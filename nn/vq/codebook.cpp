// Codebooks; see codebook.hpp.
#include <xgrad/nn/vq/codebook.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Tensor initial_table(std::size_t codes, std::size_t dim, CodebookInit init, Rng rng) {
  Tensor table = zeros({codes, dim});
  const auto k = static_cast<double>(codes), d = static_cast<double>(dim);
  if (init == CodebookInit::uniform)
    return init::uniform(table, static_cast<real>(-1 / k), static_cast<real>(1 / k), rng);
  return init::normal(table, 0, static_cast<real>(1 / std::sqrt(d)), rng);
}

}  // namespace

Codebook::Codebook(CodebookOptions o)
    : CodebookBase(o.seed),
      options((require(o.codes >= 2, "Codebook: needs at least 2 codes, got ", o.codes),
               require(o.dim >= 1, "Codebook: needs dim of at least 1, got ", o.dim), o)),
      weight(this, "weight", initial_table(o.codes, o.dim, o.init, init_rng("weight"))) {}

}  // namespace xgrad::inline XGRAD_PRECISION
