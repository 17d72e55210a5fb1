// Quantizer: what all quantizers have in common, and what each of them returns.
// How one chooses codes and learns them is in its own file.
#pragma once

#include <span>
#include <vector>

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// How a batch used the codes, and how far from them it lies. All of it depends on the number of
/// vectors N: even uniform use reaches only 1 - exp(-N/K) of K codes (63 % for N = K) and a
/// perplexity of at most N. Compare over one fixed set of vectors, several times as large as K.
struct Usage {
  std::vector<std::int64_t> counts{};  ///< (K,): hits of each code; empty where K > max_counted
  double perplexity = 0;       ///< exp of the entropy of the hits: 1 (one code) to K (all alike)
  double utilization = 0;      ///< the part of the codes that was hit at all
  double qerr = 0;             ///< mean |z - q|^2 over the trace of z's covariance
  double norm_ratio = 0;       ///< mean |q| over mean |z|; far from 1 explains most failures
  double frac_degenerate = 0;  ///< rows where z or q is nearly 0, or they point opposite ways
  double frac_obtuse = 0;      ///< rows with more than 90 degrees between z and q

  static constexpr std::size_t max_counted = std::size_t{1} << 20;
};

/// exp(-sum p ln p) of the distribution p = counts/sum; 0 if there are none.
double perplexity(std::span<const std::int64_t> counts);
/// The part of the counts that is not 0.
double utilization(std::span<const std::int64_t> counts);

/// Usage of K codes by rows z (..., d), which became q (..., d) by `codes`: one pass, O(N d + K).
Usage measure_usage(const Tensor& z, const Tensor& q, const Indices& codes, std::size_t K);

/// Losses before they are weighted, 0-d; undefined: the quantizer has none of this name.
struct QuantizationLosses {
  Tensor codebook{};        ///< mean (q - sg z)^2: pulls the codes to the vectors
  Tensor commitment{};      ///< mean (z - sg q)^2: pulls the vectors to their codes
  Tensor entropy_sample{};  ///< mean entropy of one vector's codes: to be small
  Tensor entropy_batch{};   ///< entropy of the codes over the batch: to be large
};

/// What a quantizer makes of z (..., d).
struct Quantized {
  Tensor quantized;            ///< (..., d): the codes' vectors
  Indices codes;               ///< (...), of ResidualVq (..., stages)
  Tensor loss;                 ///< 0-d: to be added to the task's loss; 0 in evaluation
  QuantizationLosses parts{};  ///< of which `loss` is made; undefined in evaluation
  Usage usage{};
  std::vector<Quantized> stages{};  ///< of ResidualVq: what each made of what was left for it
};

/// Replaces each vector by one of finitely many, which a whole number names. Values are the same in
/// training and evaluation; evaluation makes no losses, changes no state and records nothing.
struct Quantizer : Module {
  using Module::Module;
  /// z (..., d). Throws ShapeError if the last axis is not d or there is no vector at all,
  /// std::invalid_argument where a number is NaN.
  virtual Quantized operator()(const Tensor& z) = 0;
  /// The codes alone, as operator() would give them now; nothing is recorded or changed.
  virtual Indices encode(const Tensor& z) const = 0;
  /// The vectors of these codes: bit for bit what operator() gave with them. (...) -> (..., d).
  /// Throws std::invalid_argument for a code out of range.
  virtual Tensor decode(const Indices& codes) const = 0;
  /// How many values a code may have, hence log2(codes()) bits each.
  virtual std::size_t codes() const = 0;
  /// Width of the vectors.
  virtual std::size_t dim() const = 0;
};

namespace detail {
/// The part of measure_usage() that does not depend on codes.
Usage measure_distances(const Tensor& z, const Tensor& q);
/// Throws ShapeError unless z is (..., dim) with at least one row.
void check_vectors(const char* op, const Tensor& z, std::size_t dim);
/// Throws std::invalid_argument where a number of z is NaN.
void check_numbers(const char* op, const Tensor& z);
/// Throws std::invalid_argument for a code outside [0, K).
void check_codes(const char* op, const Indices& codes, std::size_t K);
/// z's shape without its last axis.
Shape leading_shape(const Tensor& z);
}  // namespace detail

}  // namespace xgrad::inline XGRAD_PRECISION
