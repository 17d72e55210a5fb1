// Embedding; see embedding.hpp.
#include <xgrad/nn/embedding.hpp>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Embedding::Embedding(Module* owner, std::string name, EmbeddingOptions o)
    : Module(owner, std::move(name)),
      options((require(o.count > 0 && o.dim > 0, "Embedding(", o.count, ", ", o.dim,
                       "): sizes must be positive"),
               o)),
      weight(this, "weight", init::normal(zeros({o.count, o.dim}), 0, 1, init_rng("weight"))) {}

std::string Embedding::describe() const { return concat_text(options.count, ", ", options.dim); }

}  // namespace xgrad::inline XGRAD_PRECISION
