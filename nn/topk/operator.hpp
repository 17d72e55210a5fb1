// Top-k operators: scores in, a mask out that has k ones, or nearly, and a derivative.
// The smooth ones are threshold.hpp, grad_topk.hpp and iterated.hpp; here is what they share.
#pragma once

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// How soft a mask is: an operator sees x/tau. A number, or a 0-d tensor that gets a gradient.
class Temperature {
 public:
  Temperature(real tau) : value_(tau) {}                       // NOLINT: implicit by purpose
  Temperature(const Tensor& tau) : value_(0), tensor_(tau) {}  // NOLINT: implicit by purpose
  /// Throws unless it is one number.
  real value(const char* op) const;
  Tensor tensor() const { return tensor_.defined() ? tensor_ : scalar(value_); }

 private:
  real value_;
  Tensor tensor_;
};

/// How many ones a mask has. A number, whole except where an operator says otherwise, or a 0-d
/// tensor, which gets a gradient from operators that take any real k.
class TopKCount {
 public:
  template <class Number>
  requires std::is_arithmetic_v<Number> TopKCount(Number k)
      : value_(static_cast<double>(k)) {}                // NOLINT: implicit by purpose
  TopKCount(const Tensor& k) : value_(0), tensor_(k) {}  // NOLINT: implicit by purpose
  double value(const char* op) const;
  Tensor tensor() const { return tensor_.defined() ? tensor_ : scalar(static_cast<real>(value_)); }
  bool is_tensor() const { return tensor_.defined(); }
  /// Whether a row with fewer scores than k is to have them all, and not to be refused.
  bool is_at_most() const { return at_most_; }

 private:
  friend TopKCount at_most(TopKCount k);
  double value_;
  Tensor tensor_;
  bool at_most_ = false;
};

/// k, or all the finite scores of a row that has fewer: `op(scores, at_most(8), tau)` for
/// attention, whose first queries see fewer than 8 keys.
TopKCount at_most(TopKCount k);

/// From scores x (..., n) to a mask y (..., n) along the last axis, each row for itself:
/// approximately 1 at the k largest and 0 elsewhere, exactly so as tau -> 0 unless the k-th largest
/// has an equal beyond it. -inf masks a score: y and its gradient are 0, and the row is as if it
/// were not there. k = 0 gives zeros and k = n ones, both with gradient 0. What an operator
/// promises besides (y in [0, 1], sum y = k, order kept, x + c the same as x) is said with it; all
/// four hold for Threshold and GradTopK. O(n) numbers per row stay on the tape.
///
/// Throws ShapeError for a 0-d x, std::invalid_argument where a score is NaN or +inf, where k < 0
/// or k exceeds a row's finite scores, and unless tau is positive and finite. An operator of your
/// own derives from this. Su's essay 10373.
struct TopK {
  virtual ~TopK() = default;
  virtual Tensor operator()(const Tensor& x, const TopKCount& k,
                            const Temperature& tau = 1) const = 0;
  /// log y[..., target] with targets (...) -> (...): as accurate as the operator can.
  virtual Tensor log_member(const Tensor& x, const Indices& targets, const TopKCount& k,
                            const Temperature& tau = 1) const;
};

/// One that is the gradient of a convex function, as Threshold and GradTopK are.
struct ConvexTopK : TopK {
  /// The Fenchel-Young loss of each row against a set Y of k scores, `members` (..., k) -> (...):
  /// convex in x, never negative, with gradient (y - 1_Y)/tau. Throws std::invalid_argument for
  /// members that repeat or lie outside the row, or that are masked. Blondel, Martins & Niculae
  /// 2020 (1901.02324).
  virtual Tensor fenchel_young(const Tensor& x, const Indices& members,
                               const Temperature& tau = 1) const = 0;
};

/// The mask itself: 1 at the k largest of each row, of equals the first ones. A constant.
Tensor hard_topk(const Tensor& x, const TopKCount& k);

/// The numbers of hard_topk, the gradient of `op`.
template <class Op>
struct StraightThroughTopK : TopK {
  StraightThroughTopK() = default;
  explicit StraightThroughTopK(Op op) : op(std::move(op)) {}
  Tensor operator()(const Tensor& x, const TopKCount& k,
                    const Temperature& tau = 1) const override {
    return straight_through(hard_topk(x, k), op(x, k, tau));
  }
  Op op{};
};

/// x + scale G with independent G = -log(-log U), U uniform in (0, 1).
Tensor add_gumbel(const Tensor& x, real scale, Rng& rng);

/// `op` of scores with Gumbel noise: a random mask, anew with every call. The k largest of them are
/// a sample without replacement (Plackett-Luce) if scale = tau = 1; that score i is among them has
/// another probability than GradTopK gives it. To have samples that are masks, let `op` be straight
/// through. No noise without a generator: evaluation. Kool et al. 2019 (1903.06059), Xie & Ermon
/// 2019 (1901.10517).
template <class Op>
struct GumbelTopK : TopK {
  GumbelTopK() = default;
  explicit GumbelTopK(Op op, real scale = 1, Rng* rng = nullptr)
      : op(std::move(op)), scale(scale), rng(rng) {}
  Tensor operator()(const Tensor& x, const TopKCount& k,
                    const Temperature& tau = 1) const override {
    return op(rng ? add_gumbel(x, scale, *rng) : x, k, tau);
  }
  Op op{};
  real scale = 1;
  Rng* rng = nullptr;
};

}  // namespace xgrad::inline XGRAD_PRECISION
