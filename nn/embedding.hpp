// Embedding: a table of vectors, one per id.
#pragma once

#include <xgrad/nn/adaptable.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct EmbeddingOptions {
  std::size_t count, dim;
};

/// ids (...) -> (..., dim); weight (count, dim), initially standard normal. Throws for an id
/// outside [0, count).
struct Embedding : Adaptable {
  explicit Embedding(EmbeddingOptions options) : Embedding(nullptr, "", options) {}
  Embedding(Module* owner, std::string name, EmbeddingOptions options);
  Tensor operator()(const Indices& ids) const;

  std::size_t inputs() const override { return options.count; }
  std::size_t outputs() const override { return options.dim; }
  Tensor stored_weight() const override { return weight; }
  Tensor stored_bias() const override { return {}; }
  bool looks_up() const override { return true; }

  const EmbeddingOptions options;
  Parameter weight;

 protected:
  std::string describe() const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
