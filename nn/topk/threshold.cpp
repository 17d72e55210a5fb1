// The threshold family; see threshold.hpp. Forward solves for the threshold and keeps z = x/tau -
// t, from which backward has everything.
#include <xgrad/nn/topk/threshold.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/kernels/long_sum.hpp>
#include <xgrad/nn/topk/rows.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

namespace row = kernels::row;
using row::Batch;

/// z = x/tau - t for all rows.
template <class Solve>
void solve_rows(const detail::ScoreRows& rows, const real* x, const Solve& solve, real* z) {
  const std::size_t n = rows.n;
  detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const real* from = x + i * n;
      real* to = z + i * n;
      const double k = rows.k(i);
      if (rows.has_choice(i))
        kernels::shift(to, n,
                       solve(kernels::find_boundary(from, n, rows.finite(i), k, rows.tau, to)), to);
      else  // t = -infinity or infinity
        std::transform(from, from + n, to, [k](real score) {
          constexpr real infinity = std::numeric_limits<real>::infinity();
          return k > 0 && score != -infinity ? infinity : -infinity;
        });
    }
  });
}

double sum_of(const real* x, std::size_t n) {
  return row::long_sums<1>(
      n, [=](auto part, std::size_t j) { return std::array{part.load(x + j)}; })[0];
}

/// <w, g - shift>.
double product_of(const real* w, const real* g, real shift, std::size_t n) {
  return row::long_sums<1>(n, [=](auto part, std::size_t j) {
    return std::array{part.load(w + j) * (part.load(g + j) - Batch(shift))};
  })[0];
}

/// Turns weights w into factor w (g - <q, g>), q = w/sum w, and returns <q, g>. What rounding
/// leaves of <q, g - <q, g>> is taken off too: in a mask that is nearly hard one q is nearly 1 and
/// its g - <q, g> all that there is. A mask that is hard, or the whole row, has no weights: 0.
double spread(const real* g, std::size_t n, double factor, real* w) {
  const double sum = sum_of(w, n);
  if (sum == 0) return 0;
  const real mean = static_cast<real>(product_of(w, g, 0, n) / sum);
  const double left = product_of(w, g, mean, n) / sum;
  const Batch a(static_cast<real>(factor)), b(mean), c(static_cast<real>(left));
  row::walk(n, [=](auto part, std::size_t j) {
    part.store(w + j, a * part.load(w + j) * ((part.load(g + j) - b) - c));
  });
  return mean + left;
}

}  // namespace

// sum_i f(u_i - t) = k, differentiated, is sum_i w_i (du_i - dt) = dk: dt = <q, du> - dk/sum w. So
// dy_i = w_i (du_i - dt), and <g, dy> = <w (g - <q, g>), du> + <q, g> dk.
Tensor ThresholdTopK::operator()(const Tensor& x, const TopKCount& k,
                                 const Temperature& tau) const {
  const detail::ScoreRows rows(link_.name, x, k, tau.value(link_.name));
  const Tensor tau_tensor = tau.tensor(), k_tensor = k.tensor();
  Tensor y = Tensor::empty(x.shape());
  const bool keeps = detail::count_wanting({x, tau_tensor, k_tensor}) > 0;
  Tensor z = keeps ? Tensor::empty(x.shape()) : y;
  solve_rows(rows, x.data(), link_.solve, z.mutable_data());
  const std::size_t n = rows.n;
  const real* from = z.data();
  real* to = y.mutable_data();
  detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
    link_.values({from + begin * n, (end - begin) * n}, to + begin * n);
  });
  return record_fused(link_.name, detail::no_twin, {x, tau_tensor, k_tensor}, y, Keep::nothing,
                      [z, link = link_, tau = rows.tau](RawPull& r) {
                        const std::size_t n = z.size(-1), rows = n == 0 ? 0 : z.size() / n;
                        Tensor dx = Tensor::empty(z.shape());
                        std::vector<double> dtau(rows), dk(rows);
                        const real *numbers = z.data(), *grad = r.grad().data();
                        real* to = dx.mutable_data();
                        detail::for_row_ranges(rows, n, [&](std::size_t begin, std::size_t end) {
                          for (std::size_t i = begin; i < end; ++i) {
                            const real* zi = numbers + i * n;
                            real* dxi = to + i * n;
                            const double scale = link.slopes({zi, n}, dxi);
                            dk[i] = spread(grad + i * n, n, scale / tau, dxi);
                            if (r.needs(1)) dtau[i] = detail::temperature_gradient(zi, dxi, n);
                          }
                        });
                        r.to(1, detail::total(dtau));
                        r.to(2, detail::total(dk));
                        r.to(0, std::move(dx));
                      });
}

