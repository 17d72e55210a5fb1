// VectorQuantizer: a codebook, an assignment and a gradient estimator, each replaceable.
// Quantizers without a table are fsq.hpp and lfq.hpp.
#pragma once

#include <memory>

#include <xgrad/nn/vq/codebook.hpp>
#include <xgrad/nn/vq/estimator.hpp>
#include <xgrad/nn/vq/quantized.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// What the losses do with the squares of N vectors of width d.
enum class VqReduction {
  mean,          ///< over all N d of them
  sum_d_mean_n,  ///< sum over a vector, mean over vectors: d times as much
};

struct VectorQuantizerOptions {
  std::shared_ptr<CodebookBase> codebook;
  std::shared_ptr<const Estimator> estimator{};  ///< none: StraightThrough
  Assignment assignment = Assignment::euclidean;
  double codebook_weight = 1;       ///< of |q - sg z|^2; 0 where no gradient reaches the codebook
  double commitment_weight = 0.25;  ///< of |z - sg q|^2
  VqReduction reduction = VqReduction::mean;
  bool forced = false;  ///< allow these losses beside an estimator that trains the codebook
};

/// z (..., d) -> the nearest code q of each vector. With sg for what counts as a constant,
///
///     loss = codebook_weight |q - sg z|^2 + commitment_weight |z - sg q|^2
///
/// while the task's gradient reaches z by the estimator, and q only if that trains codebooks.
/// Images (N, C, H, W) come as permute(x, {0, 2, 3, 1}): a reshape to (-1, C) would mix pixels.
/// Van den Oord, Vinyals & Kavukcuoglu 2017 (1711.00937), eq. 3, with weights 1 and beta.
struct VectorQuantizer : Quantizer {
  explicit VectorQuantizer(VectorQuantizerOptions options)
      : VectorQuantizer(nullptr, "", std::move(options)) {}
  /// Throws std::invalid_argument for a combination that cannot learn or contradicts itself, and
  /// says what to change.
  VectorQuantizer(Module* owner, std::string name, VectorQuantizerOptions options);
  Quantized operator()(const Tensor& z) override;
  Indices encode(const Tensor& z) const override;
  Tensor decode(const Indices& codes) const override;
  std::size_t codes() const override { return options.codebook->codes(); }
  std::size_t dim() const override { return options.codebook->dim(); }

  const VectorQuantizerOptions options;

 private:
  Indices nearest_codes(const Tensor& x, const Tensor& table) const;
  Tensor look_up(const Tensor& table, const Indices& codes) const;
};

}  // namespace xgrad::inline XGRAD_PRECISION
