// Gradients of a quantizer's estimators; see estimator.hpp.
// Bound by memory for short rows' sake: a row of z, q and g is fetched once and visited three times
// in the first cache. No matrix is built: G^T g lies in the span of g, e and f.
#include <xgrad/core/kernels/estimator.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

struct Lengths {
  real z, q;
  bool below(real limit) const { return z < limit || q < limit; }
};

Lengths lengths(const real* z, const real* q, std::size_t d) {
  Batch zz(0), qq(0);
  row::walk(d, [=, &zz, &qq](auto part, std::size_t j) {
    const Batch a = part.load(z + j), b = part.load(q + j);
    zz = row::multiply_add(a, a, zz);
    qq = row::multiply_add(b, b, qq);
  });
  return {std::sqrt(xsimd::hadd(zz)), std::sqrt(xsimd::hadd(qq))};
}

/// G^T g = gamma (g + along_e e + along_w (e + f) + along_u (f - e)) with e = x z and f = y q.
struct Pulled {
  real x = 1, y = 1, gamma = 1, along_e = 0, along_w = 0, along_u = 0;
};

/// R^T g = g + 2 (f.g) e - 2 (w.g) w, and (I - e e^T) R^T g is that less (f.g) e, since R e = f.
/// |e + f|^2 and w.g are summed as they stand, not as 2 + 2 e.f and from e.g + f.g: near e = -f,
/// where both are small, those have lost their digits.
Pulled pull(const GradientMap& map, Degenerate limit, const real* g, const real* z, const real* q,
            std::size_t d) {
  Pulled p;
  if (map.directions) {
    const Lengths length = lengths(z, q, d);
    if (length.below(limit.length)) return {0, 0};
    p.x = 1 / length.z;
    p.y = 1 / length.q;
    if (map.scale) p.gamma = std::clamp(length.q * p.x, map.low, map.high);
  }
  Batch sum_ww(0), sum_wg(0), sum_uu(0), sum_ug(0), sum_fg(0);
  row::walk(d, [=, x = Batch(p.x), y = Batch(p.y), &sum_ww, &sum_wg, &sum_uu, &sum_ug, &sum_fg](
                   auto part, std::size_t j) {
    const Batch gj = part.load(g + j), e = x * part.load(z + j), f = y * part.load(q + j),
                w = e + f, u = f - e;
    sum_ww = row::multiply_add(w, w, sum_ww);
    sum_wg = row::multiply_add(w, gj, sum_wg);
    sum_uu = row::multiply_add(u, u, sum_uu);
    sum_ug = row::multiply_add(u, gj, sum_ug);
    sum_fg = row::multiply_add(f, gj, sum_fg);
  });
  const real t = xsimd::hadd(sum_ww) / 2;
  if ((map.turn && t < limit.turn) || (map.skip_obtuse && t < 1)) return {p.x, p.y};
  if (map.turn) {
    p.along_w = -xsimd::hadd(sum_wg) / t;
    p.along_e = (map.tangent ? 1 : 2) * xsimd::hadd(sum_fg);
  }
  if (map.shrink != 0) {
    const real uu = xsimd::hadd(sum_uu);
    // z = q: nothing to shrink along.
    const bool none = uu < (map.directions ? 2 * limit.turn : limit.length * limit.length);
    if (!none) p.along_u = -map.shrink * xsimd::hadd(sum_ug) / uu;
  }
  return p;
}

}  // namespace

Degenerate degenerate(const real* z, std::size_t rows, std::size_t d) {
  constexpr real unit = sizeof(real) == 4 ? real(1e-8) : real(1e-14);
  const std::size_t grain = row::grain(d);
  std::vector<double> squares((rows + grain - 1) / grain);
  parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    squares[begin / grain] = row::sum((end - begin) * d, [=](auto part, std::size_t j) {
      const Batch v = part.load(z + begin * d + j);
      return v * v;
    });
  });
  double total = 0;
  for (const double square : squares) total += square;
  const double rms = std::sqrt(total / static_cast<double>(std::max<std::size_t>(1, rows)));
  return {unit * (rms > 1 && std::isfinite(rms) ? static_cast<real>(rms) : 1)};
}

void estimator_vjp(const GradientMap& map, Degenerate limit, const real* g, const real* z,
                   const real* q, std::size_t rows, std::size_t d, real* dz, real* dq) {
  parallel_for(rows, row::grain(d), [=](std::size_t begin, std::size_t end) {
    for (std::size_t at = begin * d; at < end * d; at += d) {
      const Pulled p = pull(map, limit, g + at, z + at, q + at, d);
      const Batch x(p.x), y(p.y), gamma(p.gamma), along_e(p.along_e), along_w(p.along_w),
          along_u(p.along_u);
      row::walk(d, [=](auto part, std::size_t j) {
        const Batch gj = part.load(g + at + j), e = x * part.load(z + at + j),
                    f = y * part.load(q + at + j);
        const Batch pulled = gamma * (gj + along_e * e + along_w * (e + f) + along_u * (f - e));
        if (dz) part.store(dz + at + j, pulled);
        if (dq) part.store(dq + at + j, gj - pulled);
      });
    }
  });
}

AngleCounts count_angles(Degenerate limit, const real* z, const real* q, std::size_t rows,
                         std::size_t d) {
  std::atomic<std::size_t> obtuse = 0, degenerate = 0;
  parallel_for(rows, row::grain(d), [=, &obtuse, &degenerate](std::size_t begin, std::size_t end) {
    AngleCounts counts{0, 0};
    for (std::size_t at = begin * d; at < end * d; at += d) {
      const Lengths length = lengths(z + at, q + at, d);
      if (length.below(limit.length)) {
        ++counts.degenerate;
        continue;
      }
      const Batch x(1 / length.z), y(1 / length.q);
      const real t = row::sum(d,
                              [=](auto part, std::size_t j) {
                                const Batch w =
                                    x * part.load(z + at + j) + y * part.load(q + at + j);
                                return w * w;
                              }) /
                     2;
      counts.degenerate += t < limit.turn;
      counts.obtuse += t < 1;
    }
    obtuse += counts.obtuse;
    degenerate += counts.degenerate;
  });
  return {obtuse, degenerate};
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
