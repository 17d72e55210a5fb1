// GradTopK; see grad_topk.hpp.
#include <xgrad/nn/topk/grad_topk.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/kernels/subset.hpp>
#include <xgrad/nn/topk/link.hpp>
#include <xgrad/nn/topk/rows.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

constexpr const char* name = "GradTopK";

/// A row as events of which k happen: log-odds z = x/tau - t, tilted by the threshold of
/// SigmoidTopK so that k is their mean number, which is near the most probable one. Of more than
/// half it is rather the others that are drawn, with log-odds -z.
struct Events {
  Events(std::span<const real> x, std::size_t k, real tau, std::size_t leaf)
      : z(x.size()), flipped(2 * k > x.size()), count(flipped ? x.size() - k : k) {
    const std::size_t n = x.size();
    kernels::shift(z.data(), n,
                   SigmoidLink::solve(kernels::find_boundary(x.data(), n, n, static_cast<double>(k),
                                                             tau, z.data())),
                   z.data());
    if (flipped) flip(z.data(), [](real v) { return -v; });
    leaf_size = leaf > 0 ? leaf : kernels::subset_leaf(n, count);
  }
  kernels::Subset subset() const { return {z, count, leaf_size}; }
  template <class F>
  void flip(real* row, const F& f) const {
    std::transform(row, row + z.size(), row, f);
  }
  double inclusion(real* y) const {
    const double log_probability = kernels::subset_inclusion(subset(), y);
    if (flipped) flip(y, [](real v) { return 1 - v; });
    return log_probability;
  }

  std::vector<real> z;
  bool flipped;
  std::size_t count, leaf_size = 0;
};

}  // namespace

Tensor GradTopK::operator()(const Tensor& x, const TopKCount& k, const Temperature& tau) const {
  const std::size_t leaf = options_.leaf;
  return detail::record_rowwise(
      name, x, k, tau,
      [leaf](std::span<const real> x, std::size_t k, real tau, real* y) {
        Events(x, k, tau, leaf).inclusion(y);
      },
      [leaf](std::span<const real> x, std::size_t k, real tau, const real* y, const real* g,
             real* dx) {
        Events events(x, k, tau, leaf);
        const std::size_t n = x.size();
        std::vector<real> drawn(y, y + n);
        if (events.flipped) events.flip(drawn.data(), [](real v) { return 1 - v; });
        // The covariance of who is not drawn is that of who is.
        kernels::subset_covariance(events.subset(), drawn.data(), g, dx);
        for (std::size_t i = 0; i < n; ++i) dx[i] /= tau;
        const double dtau = detail::temperature_gradient(events.z.data(), dx, n);
        return events.flipped ? -dtau : dtau;
      });
}

// log sum_S exp(sum of u over S) - sum of u over Y, with u = z + t and as many in Y as in S. Of
// each z in the sum, 1 + e^z is the normalising factor of one event's probabilities.
Tensor GradTopK::fenchel_young(const Tensor& x, const Indices& members,
                               const Temperature& tau) const {
  detail::check_members(name, x, members);
  const detail::ScoreRows rows(name, x, members.shape().back(), tau.value(name));
  const std::size_t n = rows.n;
  Tensor z = Tensor::empty(x.shape()), y = Tensor::empty(x.shape());
  std::vector<double> excess(rows.rows);
  real *z_to = z.mutable_data(), *y_to = y.mutable_data();
  detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const detail::Finite finite(x.data() + i * n, n, rows.finite(i));
      real *zi = z_to + i * n, *yi = y_to + i * n;
      std::fill_n(zi, n, real(0));
      std::fill_n(yi, n, real(rows.k(i) > 0));
      if (rows.has_choice(i)) {
        Events events(finite.scores(), static_cast<std::size_t>(rows.k(i)), rows.tau,
                      options_.leaf);
        excess[i] = events.inclusion(yi) + SigmoidLink::excess(events.z);
        if (events.flipped) events.flip(events.z.data(), [](real v) { return -v; });
        std::copy(events.z.begin(), events.z.end(), zi);
      }
      finite.spread(zi);
      finite.spread(yi);
    }
  });
  return detail::record_fenchel_young(x, tau, members, rows, z, y, excess);
}

}  // namespace xgrad::inline XGRAD_PRECISION
