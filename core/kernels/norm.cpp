// Layer norm, RMS norm and the norms of planes; see norm.hpp.
// Bound by memory: a row is fetched once and visited two or three times in the first cache, a set
// of planes likewise in the second, if it fits.
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
        row::prefetch(from + n + j);
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
      // All sums in one visit to the row, then what needs them.
      Batch sum_h(0), sum_hz(0);
      row::walk(n, [=, &sum_h, &sum_hz](auto part, std::size_t j) {
        const Batch gj = part.load(g + j), zj = z(part, j), hj = gj * part.load(weight + j);
        if (sums) {
          part.store(block_dweight + j, part.load(block_dweight + j) + gj * zj);
          if (centred) part.store(block_dbias + j, part.load(block_dbias + j) + gj);
        }
        if (centred) sum_h += hj;
        sum_hz += hj * zj;
      });
      if (!to.x) continue;
      const real size = static_cast<real>(n);
      const Batch mean_h(row::total(sum_h) / size), mean_hz(row::total(sum_hz) / size);
      row::walk(n, [=, dx = to.x + i * n](auto part, std::size_t j) {
        row::prefetch(g + n + j);
        row::prefetch(from + n + j);
        part.store(dx + j, scale * (h(part, j) - mean_h - z(part, j) * mean_hz));
      });
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

// ---- columns: batch norm of (samples, channels), where every plane is one number

namespace {

/// out[j] = sum over rows i of term(part, i, j): gathered per block of rows, the blocks then added
/// in a fixed order.
template <class Term>
void sum_rows(std::size_t rows, std::size_t n, real* out, const Term& term) {
  const std::size_t height = std::max<std::size_t>(16, row::grain(n));
  const std::size_t blocks = (rows + height - 1) / height;
  const Ref<Buffer> scratch = Buffer::create(blocks * n);
  parallel_for(rows, height, [&, partial = scratch->data()](std::size_t begin, std::size_t end) {
    real* to = partial + begin / height * n;
    std::fill_n(to, n, real(0));
    for (std::size_t i = begin; i < end; ++i)
      row::walk(n, [&, i](auto part, std::size_t j) {
        part.store(to + j, part.load(to + j) + term(part, i, j));
      });
  });
  sum(scratch->data(), 1, blocks, n, out);
}

/// y[i, j] = f(part, i, j), a row at a time.
template <class F>
void map_rows(std::size_t rows, std::size_t n, real* y, const F& f) {
  parallel_for(rows, row::grain(n), [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      row::walk(n, [&, i](auto part, std::size_t j) { part.store(y + i * n + j, f(part, i, j)); });
  });
}

void column_norm(const real* x, const real* weight, const real* bias, real eps, std::size_t rows,
                 std::size_t n, bool measure, real* y, real* mean, real* var) {
  const auto deviation = [=](auto part, std::size_t i, std::size_t j) {
    return part.load(x + i * n + j) - part.load(mean + j);
  };
  if (measure) {
    const real size = static_cast<real>(rows);
    sum_rows(rows, n, mean,
             [=](auto part, std::size_t i, std::size_t j) { return part.load(x + i * n + j); });
    for (std::size_t j = 0; j < n; ++j) mean[j] /= size;
    sum_rows(rows, n, var, [=](auto part, std::size_t i, std::size_t j) {
      return deviation(part, i, j) * deviation(part, i, j);
    });
    for (std::size_t j = 0; j < n; ++j) var[j] /= size;
  }
  const Ref<Buffer> scratch = Buffer::create(2 * n);
  real *scale = scratch->data(), *offset = scale + n;
  for (std::size_t j = 0; j < n; ++j) {
    scale[j] = (weight ? weight[j] : 1) / std::sqrt(var[j] + eps);
    offset[j] = bias ? bias[j] : 0;
  }
  map_rows(rows, n, y, [=](auto part, std::size_t i, std::size_t j) {
    return deviation(part, i, j) * part.load(scale + j) + part.load(offset + j);
  });
}

/// The rule of layer norm (above), by columns: dL/dx = rstd w (g - mean(g) - z mean(g z)).
void column_norm_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                     const real* var, real eps, std::size_t rows, std::size_t n, bool measured,
                     NormGradients to) {
  const Ref<Buffer> scratch = Buffer::create(6 * n);
  real *rstd = scratch->data(), *sum_g = rstd + n, *sum_gz = sum_g + n;
  real *scale = sum_gz + n, *centre = scale + n, *slope = centre + n;
  const auto g = [=](auto part, std::size_t i, std::size_t j) {
    return part.load(grad + i * n + j);
  };
  const auto z = [=](auto part, std::size_t i, std::size_t j) {
    return (part.load(x + i * n + j) - part.load(mean + j)) * part.load(rstd + j);
  };
  for (std::size_t j = 0; j < n; ++j) rstd[j] = 1 / std::sqrt(var[j] + eps);
  if (measured || to.bias) sum_rows(rows, n, sum_g, g);
  if (measured || to.weight)
    sum_rows(rows, n, sum_gz, [=](auto part, std::size_t i, std::size_t j) {
      return g(part, i, j) * z(part, i, j);
    });
  if (to.bias) std::copy_n(sum_g, n, to.bias);
  if (to.weight) std::copy_n(sum_gz, n, to.weight);
  if (!to.x) return;
  for (std::size_t j = 0; j < n; ++j) {
    scale[j] = weight ? rstd[j] * weight[j] : rstd[j];
    centre[j] = measured ? scale[j] * sum_g[j] / static_cast<real>(rows) : 0;
    slope[j] = measured ? scale[j] * sum_gz[j] / static_cast<real>(rows) : 0;
  }
  map_rows(rows, n, to.x, [=](auto part, std::size_t i, std::size_t j) {
    return part.load(scale + j) * g(part, i, j) - part.load(centre + j) -
           z(part, i, j) * part.load(slope + j);
  });
}

}  // namespace

