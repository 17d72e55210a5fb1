// DiagonalCodebook; see diagonal_codebook.hpp.
#include <xgrad/nn/vq/diagonal_codebook.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {

DiagonalCodebook::DiagonalCodebook(DiagonalCodebookOptions o)
    : CodebookBase(o.seed),
      options((require(o.codes >= 2, "DiagonalCodebook: needs at least 2 codes, got ", o.codes),
               require(o.dim >= 1, "DiagonalCodebook: needs dim of at least 1, got ", o.dim), o)),
      base(this, "base",
           init::normal(zeros({o.codes, o.dim}), 0,
                        static_cast<real>(1 / std::sqrt(static_cast<double>(o.dim))),
                        init_rng("base")),
           o.train_base),
      weight(this, "weight", ones({o.dim})) {}

}  // namespace xgrad::inline XGRAD_PRECISION
