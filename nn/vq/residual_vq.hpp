// ResidualVq: several codebooks in turn, each for what the ones before it left.
#pragma once

#include <xgrad/nn/vq/vector_quantizer.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct ResidualVqOptions {
  std::vector<std::shared_ptr<CodebookBase>> codebooks;  ///< one per stage, all of one width
  std::shared_ptr<const Estimator> estimator{};  ///< once, for the sum; none: StraightThrough
  double codebook_weight = 1;                    ///< as in VectorQuantizerOptions
  double commitment_weight = 0.25;
  VqReduction reduction = VqReduction::mean;
  bool forced = false;
  /// While training, each step uses a random number of stages, from this one to all alike, so that
  /// the first stages serve alone, too; 0: always all.
  std::size_t min_stages = 0;
};

/// r_1 = z; stage l gives q_l, the code nearest to r_l; r_(l+1) = r_l - sg q_l. The result is
/// Q = sum q_l, codes are (..., stages), and the loss is the mean of the stages' losses on (r_l,
/// q_l); result.stages has each by itself. The estimator sees (z, Q) and no stage: were each stage
/// straight-through by itself, z would get the task's gradient once per stage. Stages that a step
/// leaves out have code -1, which decode() skips. Usage is of (z, Q) with the hits of all codebooks
/// one after the other, and the mean of the stages' perplexities.
/// Zeghidour et al. 2021, SoundStream (2107.03312), algorithm 1 and section III.C.
struct ResidualVq : Quantizer {
  explicit ResidualVq(ResidualVqOptions options) : ResidualVq(nullptr, "", std::move(options)) {}
  /// Throws std::invalid_argument for no codebooks, different widths, one codebook in two stages,
  /// and whatever VectorQuantizer refuses.
  ResidualVq(Module* owner, std::string name, ResidualVqOptions options);
  Quantized operator()(const Tensor& z) override;
  Indices encode(const Tensor& z) const override;
  Tensor decode(const Indices& codes) const override;
  /// Of the largest stage; a vector has as many codes as there are stages.
  std::size_t codes() const override;
  std::size_t dim() const override { return stages[0].dim(); }

  const ResidualVqOptions options;
  ModuleList<VectorQuantizer> stages{this, "stages"};

 protected:
  void on_reseed(Rng rng) override { rng_ = rng; }

 private:
  std::size_t draw_stages();

  Rng rng_;  // of the number of stages
};

}  // namespace xgrad::inline XGRAD_PRECISION
