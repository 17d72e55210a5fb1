// The boundary of a row; see boundary.hpp. Bound by the selection, which moves numbers about and
// branches on them.
#include <xgrad/core/kernels/boundary.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include <xgrad/core/kernels/reduce_row.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

constexpr real far = real(1e30);
constexpr real none = -std::numeric_limits<real>::infinity();

Batch centred(const Batch& x, const Batch& c, const Batch& tau) {
  return xsimd::max(xsimd::min((x - c) / tau, Batch(far)), Batch(-far));
}

}  // namespace

std::size_t count_finite(const real* x, std::size_t n) {
  constexpr real highest = std::numeric_limits<real>::max();
  std::size_t finite = 0, wrong = 0;
  for (std::size_t i = 0; i < n; ++i) {
    finite += x[i] >= -highest;
    wrong += !(x[i] <= highest);
  }
  return wrong == 0 ? finite : npos;
}

Boundary find_boundary(const real* x, std::size_t n, std::size_t finite, double k, real tau,
                       real* scratch) {
  if (finite == n)
    std::copy_n(x, n, scratch);
  else
    std::copy_if(x, x + n, scratch, [](real value) { return value != none; });
  const auto count = static_cast<std::size_t>(std::ceil(k));
  std::nth_element(scratch, scratch + count - 1, scratch + finite, std::greater<>());
  const real c = scratch[count - 1];
  row::walk(finite, [=](auto part, std::size_t i) {
    part.store(scratch + i, centred(part.load(scratch + i), Batch(c), Batch(tau)));
  });
  const std::span<const real> top(scratch, count), rest(scratch + count, finite - count);
  const real next = row::fold(
      rest.size(), -far, [&](auto part, std::size_t i) { return part.load(&rest[i], -far); },
      [](const auto& a, const auto& b) {
        using std::max;
        return max(a, b);
      });
  return {top, rest, next, k, c};
}

void shift(const real* x, std::size_t n, double c, real tau, double threshold, real* z) {
  // In two parts, so that a large threshold is not rounded.
  const real high = static_cast<real>(threshold);
  const real low = std::isinf(high) ? 0 : static_cast<real>(threshold - high);
  row::walk(n, [=](auto part, std::size_t i) {
    const Batch from = part.load(x + i);
    const Batch v =
        (centred(from, Batch(static_cast<real>(c)), Batch(tau)) - Batch(high)) - Batch(low);
    part.store(z + i, xsimd::select(from == Batch(none), Batch(none), v));
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
