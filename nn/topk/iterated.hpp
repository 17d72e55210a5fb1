// Masks made of k softmaxes, each of what the ones before have left.
// For comparison: neither stays in [0, 1]; threshold.hpp and grad_topk.hpp do.
#pragma once

#include <xgrad/nn/topk/operator.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// z = (x - min x)/tau, p_0 = 0, p_t = p_(t-1) + softmax((1 - p_(t-1)) z), y = p_k. Sum k,
/// unchanged by x + c, but neither in [0, 1] nor in the order of x: [2, 1, -8] with k = 2 gives
/// [0.751, 1.248, 0.001]. The least score takes part; mask with -inf, not with a large number. O(n
/// k); backward needs k vectors of a row, not on the tape. Su's essays 6620, 10373.
struct SoftKMax : TopK {
  Tensor operator()(const Tensor& x, const TopKCount& k, const Temperature& tau = 1) const override;
};

/// a_1 = x, s_t = softmax(a_t/tau), a_(t+1) = a_t + log(1 - s_t), y = s_1 + … + s_k. Sum k, in the
/// order of x, not in [0, 1]; no function of x/tau, and of use for tau <= 1/2 at most. O(n k), as
/// above. Plötz & Roth 2018 (1810.12575), Xie & Ermon 2019 (1901.10517).
struct SequentialSoftmax : TopK {
  Tensor operator()(const Tensor& x, const TopKCount& k, const Temperature& tau = 1) const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
