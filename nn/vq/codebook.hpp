// Codebooks: where the code vectors come from, and what moves them.
// Which of them a vector gets is vector_quantizer.hpp's business.
#pragma once

#include <xgrad/nn/module.hpp>
#include <xgrad/nn/vq/assignment.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// K vectors of width d. Gradients move what parameters it has; whatever else moves it, it does
/// itself in update(). A user's own derives from this: docs/quantization.md.
struct CodebookBase : Module {
  using Module::Module;
  /// The vectors (K, d), on the tape.
  virtual Tensor table() const = 0;
  virtual std::size_t codes() const = 0;
  virtual std::size_t dim() const = 0;
  /// Before a training step, with the vectors z (..., d) that are to be quantized: the first one
  /// may choose initial values.
  virtual void initialise(const Tensor& /*z*/, const Assignment& /*assignment*/) {}
  /// After a training step's vectors z (..., d) got their codes (...).
  virtual void update(const Tensor& /*z*/, const Indices& /*codes*/) {}
};

/// Initial values of a table (K, d).
enum class CodebookInit {
  uniform,  ///< in ±1/K; van den Oord et al. 2017
  normal,   ///< N(0, 1/d): length about 1
  kmeans,   ///< of the first training batch; until then `normal`
};

struct CodebookOptions {
  std::size_t codes, dim;
  CodebookInit init = CodebookInit::kmeans;
  std::uint64_t seed = 0;  ///< of the initial values
};

/// The table is a parameter, "weight" (K, d), that the codebook loss moves: row k towards the mean
/// of the vectors that chose it, other rows not at all. Van den Oord, Vinyals & Kavukcuoglu 2017
/// (1711.00937). weight.requires_grad_(false) freezes it.
struct Codebook : CodebookBase {
  explicit Codebook(CodebookOptions options);
  Tensor table() const override { return weight; }
  std::size_t codes() const override { return options.codes; }
  std::size_t dim() const override { return options.dim; }

  const CodebookOptions options;
  Parameter weight;
};

}  // namespace xgrad::inline XGRAD_PRECISION
