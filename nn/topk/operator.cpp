// What top-k operators share; see operator.hpp and rows.hpp.
#include <xgrad/nn/topk/operator.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <xgrad/nn/topk/rows.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

double only_number(const char* op, const char* what, const Tensor& x) {
  require<ShapeError>(x.size() == 1, op, ": ", what, " must be one number, got shape ", x.shape());
  return x.item();
}

}  // namespace

real Temperature::value(const char* op) const {
  return tensor_.defined() ? static_cast<real>(only_number(op, "the temperature", tensor_))
                           : value_;
}

double TopKCount::value(const char* op) const {
  return tensor_.defined() ? only_number(op, "k", tensor_) : value_;
}

TopKCount at_most(TopKCount k) {
  k.at_most_ = true;
  return k;
}

namespace detail {

ScoreRows::ScoreRows(const char* op, const Tensor& x, const TopKCount& k, real tau)
    : tau(tau), k_(k.value(op)) {
  require<ShapeError>(x.ndim() >= 1, op, ": scores need at least 1 axis, got shape ()");
  require(tau > 0 && std::isfinite(tau), op, ": the temperature must be positive and finite, got ",
          tau);
  require(k_ >= 0 && std::isfinite(k_), op, ": k must be at least 0, got ", k_);
  n = x.size(-1);
  rows = n == 0 ? 0 : x.size() / n;
  if (!k.is_at_most())
    require(k_ <= static_cast<double>(n), op, ": k = ", k_, " exceeds the ", n, " scores of a row");
  finite_.resize(rows);
  const real* scores = x.data();
  for_row_ranges(rows, n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) finite_[i] = kernels::count_finite(scores + i * n, n);
  });
  for (std::size_t i = 0; i < rows; ++i) {
    if (finite_[i] == kernels::npos) {
      const real* row = scores + i * n;
      const auto wrong = std::find_if(
          row, row + n, [](real s) { return std::isnan(s) || (std::isinf(s) && s > 0); });
      require(false, op, ": score ", wrong - row, " of row ", i, " is ",
              std::isnan(*wrong) ? "NaN" : "inf");
    }
    if (!k.is_at_most())
      require(k_ <= static_cast<double>(finite_[i]), op, ": k = ", k_, " exceeds the ", finite_[i],
              " finite scores of row ", i, "; at_most(k) takes as many as there are");
  }
}

void ScoreRows::require_whole(const char* op) const {
  require(k_ == std::floor(k_), op, ": k must be a whole number, got ", k_);
}

double temperature_gradient(const real* z, const real* dx, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (dx[i] != 0) sum -= static_cast<double>(z[i]) * dx[i];
  return sum;
}

Tensor total(const std::vector<double>& per_row) {
  return scalar(static_cast<real>(std::accumulate(per_row.begin(), per_row.end(), 0.0)));
}

namespace {

void check_id(const char* op, const char* what, const real* row, std::size_t n, std::size_t i,
              std::int64_t id) {
  require(id >= 0 && id < static_cast<std::int64_t>(n), op, ": ", what, " ", i, " is ", id,
          ", outside [0, ", n, ")");
  require(!std::isinf(row[id]), op, ": ", what, " ", i, " is ", id, ", whose score is masked");
}

Shape leading(const Tensor& x, const char* op) {
  require<ShapeError>(x.ndim() >= 1, op, ": scores need at least 1 axis, got shape ()");
  return Shape(x.shape().begin(), x.shape().end() - 1);
}

}  // namespace

void check_targets(const char* op, const Tensor& x, const Indices& targets) {
  const Shape expected = leading(x, op), shape(targets.shape().begin(), targets.shape().end());
  require<ShapeError>(shape == expected, op, ": scores ", x.shape(),
                      " need one target per row: targets have shape ", shape, ", expected ",
                      expected);
  const std::size_t n = x.size(-1);
  for (std::size_t i = 0; i < targets.size(); ++i)
    check_id(op, "target", x.data() + i * n, n, i, targets.data()[i]);
}

