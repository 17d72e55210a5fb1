// EmaCodebook: a table that follows moving averages instead of gradients.
#pragma once

#include <xgrad/nn/vq/codebook.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct EmaCodebookOptions {
  std::size_t codes, dim;
  CodebookInit init = CodebookInit::kmeans;
  double restart_below = 0;  ///< as in CodebookOptions
  double decay = 0.99;       ///< usually in [0.95, 0.999]
  double eps = 1e-5;         ///< of the smoothing, at least 0
  std::uint64_t seed = 0;
};

/// Each code is the average of the vectors that chose it, older ones fading. With n_k hits of code
/// k in this step and S_k the sum of their vectors, after quantizing:
///
///     N_k <- decay N_k + (1 - decay) n_k        "counts" (K,), at first 1, or k-means' share
///     m_k <- decay m_k + (1 - decay) S_k        "sums" (K, d), at first N_k c_k
///     c_k <- m_k / ((N_k + eps) / (sum N + K eps) sum N)        "weight" (K, d)
///
/// It is SGD on the codebook loss with a step of its own for each code, whatever optimizer the rest
/// has: c_k moves by (1 - decay) n_k/N_k of its way to this step's mean. No gradient reaches it, so
/// its VectorQuantizer has .codebook_weight = 0. A code with N_k < 10 eps stays where it is, where
/// the smoothing would shrink it to 0. All three are buffers, saved with the model.
/// K-means' counts are those of all vectors that it saw; the first step scales them to as many as
/// it has itself. With the unscaled ones codes would stand still for the first hundreds of steps.
/// Van den Oord et al. 2017 (1711.00937), appendix A.1; Razavi et al. 2019 (1906.00446).
struct EmaCodebook : TableCodebook {
  explicit EmaCodebook(EmaCodebookOptions options);
  Tensor table() const override { return weight; }

  const double eps;
  StateBuffer sums, weight;

 protected:
  void move(const Tensor& z, const Indices& codes) override;
  void on_replaced(std::span<const std::int64_t> rows) override;
  bool moves_itself() const override { return true; }
};

}  // namespace xgrad::inline XGRAD_PRECISION
