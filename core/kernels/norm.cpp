// Layer norm and RMS norm; see norm.hpp.
// Bound by memory: a row is fetched once and visited two or three times in the first cache.
#include <xgrad/core/kernels/norm.hpp>

#include <cmath>

#include <xgrad/core/kernels/reduce.hpp>
#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

/// Forward for rows that are centred (layer norm: `mean` is written) or not (RMS norm: mean and
/// bias are null).
template <bool centred>
void normalize(const real* x, const real* weight, const real* bias, real eps, std::size_t rows,
               std::size_t n, real* y, real* mean, real* rstd) {
  parallel_for(rows, row::grain(n), [=](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const real* from = x + i * n;
      real* to = y + i * n;
      const real size = static_cast<real>(n);
      real centre = 0;
      if constexpr (centred)
        mean[i] = centre =
            row::sum(n, [=](auto part, std::size_t j) { return part.load(from + j); }) / size;
      // The deviations are squared, not x^2 - mean^2, which would cancel. A spare lane has
      // x = mean, deviation 0.
      const Batch shift(centre);
      const real square = row::sum(n, [=](auto part, std::size_t j) {
        const Batch deviation = part.load(from + j, centre) - shift;
        return deviation * deviation;
      });
      rstd[i] = 1 / std::sqrt(square / size + eps);
      const Batch scale(rstd[i]);
      row::walk(n, [=](auto part, std::size_t j) {
        const Batch scaled = (part.load(from + j) - shift) * scale * part.load(weight + j);
        if constexpr (centred)
          part.store(to + j, scaled + part.load(bias + j));
        else
          part.store(to + j, scaled);
      });
    }
  });
}

/// In the forward pass z = (x - mean) rstd and y = z weight + bias, so with g = dL/dy
///     dL/dbias = sum over rows of g,   dL/dweight = sum over rows of g z,
/// and with h = g weight = dL/dz, where mean and rstd depend on x too,
///     dL/dx = rstd (h - mean(h) - z mean(h z)).
/// mean(h) is the share of the centring; without centring it is absent.
/// The sums over rows are gathered per block of rows and the blocks then added in a fixed order.
template <bool centred>
void normalize_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                   const real* rstd, std::size_t rows, std::size_t n, NormGradients to) {
  const std::size_t height = std::max<std::size_t>(16, row::grain(n));
  const std::size_t blocks = (rows + height - 1) / height;
  const bool sums = to.weight || to.bias;
  const std::size_t partial = sums ? blocks * n : 0;
  const Ref<Buffer> scratch = Buffer::create(2 * partial);
  real *dweight = scratch->data(), *dbias = dweight + partial;  // (blocks, n)
  parallel_for(rows, height, [=](std::size_t begin, std::size_t end) {
    real *block_dweight = dweight, *block_dbias = dbias;
    if (sums) {
      std::fill_n(block_dweight += begin / height * n, n, real(0));
      std::fill_n(block_dbias += begin / height * n, n, real(0));
    }
    for (std::size_t i = begin; i < end; ++i) {
      const real *g = grad + i * n, *from = x + i * n;
      const Batch shift(centred ? mean[i] : 0), scale(rstd[i]);
      const auto h = [=](auto part, std::size_t j) {
        return part.load(g + j) * part.load(weight + j);
      };
      const auto z = [=](auto part, std::size_t j) {
        return (part.load(from + j) - shift) * scale;
      };
      if (sums)
        row::walk(n, [=](auto part, std::size_t j) {
          const Batch gj = part.load(g + j);
          part.store(block_dweight + j, part.load(block_dweight + j) + gj * z(part, j));
          if constexpr (centred) part.store(block_dbias + j, part.load(block_dbias + j) + gj);
        });
      if (to.x) {
        real* dx = to.x + i * n;
        const real size = static_cast<real>(n);
        const Batch mean_h(centred ? row::sum(n, h) / size : 0);
        const Batch mean_hz(
            row::sum(n, [=](auto part, std::size_t j) { return h(part, j) * z(part, j); }) / size);
        row::walk(n, [=](auto part, std::size_t j) {
          part.store(dx + j, scale * (h(part, j) - mean_h - z(part, j) * mean_hz));
        });
      }
    }
  });
  if (to.weight) sum(dweight, 1, blocks, n, to.weight);
  if (to.bias) sum(dbias, 1, blocks, n, to.bias);
}

}  // namespace

void layer_norm(const real* x, const real* weight, const real* bias, real eps, std::size_t rows,
                std::size_t n, real* y, real* mean, real* rstd) {
  normalize<true>(x, weight, bias, eps, rows, n, y, mean, rstd);
}
void rms_norm(const real* x, const real* weight, real eps, std::size_t rows, std::size_t n, real* y,
              real* rstd) {
  normalize<false>(x, weight, nullptr, eps, rows, n, y, nullptr, rstd);
}
void layer_norm_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                    const real* rstd, std::size_t rows, std::size_t n, NormGradients to) {
  normalize_vjp<true>(grad, x, weight, mean, rstd, rows, n, to);
}
void rms_norm_vjp(const real* grad, const real* x, const real* weight, const real* rstd,
                  std::size_t rows, std::size_t n, NormGradients to) {
  normalize_vjp<false>(grad, x, weight, nullptr, rstd, rows, n, to);
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
