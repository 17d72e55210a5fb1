// Threshold: y = f(x/tau - t), with t such that the sum is k. f is the link.
// Which links there are: link.hpp.
#pragma once

#include <xgrad/nn/topk/link.hpp>
#include <xgrad/nn/topk/operator.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Threshold<Link> for links known at run time: its functions in a table.
class ThresholdTopK : public ConvexTopK {
 public:
  /// Fused, with no twin: a second derivative would need the link's.
  Tensor operator()(const Tensor& x, const TopKCount& k, const Temperature& tau = 1) const override;
  Tensor log_member(const Tensor& x, const Indices& targets, const TopKCount& k,
                    const Temperature& tau = 1) const override;
  Tensor fenchel_young(const Tensor& x, const Indices& members,
                       const Temperature& tau = 1) const override;

 protected:
  struct Functions {
    const char* name;
    void (*values)(std::span<const real>, real*);
    double (*slopes)(std::span<const real>, real*);
    double (*solve)(const kernels::Boundary&);
    double (*excess)(std::span<const real>) = nullptr;
    double at_one = 0;
    LogLink (*logarithm)(double) = nullptr;
  };
  explicit ThresholdTopK(const Functions& link) : link_(link) {}

 private:
  const Functions link_;
};

/// y_i = f(x_i/tau - t) with sum y = k: in [0, 1], in the order of x, unchanged by x + c. All of
/// the family have the gradient dx_i = w_i (g_i - <q, g>)/tau with w = f' and q = w/sum w, and <q,
/// g> is that of k, which may be any number in [0, n]. At equal tau links differ in sharpness: at a
/// boundary with a wide gap D the larger score gets 1 - e^(-D/tau) by min(1, exp) and GradTopK,
/// about 1 - e^(-D/(2 tau)) by sigmoid and Laplace. Su's essay 10373.
template <class Link>
struct Threshold : ThresholdTopK {
  Threshold() : ThresholdTopK(functions()) {}

 private:
  static Functions functions() {
    Functions link{Link::name, Link::values, Link::slopes, Link::solve};
    if constexpr (requires { Link::excess; }) {
      link.excess = Link::excess;
      link.at_one = Link::at_one;
    }
    if constexpr (requires { Link::logarithm; }) link.logarithm = Link::logarithm;
    return link;
  }
};

using SigmoidTopK = Threshold<SigmoidLink>;
using MinExpTopK = Threshold<MinExpLink>;
using LaplaceTopK = Threshold<LaplaceLink>;
template <int R>
using SparseTopK = Threshold<ClipPowLink<R>>;

/// Without a reason to take another: LaplaceTopK. Closed form, a gradient for every score.
inline Tensor soft_topk(const Tensor& x, const TopKCount& k, const Temperature& tau = 1) {
  return LaplaceTopK()(x, k, tau);
}

/// The plan of entropic optimal transport between the scores and the anchors 0 and 1, of mass
/// (n - k)/n and k/n, with cost (x_i - anchor)^2 and entropy weight eps, times n: SigmoidTopK at
/// tau = eps/2. Xie et al. 2020 (2002.06504).
Tensor soft_topk_ot(const Tensor& x, const TopKCount& k, const Temperature& eps);

/// The nearest point to x among those y >= 0 with sum 1: SparseTopK<1> at k = 1. Martins &
/// Astudillo 2016 (1602.02068).
Tensor sparsemax(const Tensor& x);
/// Between softmax and sparsemax: SparseTopK<2> at k = 1, tau = 2. Peters, Niculae & Martins 2019
/// (1905.05702).
Tensor entmax15(const Tensor& x);

}  // namespace xgrad::inline XGRAD_PRECISION
