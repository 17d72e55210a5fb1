// What every top-k operator does first: check its input, and go through the rows.
// For the operators' sources only.
#pragma once

#include <cmath>
#include <iterator>

#include <xgrad/core/kernels/boundary.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>
#include <xgrad/nn/topk/operator.hpp>

namespace xgrad::inline XGRAD_PRECISION::detail {

/// Checked input of an operator.
class ScoreRows {
 public:
  ScoreRows(const char* op, const Tensor& x, const TopKCount& k, real tau);

  /// k of a row: at most its number of finite scores.
  double k(std::size_t i) const { return std::min(k_, static_cast<double>(finite_[i])); }
  std::size_t finite(std::size_t i) const { return finite_[i]; }
  /// Whether a row has something to choose; if not, its mask is 0 or 1 throughout.
  bool has_choice(std::size_t i) const { return k(i) > 0 && k(i) < finite_[i]; }
  /// Throws unless k is a whole number.
  void require_whole(const char* op) const;

  std::size_t rows, n;
  real tau;

 private:
  double k_;
  std::vector<std::size_t> finite_;
};

/// Calls body(begin, end) for ranges of rows, on all threads.
template <class Body>
void for_row_ranges(std::size_t rows, std::size_t n, const Body& body) {
  parallel_for(rows, std::max<std::size_t>(1, 4096 / std::max<std::size_t>(1, n)), body);
}

/// dL/dtau of a function of (x + c)/tau, from z, which is x/tau but for a constant, and its dx.
double temperature_gradient(const real* z, const real* dx, std::size_t n);

/// Sums in a fixed order.
Tensor total(const std::vector<double>& per_row);

/// What a fused operator of this family says of its second derivative.
inline constexpr const char* no_twin = "operations of core/ops.hpp (it has no composite)";

/// The finite scores of a row, side by side, and back to their places.
class Finite {
 public:
  Finite(const real* x, std::size_t n, std::size_t finite) : x_(x), n_(n) {
    if (finite < n) std::copy_if(x, x + n, std::back_inserter(numbers_), is_finite);
  }
  std::span<const real> scores() const { return of(x_, numbers_); }
  /// The elements of another row that stand at finite scores.
  std::span<const real> select(const real* other, std::vector<real>& scratch) const {
    if (numbers_.empty()) return {other, n_};
    scratch.clear();
    for (std::size_t i = 0; i < n_; ++i)
      if (is_finite(x_[i])) scratch.push_back(other[i]);
    return scratch;
  }
  /// Spreads the first numbers of a row over the places of finite scores, 0 elsewhere.
  void spread(real* row) const {
    if (numbers_.empty()) return;
    for (std::size_t i = n_, j = numbers_.size(); i-- > 0;)
      row[i] = is_finite(x_[i]) ? row[--j] : 0;
  }

 private:
  static bool is_finite(real x) { return std::isfinite(x); }
  std::span<const real> of(const real* row, const std::vector<real>& few) const {
    return few.empty() ? std::span(row, n_) : std::span<const real>(few);
  }
  const real* x_;
  std::size_t n_;
  std::vector<real> numbers_;
};

/// Records an operator that is known row by row, where there is something to choose:
/// forward(x, k, tau, y), and vjp(x, k, tau, y, g, dx), which returns dL/dtau. Rows come without
/// masked scores. x and y stay on the tape.
template <class Forward, class Vjp>
Tensor record_rowwise(const char* op, const Tensor& x, const TopKCount& k, const Temperature& tau,
                      const Forward& forward, const Vjp& vjp) {
  const ScoreRows rows(op, x, k, tau.value(op));
  rows.require_whole(op);
  Tensor y = Tensor::empty(x.shape());
  const real* scores = x.data();
  real* to = y.mutable_data();
  for_row_ranges(rows.rows, rows.n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t at = i * rows.n;
      const Finite finite(scores + at, rows.n, rows.finite(i));
      if (rows.has_choice(i))
        forward(finite.scores(), static_cast<std::size_t>(rows.k(i)), rows.tau, to + at);
      else
        std::fill_n(to + at, rows.n, real(rows.k(i) > 0));
      finite.spread(to + at);
    }
  });
  const Tensor tau_tensor = tau.tensor();
  return record_fused(op, no_twin, {x, tau_tensor}, y, Keep::everything, [rows, vjp](RawPull& r) {
    const Tensor x = r.in(0), y = r.out(), grad = r.grad();
    Tensor dx = Tensor::empty(x.shape());
    real* to = dx.mutable_data();
    std::vector<double> dtau(rows.rows);
    for_row_ranges(rows.rows, rows.n, [&](std::size_t begin, std::size_t end) {
      std::vector<real> values, gradients;
      for (std::size_t i = begin; i < end; ++i) {
        const std::size_t at = i * rows.n;
        const Finite finite(x.data() + at, rows.n, rows.finite(i));
        if (rows.has_choice(i))
          dtau[i] = vjp(finite.scores(), static_cast<std::size_t>(rows.k(i)), rows.tau,
                        finite.select(y.data() + at, values).data(),
                        finite.select(grad.data() + at, gradients).data(), to + at);
        else
          std::fill_n(to + at, rows.n, real(0));
        finite.spread(to + at);
      }
    });
    r.to(1, total(dtau));
    r.to(0, std::move(dx));
  });
}

/// Checks that `targets` (...) name a finite score of each row of x.
void check_targets(const char* op, const Tensor& x, const Indices& targets);

/// Checks that `members` (..., k) name k different finite scores of each row of x.
void check_members(const char* op, const Tensor& x, const Indices& members);

/// Records the Fenchel-Young loss of an operator that is the gradient of a convex function, from
/// z = x/tau less the row's threshold (..., n), the mask y and, for each row, what is to be added
/// to the sum of max(z, 0) less that of the members' z.
Tensor record_fenchel_young(const Tensor& x, const Temperature& tau, const Indices& members,
                            const ScoreRows& rows, const Tensor& z, const Tensor& y,
                            const std::vector<double>& excess);

}  // namespace xgrad::inline XGRAD_PRECISION::detail
