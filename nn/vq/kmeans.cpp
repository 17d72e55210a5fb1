// k-means; see kmeans.hpp.
#include <xgrad/nn/vq/kmeans.hpp>

#include <algorithm>
#include <span>

#include <xgrad/core/kernels/gather.hpp>
#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace detail {

Tensor count_codes(const Indices& codes, std::size_t K) {
  Tensor counts = zeros({K});
  for (const std::int64_t code : codes) ++counts.mutable_data()[code];
  return counts;
}

Tensor sum_by_code(const Tensor& z, const Indices& codes, std::size_t K) {
  Tensor sums = zeros({K, z.size(-1)});
  kernels::scatter_add({1, K, codes.size(), z.size(-1), true}, codes.data(), z.data(),
                       sums.mutable_data());
  return sums;
}

}  // namespace detail

Clusters lloyd(const Tensor& z, Tensor means, std::size_t iterations,
               const Assignment& assignment) {
  require(iterations >= 1, "lloyd: needs at least 1 iteration");
  const Pause pause;
  Tensor counts;
  const std::size_t K = means.size(0);
  for (std::size_t i = 0; i < iterations; ++i) {
    const Indices codes = nearest(z, means);
    counts = detail::count_codes(codes, K);
    const Tensor joined = reshape(counts, {K, 1}), sums = detail::sum_by_code(z, codes, K);
    means = where(joined, assignment.map(sums / maximum(joined, scalar(1))), means);
  }
  return {means, counts};
}

Clusters kmeans(const Tensor& z, const KMeansOptions& options, Rng rng) {
  const std::size_t K = options.clusters, d = z.size(-1), rows = z.size() / d;
  require(K >= 1, "kmeans: needs at least 1 cluster");
  require<ShapeError>(rows >= 1, "kmeans: no vectors in an input of shape ", z.shape());
  const std::vector<std::int64_t> order = rng.permutation(static_cast<std::int64_t>(rows));
  Tensor means = Tensor::empty(Shape{K, d});
  real* mean = means.mutable_data();
  for (std::size_t k = 0; k < K; ++k, mean += d) {
    const std::size_t row = k < rows ? static_cast<std::size_t>(order[k]) : rng.below(rows);
    std::copy_n(z.data() + row * d, d, mean);
    if (k < rows) continue;
    std::vector<real> jitter(d);
    rng.fill_normal(jitter, 1, real(1e-3));
    std::ranges::transform(jitter, std::span(mean, d), mean, std::multiplies<>());
  }
  return lloyd(z, options.assignment.map(means), options.iterations, options.assignment);
}

}  // namespace xgrad::inline XGRAD_PRECISION
