// EmaCodebook; see ema_codebook.hpp.
#include <xgrad/nn/vq/ema_codebook.hpp>

#include <numeric>

#include <xgrad/core/parallel.hpp>
#include <xgrad/nn/vq/kmeans.hpp>

namespace xgrad::inline XGRAD_PRECISION {

EmaCodebook::EmaCodebook(EmaCodebookOptions o)
    : TableCodebook("EmaCodebook", {.codes = o.codes,
                                    .dim = o.dim,
                                    .init = o.init,
                                    .restart_below = o.restart_below,
                                    .decay = o.decay,
                                    .seed = o.seed}),
      eps((require(o.eps >= 0, "EmaCodebook: eps must not be negative, got ", o.eps), o.eps)),
      sums(this, "sums", initial_table()),
      weight(this, "weight", initial_table()) {}

void EmaCodebook::move(const Tensor& z, const Indices& hits) {
  TableCodebook::move(z, hits);
  const std::size_t K = codes(), d = dim();
  const Tensor fresh = detail::sum_by_code(z, hits, K);
  const auto decay = static_cast<real>(options.decay);
  const real* count = counts.data();
  const double total = std::accumulate(count, count + K, 0.0);
  const double scale = total / (total + static_cast<double>(K) * eps);
  real *sum = sums.mutable_data(), *code = weight.mutable_data();
  parallel_for(K, 32768 / d, [&](std::size_t begin, std::size_t end) {
    for (std::size_t k = begin; k < end; ++k) {
      const bool stays = count[k] == 0 || count[k] < 10 * eps;
      const auto over = static_cast<real>(1 / ((count[k] + eps) * scale));
      for (std::size_t i = k * d; i < (k + 1) * d; ++i) {
        sum[i] = decay * sum[i] + (1 - decay) * fresh.data()[i];
        if (!stays) code[i] = sum[i] * over;
      }
    }
  });
}

void EmaCodebook::on_replaced(std::span<const std::int64_t> rows) {
  const std::size_t d = dim();
  for (const std::int64_t row : rows)
    for (std::size_t k = static_cast<std::size_t>(row), i = k * d; i < (k + 1) * d; ++i)
      sums.mutable_data()[i] = counts.data()[k] * weight.data()[i];
}

}  // namespace xgrad::inline XGRAD_PRECISION
