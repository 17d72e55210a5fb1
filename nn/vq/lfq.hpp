// Lfq: each coordinate by its sign. No codebook; entropies in the loss keep the codes in use.
#pragma once

#include <xgrad/nn/vq/quantized.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct LfqOptions {
  std::size_t dim;                  ///< d bits, in [1, 62]: 2^d codes
  double scale = 1;                 ///< s: codes are at ±s; > 0
  double entropy_weight = 0.1;      ///< of the entropies
  double diversity = 1;             ///< gamma: what the batch's entropy counts against a vector's
  double sharpness = 100;           ///< tau, an inverse temperature; > 0
  double commitment_weight = 0.25;  ///< of mean (z - sg q)^2
};

/// Lookup-free quantization: z (..., d) -> s where a coordinate is above 0, else -s (also at 0).
/// The first coordinate is the highest bit of the code. The gradient passes to z unchanged, and
///
///     loss = entropy_weight (mean_n H(p_n) - diversity H(mean_n p_n)) + commitment_weight mean (z
///     - sg q)^2
///
/// in nats, p_n = softmax over the codes c of 2 sharpness z_n c: each vector is to be sure of its
/// code, and the batch to use all codes. Bits are independent in p_n, so that H(p_n) is O(d). The
/// batch's entropy is exact up to d = 12, in O(N 2^d); beyond, the sum of the entropies of the bits
/// stands for it, which is at least as large. Yu et al. 2023, MAGVIT-v2 (2310.05737), section 3.1.
struct Lfq : Quantizer {
  explicit Lfq(LfqOptions options) : Lfq(nullptr, "", options) {}
  Lfq(Module* owner, std::string name, LfqOptions options);
  Quantized operator()(const Tensor& z) override;
  Indices encode(const Tensor& z) const override;
  Tensor decode(const Indices& codes) const override;
  std::size_t codes() const override { return std::size_t{1} << options.dim; }
  std::size_t dim() const override { return options.dim; }

  const LfqOptions options;

 protected:
  std::string describe() const override { return concat_text(options.dim, " bits"); }
};

/// Entropy in nats of a coin that shows 1 with probability sigmoid(logit), each by itself. Keeps
/// its digits, and its derivative -logit p (1 - p) too, where p itself has none left.
Tensor binary_entropy(const Tensor& logits);
/// Entropy in nats of mean_n p_n, where p_n is the distribution of d independent bits with these
/// logits: (..., d) -> (), d <= 12. O(N 2^d) time, O(2^d) memory. Fused; see
/// composite::mean_code_entropy.
Tensor mean_code_entropy(const Tensor& logits);

namespace composite {
/// O(N 2^d) memory, several times over.
Tensor mean_code_entropy(const Tensor& logits);
}  // namespace composite

}  // namespace xgrad::inline XGRAD_PRECISION