Tensor ThresholdTopK::fenchel_young(const Tensor& x, const Indices& members,
                                    const Temperature& tau) const {
  require<std::logic_error>(link_.excess != nullptr, link_.name, ": its link has no excess()");
  detail::check_members(link_.name, x, members);
  const double k = static_cast<double>(members.shape().back());
  const detail::ScoreRows rows(link_.name, x, k, tau.value(link_.name));
  const std::size_t n = rows.n;
  Tensor z = Tensor::empty(x.shape()), y = Tensor::empty(x.shape());
  solve_rows(rows, x.data(), link_.solve, z.mutable_data());
  std::vector<double> excess(rows.rows);
  const real* from = z.data();
  real* to = y.mutable_data();
  detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      link_.values({from + i * n, n}, to + i * n);
      excess[i] = link_.excess({from + i * n, n}) + k * link_.at_one;
    }
  });
  return detail::record_fenchel_young(x, tau, members, rows, z, y, excess);
}

// d log f(u_t - T)/du_j = (f'/f)(z_t) (1_{j = t} - q_j), T the threshold; by k it is
// (f'/f)(z_t)/sum w.
Tensor ThresholdTopK::log_member(const Tensor& x, const Indices& targets, const TopKCount& k,
                                 const Temperature& tau) const {
  require<std::logic_error>(link_.logarithm != nullptr, link_.name,
                            ": its link has no logarithm()");
  detail::check_targets(link_.name, x, targets);
  const detail::ScoreRows rows(link_.name, x, k, tau.value(link_.name));
  const std::size_t n = rows.n;
  Tensor z = Tensor::empty(x.shape());
  solve_rows(rows, x.data(), link_.solve, z.mutable_data());
  Tensor y = Tensor::empty(Shape(targets.shape().begin(), targets.shape().end()));
  for (std::size_t i = 0; i < rows.rows; ++i)
    y.mutable_data()[i] =
        static_cast<real>(link_.logarithm(z.data()[i * n + targets.data()[i]]).value);
  const Tensor tau_tensor = tau.tensor(), k_tensor = k.tensor();
  return record_fused(
      "topk_log_member", detail::no_twin, {x, tau_tensor, k_tensor}, y, Keep::nothing,
      [z, targets, link = link_, rows](RawPull& r) {
        const std::size_t n = rows.n;
        Tensor dx = Tensor::empty(z.shape());
        std::vector<double> dtau(rows.rows), dk(rows.rows);
        real* to = dx.mutable_data();
        const real* grad = r.grad().data();
        detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
          for (std::size_t i = begin; i < end; ++i) {
            const real* zi = z.data() + i * n;
            real* w = to + i * n;
            const std::size_t target = targets.data()[i];
            const double scale = link.slopes({zi, n}, w), sum = sum_of(w, n),
                         pull = grad[i] * link.logarithm(zi[target]).slope;
            const bool moves = sum > 0 && rows.has_choice(i);
            const real share = static_cast<real>(moves ? -pull / (sum * rows.tau) : 0);
            dk[i] = moves && scale > 0 ? pull / (sum * scale) : 0;
            for (std::size_t j = 0; j < n; ++j) w[j] *= share;
            if (moves) w[target] += static_cast<real>(pull / rows.tau);
            if (r.needs(1)) dtau[i] = detail::temperature_gradient(zi, w, n);
          }
        });
        r.to(1, detail::total(dtau));
        r.to(2, detail::total(dk));
        r.to(0, std::move(dx));
      });
}

Tensor soft_topk_ot(const Tensor& x, const TopKCount& k, const Temperature& eps) {
  return SigmoidTopK()(x, k, eps.tensor() / real(2));
}

Tensor sparsemax(const Tensor& x) { return SparseTopK<1>()(x, 1, 1); }
Tensor entmax15(const Tensor& x) { return SparseTopK<2>()(x, 1, 2); }

}  // namespace xgrad::inline XGRAD_PRECISION
