// Losses on top-k masks; see loss.hpp. The operators know their own logarithms and convex
// functions.
#include <xgrad/nn/topk/loss.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Tensor topk_cross_entropy(const Tensor& scores, const Indices& targets, const TopKCount& k,
                          const Temperature& tau, const TopK& op) {
  return -mean(op.log_member(scores, targets, k, tau));
}

Tensor fenchel_young(const Tensor& scores, const Indices& members, const Temperature& tau,
                     const ConvexTopK& op) {
  return mean(op.fenchel_young(scores, members, tau));
}

Tensor load_balance(const Tensor& logits, std::size_t k) {
  require<ShapeError>(logits.ndim() >= 1,
                      "load_balance: logits need at least 1 axis, got shape ()");
  require(k >= 1, "load_balance: k must be at least 1, got 0");
  const std::size_t experts = logits.size(-1);
  const Ints rows{-1, experts};
  const Tensor used = mean(reshape(hard_topk(logits, k), rows), 0) / static_cast<real>(k),
               probability = mean(reshape(softmax(logits), rows), 0);
  return sum(used * probability) * static_cast<real>(experts);
}

}  // namespace xgrad::inline XGRAD_PRECISION
