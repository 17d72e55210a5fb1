// Losses composed of operations. cross_entropy, which is fused, is in core/ops.hpp.
// Each gives one number, a mean, as a 0-d tensor, and none broadcasts: shapes that should be equal
// and are not throw ShapeError. Where not said otherwise, they are PyTorch's.
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

// ---- two tensors of one shape; the mean over all elements

/// mean((prediction - target)^2).
Tensor mse_loss(const Tensor& prediction, const Tensor& target);
/// mean(|prediction - target|).
Tensor l1_loss(const Tensor& prediction, const Tensor& target);
/// The mean of d^2/2 where |d| <= delta and of delta (|d| - delta/2) beyond, d = prediction -
/// target: squares that outliers do not rule. delta > 0. Huber 1964, Robust estimation of a
/// location parameter.
Tensor huber_loss(const Tensor& prediction, const Tensor& target, real delta = 1);
/// The mean of -t log p - (1 - t) log(1 - p), p = sigmoid(logits) and t the target in [0, 1], in
/// nats; exact for logits of any size.
Tensor bce_with_logits(const Tensor& logits, const Tensor& target);

// ---- distributions

/// Mean over the counted targets of -log_probs[target]: what cross_entropy does after log_softmax.
/// log_probs (..., V), targets (...) -> (). Targets that are ignore_index do not count; NaN if none
/// does. Throws std::invalid_argument for a target outside [0, V).
Tensor nll_loss(const Tensor& log_probs, const Indices& targets, std::int64_t ignore_index = -100);
/// The divergence KL(target || prediction) = sum t (log t - log_prediction), summed over everything
/// and divided by the size of the first axis: PyTorch's reduction "batchmean", the divergence
/// per sample, which its default is not. Elements with t = 0 add 0 and have no gradient. In nats.
Tensor kl_div(const Tensor& log_prediction, const Tensor& target);

// ---- embeddings

/// The mean of 1 - cos(a, b) where the label is 1 and of max(0, cos(a, b) - margin) where it is -1.
/// a and b (..., D), labels (...). The cosine is cosine_similarity's, so a vector of length 0 has
/// cosine 0, and a huge gradient; PyTorch's loss has another eps there. Throws
/// std::invalid_argument for other labels.
Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Indices& labels,
                             real margin = 0);

struct TripletOptions {
  real margin = 1;        ///< how much nearer than the negative the positive shall be
  real p = 2;             ///< which norm is the distance, > 0
  real eps = real(1e-6);  ///< added to each coordinate of a difference, as in PyTorch
};
/// The mean of max(0, margin + d(anchor, positive) - d(anchor, negative)), d(a, b) =
/// |a - b + eps|_p over the last axis. All (..., D). torch's triplet_margin_loss; Schroff,
/// Kalenichenko & Philbin 2015, FaceNet (1503.03832), eq. 3, has squared distances.
Tensor triplet_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                    const TripletOptions& options = {});

}  // namespace xgrad::inline XGRAD_PRECISION
