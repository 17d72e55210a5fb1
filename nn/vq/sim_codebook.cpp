// SimCodebook; see sim_codebook.hpp.
#include <xgrad/nn/vq/sim_codebook.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

SimCodebookOptions checked(SimCodebookOptions o) {
  if (o.base_dim == 0) o.base_dim = o.dim;
  require(o.codes >= 2, "SimCodebook: needs at least 2 codes, got ", o.codes);
  require(o.dim >= 1, "SimCodebook: needs dim of at least 1, got ", o.dim);
  require(o.init != SimInit::identity || o.base_dim == o.dim,
          "SimCodebook: the identity needs base_dim = dim, got ", o.base_dim, " and ", o.dim);
  return o;
}

real bound(const SimCodebookOptions& o) {
  return static_cast<real>(1 / std::sqrt(static_cast<double>(o.base_dim)));
}

Tensor initial_map(const SimCodebookOptions& o, Rng rng) {
  if (o.init == SimInit::identity) return diag(ones({o.dim}));
  return init::uniform(zeros({o.base_dim, o.dim}), -bound(o), bound(o), rng);
}

}  // namespace

SimCodebook::SimCodebook(SimCodebookOptions o)
    : CodebookBase(o.seed),
      options(checked(o)),
      base(this, "base",
           init::normal(zeros({o.codes, options.base_dim}), 0, bound(options), init_rng("base")),
           o.train_base),
      weight(this, "weight", initial_map(options, init_rng("weight"))),
      bias(this, "bias",
           o.bias ? init::uniform(zeros({o.dim}), -bound(options), bound(options), init_rng("bias"))
                  : Tensor()) {}

Tensor SimCodebook::table() const {
  const Scope here = enter();
  const Tensor codes = matmul(base(), weight);
  return bias.defined() ? codes + bias : codes;
}

std::string SimCodebook::describe() const {
  return concat_text(options.codes, " x ", options.base_dim, " -> ", options.dim);
}

}  // namespace xgrad::inline XGRAD_PRECISION