void check_members(const char* op, const Tensor& x, const Indices& members) {
  Shape expected = leading(x, op);
  const Shape shape(members.shape().begin(), members.shape().end());
  require<ShapeError>(
      shape.size() == x.ndim() && std::equal(expected.begin(), expected.end(), shape.begin()), op,
      ": scores ", x.shape(), " need members ", expected, " + (k,), got shape ", shape);
  const std::size_t n = x.size(-1), k = shape.back();
  std::vector<std::size_t> last(n, members.size());
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::int64_t id = members.data()[i];
    const std::size_t row = i / k;
    check_id(op, "member", x.data() + row * n, n, i, id);
    require(last[id] != row, op, ": member ", i, " is ", id, " again");
    last[id] = row;
  }
}

Tensor record_fenchel_young(const Tensor& x, const Temperature& tau, const Indices& members,
                            const ScoreRows& rows, const Tensor& z, const Tensor& y,
                            const std::vector<double>& excess) {
  const std::size_t n = rows.n, k = members.shape().back();
  Tensor losses = Tensor::empty(Shape(x.shape().begin(), x.shape().end() - 1));
  Tensor dx = y.clone();  // (y - 1_Y)/tau, but for the division
  real *loss = losses.mutable_data(), *d = dx.mutable_data();
  for (std::size_t i = 0; i < rows.rows; ++i) {
    const real* zi = z.data() + i * n;
    for (std::size_t j = 0; j < k; ++j) d[i * n + members.data()[i * k + j]] -= 1;
    loss[i] = 0;
    if (!rows.has_choice(i)) continue;
    double sum = excess[i];
    for (std::size_t j = 0; j < n; ++j) sum += std::max(zi[j], real(0));
    for (std::size_t j = 0; j < k; ++j) sum -= zi[members.data()[i * k + j]];
    loss[i] = static_cast<real>(sum);
  }
  const Tensor tau_tensor = tau.tensor();
  return record_fused("fenchel_young", no_twin, {x, tau_tensor}, losses, Keep::nothing,
                      [z, dx, n, tau = rows.tau](RawPull& r) {
                        Shape column = Tensor(r.grad()).shape();
                        column.push_back(1);
                        const Tensor down = dx * (reshape(r.grad(), column) / tau);
                        if (r.needs(1)) {
                          std::vector<double> dtau(n == 0 ? 0 : dx.size() / n);
                          for (std::size_t i = 0; i < dtau.size(); ++i)
                            dtau[i] =
                                temperature_gradient(z.data() + i * n, down.data() + i * n, n);
                          r.to(1, total(dtau));
                        }
                        r.to(0, down);
                      });
}

}  // namespace detail

Tensor hard_topk(const Tensor& x, const TopKCount& k) {
  const detail::ScoreRows rows("hard_topk", x, k, 1);
  rows.require_whole("hard_topk");
  const std::size_t n = rows.n;
  Tensor y = zeros(x.shape());
  const real* from = x.data();
  real* to = y.mutable_data();
  detail::for_row_ranges(rows.rows, n, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto count = static_cast<std::size_t>(rows.k(i));
      if (count == 0) continue;
      const real* row = from + i * n;
      const real last = kernels::select_largest(row, n, count);
      std::size_t above = 0;
      for (std::size_t j = 0; j < n; ++j) {
        to[i * n + j] = row[j] > last;
        above += row[j] > last;
      }
      // The first of those that are equal to the last.
      for (std::size_t j = 0, left = count - above; left > 0; ++j)
        if (row[j] == last) {
          to[i * n + j] = 1;
          --left;
        }
    }
  });
  return y;
}

Tensor TopK::log_member(const Tensor& x, const Indices& targets, const TopKCount& k,
                        const Temperature& tau) const {
  Indices ids = targets;
  Shape shape(targets.shape().begin(), targets.shape().end());
  shape.push_back(1);
  ids.reshape(shape);
  return log(squeeze(gather((*this)(x, k, tau), -1, ids), -1));
}

// 23 random bits and a half keep U away from 0 and from 1, where G is infinite.
Tensor add_gumbel(const Tensor& x, real scale, Rng& rng) {
  constexpr real steps = sizeof(real) == 4 ? real(0x1p23) : real(0x1p32);
  const Tensor u = (floor(rand(x.shape(), rng) * steps) + real(0.5)) / steps;
  return x - scale * log(-log(u));
}

}  // namespace xgrad::inline XGRAD_PRECISION
