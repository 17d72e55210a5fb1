// Losses on top-k masks, and the loss that keeps a router's experts in even use.
#pragma once

#include <xgrad/nn/topk/threshold.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Mean of -log y[target], y the mask: 0 once the target is surely among the k largest. scores
/// (..., n), targets (...) -> (), in nats. Infinite where a sparse operator gives y = 0: there take
/// fenchel_young. After Petersen et al. 2022 (2206.07290).
Tensor topk_cross_entropy(const Tensor& scores, const Indices& targets, const TopKCount& k,
                          const Temperature& tau = 1, const TopK& op = LaplaceTopK());

/// Mean over the rows of the operator's Fenchel-Young loss against sets of k scores: `members`
/// (..., k). See ConvexTopK; for GradTopK it is the set's exact negative log-likelihood.
Tensor fenchel_young(const Tensor& scores, const Indices& members, const Temperature& tau = 1,
                     const ConvexTopK& op = LaplaceTopK());

/// E sum_i F_i P_i over the E experts, F_i the share of expert i among the k that each token is
/// sent to, a constant, and P_i the mean of its softmax probability: logits (..., E) -> (). Its
/// gradient pushes down the experts in use above average. The value does not measure balance: it is
/// 1 whenever F or P is uniform, and may be below. Lepikhin et al. 2021, GShard (2006.16668).
Tensor load_balance(const Tensor& logits, std::size_t k);

}  // namespace xgrad::inline XGRAD_PRECISION
