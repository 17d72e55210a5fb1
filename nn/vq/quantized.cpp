// Usage of codes; see quantized.hpp.
#include <xgrad/nn/vq/quantized.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/parallel.hpp>
#include <xgrad/nn/vq/estimator.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// Sums over rows of z and q, in double.
struct RowSums {
  double error = 0, z_norm = 0, q_norm = 0, z_square = 0;
  RowSums& operator+=(const RowSums& other) {
    error += other.error, z_norm += other.z_norm;
    q_norm += other.q_norm, z_square += other.z_square;
    return *this;
  }
};

RowSums sums_of(const real* z, const real* q, std::size_t rows, std::size_t d) {
  RowSums sums;
  for (std::size_t n = 0; n < rows; ++n, z += d, q += d) {
    real error = 0, zz = 0, qq = 0;
#pragma omp simd reduction(+ : error, zz, qq)
    for (std::size_t j = 0; j < d; ++j) {
      error += (z[j] - q[j]) * (z[j] - q[j]);
      zz += z[j] * z[j];
      qq += q[j] * q[j];
    }
    sums += {error, std::sqrt(zz), std::sqrt(qq), zz};
  }
  return sums;
}

double entropy_term(std::int64_t count, double total) {
  const double p = static_cast<double>(count) / total;
  return count > 0 ? -p * std::log(p) : 0;
}

}  // namespace

double perplexity(std::span<const std::int64_t> counts) {
  double total = 0, entropy = 0;
  for (const std::int64_t count : counts) total += static_cast<double>(count);
  if (total == 0) return 0;
  for (const std::int64_t count : counts) entropy += entropy_term(count, total);
  return std::exp(entropy);
}

double utilization(std::span<const std::int64_t> counts) {
  const auto unused = std::ranges::count(counts, 0);
  return counts.empty() ? 0 : 1 - static_cast<double>(unused) / static_cast<double>(counts.size());
}

Usage measure_usage(const Tensor& z, const Tensor& q, const Indices& codes, std::size_t K) {
  Usage usage = detail::measure_distances(z, q);
  std::vector<std::int64_t> hits;  // of all codes, or of those that were hit
  if (K <= Usage::max_counted) {
    hits.resize(K);
    for (const std::int64_t code : codes) ++hits[static_cast<std::size_t>(code)];
    usage.counts = hits;
  } else {
    std::vector<std::int64_t> sorted(codes.begin(), codes.end());
    std::ranges::sort(sorted);
    for (auto first = sorted.begin(); first != sorted.end();) {
      const auto last = std::upper_bound(first, sorted.end(), *first);
      hits.push_back(last - first);
      first = last;
    }
  }
  usage.perplexity = perplexity(hits);
  usage.utilization = utilization(hits) * static_cast<double>(hits.size()) / static_cast<double>(K);
  return usage;
}

namespace detail {

Usage measure_distances(const Tensor& z, const Tensor& q) {
  const std::size_t d = z.size(-1), rows = z.size() / d;
  constexpr std::size_t grain = 1024;
  std::vector<RowSums> blocks((rows + grain - 1) / grain);
  parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    blocks[begin / grain] = sums_of(z.data() + begin * d, q.data() + begin * d, end - begin, d);
  });
  RowSums sums;
  for (const RowSums& block : blocks) sums += block;

  const auto n = static_cast<double>(rows);
  const Tensor centre = mean(reshape(z.detach(), {-1, d}), 0);
  double spread = sums.z_square / n;  // to be the trace of z's covariance
  for (std::size_t j = 0; j < d; ++j)
    spread -= static_cast<double>(centre.data()[j]) * static_cast<double>(centre.data()[j]);
  const AngleCounts angles = count_angles(z.detach(), q.detach());
  Usage usage;
  usage.qerr = spread > 0 ? sums.error / n / spread : 0;
  usage.norm_ratio = sums.z_norm > 0 ? sums.q_norm / sums.z_norm : 0;
  usage.frac_degenerate = static_cast<double>(angles.degenerate) / n;
  usage.frac_obtuse = static_cast<double>(angles.obtuse) / n;
  return usage;
}

void check_vectors(const char* op, const Tensor& z, std::size_t dim) {
  require<ShapeError>(z.ndim() >= 1, op, ": input is 0-d, expected last axis ", dim);
  require<ShapeError>(z.size(-1) == dim, op, ": last axis of input ", z.shape(), " is ", z.size(-1),
                      ", expected ", dim,
                      z.ndim() == 4 && z.size(1) == dim
                          ? "; channels come last here: permute(z, {0, 2, 3, 1})"
                          : "");
  require<ShapeError>(z.size() > 0, op, ": no vectors in an input of shape ", z.shape());
}

void check_numbers(const char* op, const Tensor& z) {
  const real *const end = z.data() + z.size(), *const nan = std::find_if(z.data(), end, [](real x) {
                                                 return std::isnan(x);
                                               });
  require(nan == end, op, ": number ", nan - z.data(), " of the input is NaN");
}

void check_codes(const char* op, const Indices& codes, std::size_t K) {
  for (std::size_t i = 0; i < codes.size(); ++i)
    require(static_cast<std::size_t>(codes.data()[i]) < K, op, ": code ", codes.data()[i],
            " at position ", i, " is outside [0, ", K, ")");
}

Shape leading_shape(const Tensor& z) { return {z.shape().begin(), z.shape().end() - 1}; }

}  // namespace detail

}  // namespace xgrad::inline XGRAD_PRECISION
