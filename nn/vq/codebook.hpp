// Codebooks: where the code vectors come from, and what moves them. Here the plain one and what a
// codebook is; EmaCodebook, SimCodebook, DiagonalCodebook and FixedCodebook are this file's
// neighbours. Which code a vector gets is vector_quantizer.hpp's business.
#pragma once

#include <span>
#include <vector>

#include <xgrad/nn/module.hpp>
#include <xgrad/nn/vq/assignment.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// K vectors of width d. Gradients move what parameters it has; what else moves it, it does itself
/// in update(). A user's own derives from this, too.
struct CodebookBase : Module {
  using Module::Module;
  /// The vectors (K, d), on the tape.
  virtual Tensor table() const = 0;
  virtual std::size_t codes() const = 0;
  virtual std::size_t dim() const = 0;
  /// Before a training step, with the vectors z (..., d) that are to be quantized: the first ones
  /// may decide where the codes begin. Also for the user to call, with more vectors than a batch
  /// has. z went through the assignment's map already.
  virtual void initialise(const Tensor& /*z*/,
                          const Assignment& /*assignment*/ = Assignment::euclidean) {}
  /// After a training step's vectors z (..., d) have got their codes (...).
  virtual void update(const Tensor& /*z*/, const Indices& /*codes*/) {}
};

/// Where a table (K, d) begins.
enum class CodebookInit {
  uniform,  ///< in ±1/K, as van den Oord et al. have it
  normal,   ///< N(0, 1/d): vectors of length 1 or so
  kmeans,   ///< kmeans() of the first training batch, or of what initialise() is given
};

struct CodebookOptions {
  std::size_t codes, dim;  ///< K, at least 2, and d, at least 1
  CodebookInit init = CodebookInit::kmeans;
  /// A code whose moving average of hits per step is below this part of the average code's, N/K, is
  /// replaced by a random vector of the batch; 0: never. 0.2 is usual.
  double restart_below = 0;
  double decay = 0.99;     ///< of the moving averages, in [0, 1)
  std::uint64_t seed = 0;  ///< of the initial values
};

/// A table that stands by itself: where it begins, and what happens to codes that nobody uses.
/// Shared by Codebook and EmaCodebook, which differ in what moves it.
///
/// "counts" (K,) are moving averages of each code's hits per step; "initialised" is 0 at first, 1
/// after initialise() and 2 after the first step. Both are saved, so that a loaded table is not
/// begun anew.
class TableCodebook : public CodebookBase {
 public:
  std::size_t codes() const override { return options.codes; }
  std::size_t dim() const override { return options.dim; }
  void initialise(const Tensor& z, const Assignment& assignment = Assignment::euclidean) override;
  /// Throws std::logic_error where checkpoint() computes a step again whose codebook has moved.
  void update(const Tensor& z, const Indices& codes) override;
  /// The codes that the last update() replaced. What an optimizer remembers of these rows would
  /// move the new ones: optimizer.forget(codebook.weight, codebook.restarted()) before its step.
  const std::vector<std::int64_t>& restarted() const { return restarted_; }

  const CodebookOptions options;
  StateBuffer counts, initialised;  // (K,), ones; (), 0

 protected:
  TableCodebook(const char* name, CodebookOptions options);
  /// A table for the start.
  Tensor initial_table() const;
  void on_reseed(Rng rng) override { rng_ = rng; }
  std::string describe() const override { return concat_text(codes(), " x ", dim()); }
  /// counts ← decay counts + (1 - decay) of this step's hits, and what moves along.
  virtual void move(const Tensor& z, const Indices& codes);
  /// These rows of the table have been replaced, their counts with them.
  virtual void on_replaced(std::span<const std::int64_t> /*rows*/) {}
  /// Whether update() writes into the table.
  virtual bool moves_itself() const { return options.restart_below > 0; }

 private:
  void scale_counts(std::size_t vectors);
  void restart(const Tensor& z);
  std::vector<std::int64_t> all_rows() const;

  Rng rng_;  // of restarts
  std::vector<std::int64_t> restarted_;
};

/// The table is a parameter, "weight" (K, d), which the codebook loss moves: row k towards the
/// vectors that chose it; other rows stay. Van den Oord, Vinyals & Kavukcuoglu 2017 (1711.00937).
/// Restart: Zeghidour et al. 2021, SoundStream (2107.03312), section III.C.
struct Codebook : TableCodebook {
  explicit Codebook(CodebookOptions options);
  Tensor table() const override { return weight; }

  Parameter weight;
};

}  // namespace xgrad::inline XGRAD_PRECISION