// ---- sets of planes

namespace {

/// Calls body(set, planes) for every set; planes(visit) calls visit(plane, channel) for each of the
/// set's planes in turn.
template <class Body>
void for_each_set(const Planes& p, const Body& body) {
  parallel_for(p.sets, row::grain(p.count * p.size), [&](std::size_t begin, std::size_t end) {
    for (std::size_t set = begin; set < end; ++set)
      body(set, [&, set](const auto& visit) {
        for (std::size_t i = 0; i < p.count; ++i) {
          const std::size_t plane = set * p.apart + i * p.step;
          visit(plane, plane % p.channels);
        }
      });
  });
}

}  // namespace

void plane_norm(const real* x, const real* weight, const real* bias, real eps, Planes p,
                bool measure, real* y, real* mean, real* var) {
  if (p.size == 1 && p.sets == p.channels && p.step == p.channels)
    return column_norm(x, weight, bias, eps, p.samples, p.channels, measure, y, mean, var);
  const double size = static_cast<double>(p.count * p.size);
  for_each_set(p, [=](std::size_t set, const auto& planes) {
    if (measure) {
      double sum = 0, square = 0;
      planes([&](std::size_t plane, std::size_t) {
        sum += row::sum(p.size, [from = x + plane * p.size](auto part, std::size_t j) {
          return part.load(from + j);
        });
      });
      const real centre = mean[set] = static_cast<real>(sum / size);
      const Batch shift(centre);
      planes([&](std::size_t plane, std::size_t) {
        square += row::sum(p.size, [=, from = x + plane * p.size](auto part, std::size_t j) {
          const Batch deviation = part.load(from + j, centre) - shift;
          return deviation * deviation;
        });
      });
      var[set] = static_cast<real>(square / size);
    }
    const Batch shift(mean[set]);
    const real rstd = 1 / std::sqrt(var[set] + eps);
    planes([&](std::size_t plane, std::size_t channel) {
      const Batch scale(weight ? rstd * weight[channel] : rstd), offset(bias ? bias[channel] : 0);
      const real* from = x + plane * p.size;
      real* to = y + plane * p.size;
      row::walk(p.size, [=](auto part, std::size_t j) {
        part.store(to + j, (part.load(from + j) - shift) * scale + offset);
      });
    });
  });
}

/// The rule of layer norm (above), with sums over planes as its bricks. With z = (x - mean) rstd,
/// g = dL/dy and w the weight of a plane's channel,
///     dL/dbias = sum over a channel's planes of G,    G = sum of g over a plane,
///     dL/dweight = the same of H,                     H = sum of g z over a plane,
///     dL/dx = rstd (w g - (sum over the set's planes of w G + z w H) / size).
/// Where mean and var are constants, the sum over the set is absent.
void plane_norm_vjp(const real* grad, const real* x, const real* weight, const real* mean,
                    const real* var, real eps, Planes p, bool measured, NormGradients to) {
  if (p.size == 1 && p.sets == p.channels && p.step == p.channels)
    return column_norm_vjp(grad, x, weight, mean, var, eps, p.samples, p.channels, measured, to);
  const std::size_t count = p.samples * p.channels;
  const bool sums = to.weight || to.bias || measured;
  const Ref<Buffer> scratch = Buffer::create(2 * count);
  real *plane_g = scratch->data(), *plane_h = plane_g + count;  // G and H, (samples, channels)
  for_each_set(p, [=](std::size_t set, const auto& planes) {
    const real rstd = 1 / std::sqrt(var[set] + eps);
    const Batch shift(mean[set]), scale(rstd);
    double sum_g = 0, sum_h = 0;  // over the set, of w G and w H
    if (sums)
      planes([&](std::size_t plane, std::size_t channel) {
        const real *g = grad + plane * p.size, *from = x + plane * p.size;
        plane_g[plane] =
            row::sum(p.size, [=](auto part, std::size_t j) { return part.load(g + j); });
        plane_h[plane] = row::sum(p.size, [=](auto part, std::size_t j) {
          return part.load(g + j) * (part.load(from + j) - shift) * scale;
        });
        const double w = weight ? weight[channel] : 1;
        sum_g += w * plane_g[plane];
        sum_h += w * plane_h[plane];
      });
    if (!to.x) return;
    const double share = measured ? rstd / static_cast<double>(p.count * p.size) : 0;
    const Batch centre(static_cast<real>(share * sum_g)),
        slope(static_cast<real>(share * sum_h * rstd));
    planes([&](std::size_t plane, std::size_t channel) {
      const Batch w(weight ? rstd * weight[channel] : rstd);
      const real *g = grad + plane * p.size, *from = x + plane * p.size;
      real* dx = to.x + plane * p.size;
      row::walk(p.size, [=](auto part, std::size_t j) {
        part.store(dx + j, w * part.load(g + j) - centre - (part.load(from + j) - shift) * slope);
      });
    });
  });
  if (to.weight) sum(plane_h, 1, p.samples, p.channels, to.weight);
  if (to.bias) sum(plane_g, 1, p.samples, p.channels, to.bias);
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
