// GradTopK: the gradient of the logarithm of the k-th elementary symmetric polynomial of e^(x/tau).
// The recursions are in kernels/subset.cpp.
#pragma once

#include <xgrad/nn/topk/operator.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct GradTopKOptions {
  /// Pieces of a row with at most so many scores are worked on at once, larger ones halved; 0: as
  /// it is fastest. The result is the same up to rounding.
  std::size_t leaf = 0;
};

/// y_i, the probability that i is in a set S of k scores that is drawn with probability
/// proportional to exp(sum over S of x/tau): softmax at k = 1, and for k > 1 what softmax is for
/// one. In [0, 1], with sum k, in the order of x, unchanged by x + c; smooth. k is whole. O(n k)
/// time for a row and as much for its backward, which computes everything again: O(n) stays on the
/// tape. Su's essay 10373 with a recursion that only adds, in place of the essay's, whose
/// differences lose all digits.
class GradTopK : public ConvexTopK {
 public:
  explicit GradTopK(GradTopKOptions options = {}) : options_(options) {}
  /// Fused, with no twin.
  Tensor operator()(const Tensor& x, const TopKCount& k, const Temperature& tau = 1) const override;
  Tensor fenchel_young(const Tensor& x, const Indices& members,
                       const Temperature& tau = 1) const override;

 private:
  const GradTopKOptions options_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
