// Where low-rank factors can start, as functions of a weight or of its gradient: plain matrices.
// Starting a model's adapters there is init.hpp.
#pragma once

#include <cstdint>
#include <vector>

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Of an update s B A of a weight (out, in).
struct Factors {
  Tensor A, B;  // (rank, in), (out, rank)
};

/// How singular vectors are found, on a copy in double either way. Their signs are free; here each
/// vector of the input side has its entry of largest magnitude, the first of several, positive.
struct SvdOptions {
  enum Method {
    automatic,  ///< exact up to a shorter side of 1024
    exact,      ///< LAPACK, O(out in min(out, in))
    /// From random combinations of columns, twice as many as vectors are wanted, sharpened by power
    /// iterations; O(out in) for each vector and iteration. Halko et al. 2011 (0909.4061). After 4
    /// iterations the objective of LoRA-GA is some 1e-4 or less above its optimum, without any 5 to
    /// 15 percent.
    randomized
  };
  Method method = automatic;
  std::size_t power_iterations = 4;
  std::uint64_t seed = 0;
};

/// B A = the first singular triplets of the weight, W = U S V^T, divided by s: B = U (S/s)^1/2,
/// A = (S/s)^1/2 V^T, so that W - s B A is what is least of W. Throws std::invalid_argument for a
/// rank outside [1, min(out, in)], a scale that is not above 0, NaN or Inf; ShapeError unless 2
/// axes. Meng et al. 2024 (2404.02948).
Factors pissa_factors(const Tensor& weight, std::size_t rank, double scale, SvdOptions svd = {});

/// From W = Q R: B = the first columns of Q, A = the first rows of R, whose diagonal is positive
/// here. Not divided by s, unlike PiSSA's: B A has the first `rank` columns of W. Throws as
/// pissa_factors. Büyükakyüz 2024 (2406.01775).
Factors olora_factors(const Tensor& weight, std::size_t rank);

/// How long the rows of A and the columns of B are that LoRA-GA starts from: kappa. The first SGD
/// step is that of full training with lr zeta = (s kappa)^2 times as large.
enum class GaScale {
  stable,  ///< out^(1/4) / gamma^(1/2): activations keep their size, the paper's
  gd,      ///< 1/s: zeta is 1
  unit,    ///< 1
  weight,  ///< the mean over i <= rank of (sigma_i(W) / s)^1/2
};

/// kappa for a weight (out, in). Throws std::invalid_argument unless scale and gamma are above 0.
double ga_kappa(GaScale how, const Tensor& weight, std::size_t rank, double scale,
                double gamma = 16, SvdOptions svd = {});

/// What LoRA-GA starts from, and how good that is.
struct GaStart {
  Factors factors;
  std::vector<double> sigma;  ///< the gradient's first 2 rank singular values
  double norm;                ///< its Frobenius norm
  /// cos of the angle between the first step, to first order in lr, and full training's.
  double alignment() const;
  /// Whether the gradient has the rank that was asked for; otherwise the last vectors are noise,
  /// because it was estimated from fewer than 2 rank rows, or because the layer uses fewer.
  bool has_rank() const { return sigma.back() >= 1e-6 * sigma.front(); }
};

/// For a gradient G = U S V^T (out, in): A = kappa V^T of triplets 1 … r, B = kappa U of triplets
/// r + 1 … 2r. Then B B^T G + G A^T A, along which the first SGD step moves the weight, is
/// kappa^2 times the best approximation of G of rank 2r, and no factors of rank r do better. Throws
/// std::invalid_argument for a rank of 0 or above min(out, in)/2, NaN or Inf, and G = 0; ShapeError
/// unless 2 axes. Wang, Yu & Li 2024 (2407.05000), theorem 3.1; PEFT's version also multiplies B by
/// singular values, which is not the optimum.
GaStart lora_ga_factors(const Tensor& gradient, std::size_t rank, double kappa,
                        SvdOptions svd = {});

}  // namespace xgrad::inline XGRAD_PRECISION::lora
