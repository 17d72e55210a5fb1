// Embedding: a table of vectors, one per id.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct EmbeddingOptions {
  std::size_t count, dim;
};

/// ids (...) -> (..., dim); weight (count, dim), initially standard normal. Throws for an id
/// outside [0, count).
struct Embedding : Module {
  explicit Embedding(EmbeddingOptions options) : Embedding(nullptr, "", options) {}
  Embedding(Module* owner, std::string name, EmbeddingOptions options);
  Tensor operator()(const Indices& ids) const {
    const Scope here = enter();
    return embedding(weight, ids);
  }

  const EmbeddingOptions options;
  Parameter weight;

 protected:
  std::string describe() const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
