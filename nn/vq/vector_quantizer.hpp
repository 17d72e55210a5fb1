// VectorQuantizer: a codebook, an assignment and a gradient estimator, each replaceable.
#pragma once

#include <memory>

#include <xgrad/nn/vq/codebook.hpp>
#include <xgrad/nn/vq/estimator.hpp>
#include <xgrad/nn/vq/quantized.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// How squared distances become a loss.
enum class VqReduction {
  mean,          ///< over all N d numbers
  sum_d_mean_n,  ///< summed over d, mean over the N vectors: d times as large
};

struct VectorQuantizerOptions {
  std::shared_ptr<CodebookBase> codebook;
  std::shared_ptr<const Estimator> estimator{};  ///< none: StraightThrough
  Assignment assignment = Assignment::euclidean;
  double codebook_weight = 1;       ///< of (q - sg z)^2; 0 for codebooks without parameters
  double commitment_weight = 0.25;  ///< of (z - sg q)^2
  VqReduction reduction = VqReduction::mean;
  bool forced = false;  ///< take losses together with an estimator that trains the codebook itself
};

/// q = the nearest row of the codebook; the gradient of the task reaches z as the estimator says,
/// and loss = codebook_weight (q - sg z)^2 + commitment_weight (z - sg q)^2. z (..., d).
/// Van den Oord et al. 2017 (1711.00937), where the weights are 1 and beta; 1906.00446.
struct VectorQuantizer : Quantizer {
  explicit VectorQuantizer(VectorQuantizerOptions options)
      : VectorQuantizer(nullptr, "", std::move(options)) {}
  /// Throws std::invalid_argument for combinations that contradict each other.
  VectorQuantizer(Module* owner, std::string name, VectorQuantizerOptions options);
  Quantized operator()(const Tensor& z) override;
  Indices encode(const Tensor& z) const override;
  Tensor decode(const Indices& codes) const override;
  std::size_t codes() const override { return options.codebook->codes(); }
  std::size_t dim() const override { return options.codebook->dim(); }

  const VectorQuantizerOptions options;
};

}  // namespace xgrad::inline XGRAD_PRECISION
