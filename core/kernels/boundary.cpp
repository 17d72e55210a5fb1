// The boundary of a row; see boundary.hpp. Bound by the selection, a dozen passes that count; a row
// of up to some 100 000 numbers stays in the second cache meanwhile.
#include <xgrad/core/kernels/boundary.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include <xgrad/core/kernels/reduce_row.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

constexpr real far = real(1e30);
constexpr real infinity = std::numeric_limits<real>::infinity();

/// A row as divided by a number: how many are at or above it, the least of those, and the largest
/// of the others.
struct Division {
  std::size_t count;
  real low, high;
};

template <class Compare>
Division divide(const real* x, std::size_t n, const Compare& is_above) {
  Division result{0, infinity, -infinity};
  constexpr std::size_t stretch = std::size_t{1} << 20;  // whose count a lane can hold
  for (std::size_t begin = 0; begin < n; begin += stretch) {
    Batch count(real(0)), low(infinity), high(-infinity);
    row::walk(std::min(stretch, n - begin), [&](auto part, std::size_t i) {
      const Batch v = part.load(x + begin + i, -infinity);
      const auto above = is_above(v);
      count = count + xsimd::select(above, Batch(real(1)), Batch(real(0)));
      low = xsimd::min(low, xsimd::select(above, v, Batch(infinity)));
      high = xsimd::max(high, xsimd::select(above, Batch(-infinity), v));
    });
    result.count += static_cast<std::size_t>(row::total(count));
    result.low =
        std::min(result.low, row::fold_lanes(low, [](real a, real b) { return std::min(a, b); }));
    result.high =
        std::max(result.high, row::fold_lanes(high, [](real a, real b) { return std::max(a, b); }));
  }
  return result;
}

/// Numbers as integers in the same order, to halve a range of them in steps that do not depend on
/// how large they are.
using Bits = std::conditional_t<sizeof(real) == 4, std::int32_t, std::int64_t>;
Bits ordered(real x) {
  const Bits bits = std::bit_cast<Bits>(x);
  return bits < 0 ? std::numeric_limits<Bits>::min() - bits : bits;
}
real number(Bits bits) {
  return std::bit_cast<real>(bits < 0 ? std::numeric_limits<Bits>::min() - bits : bits);
}
real halfway(real low, real high) {
  const Bits a = ordered(low), b = ordered(high);
  return number((a & b) + ((a ^ b) >> 1) + ((a ^ b) & 1));  // rounded up
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

// The number lies in [low, high], both of the row. Where the row is divided next is guessed: the
// logarithm of the odds of being above it is taken for a line between what is known of low and
// high, which bell-shaped scores nearly make it. Every third time the range is halved, in case they
// are not.
real select_largest(const real* x, std::size_t n, std::size_t count) {
  const auto log_odds = [n](double above) {
    return std::log((above + 0.5) / (static_cast<double>(n) - above + 0.5));
  };
  const Division all = divide(x, n, [](const Batch& v) { return v > Batch(-infinity); });
  if (count > all.count) return -infinity;
  const double goal = log_odds(static_cast<double>(count) - 0.5);
  real low = all.low,
       high = row::fold(
           n, -infinity, [x](auto part, std::size_t i) { return part.load(x + i, -infinity); },
           [](const auto&a, const auto&b) {
             using std::max;
             return max(a, b);
           });
  double at_low = log_odds(static_cast<double>(all.count)), at_high = log_odds(0);
  for (int i = 1; low < high; ++i) {
    real middle = halfway(low, high);
    if (i % 3 != 0) {
      const double guess =
          low + (static_cast<double>(high) - low) * (at_low - goal) / (at_low - at_high);
      if (guess > low && guess <= high)
        middle = std::clamp(static_cast<real>(guess), std::nextafter(low, high), high);
    }
    const Division at = divide(x, n, [middle](const Batch& v) { return v >= Batch(middle); });
    if (at.count >= count) {
      low = at.low;
      at_low = log_odds(static_cast<double>(at.count));
      if (at.count == count) break;
    } else {
      high = at.high;
      at_high = log_odds(static_cast<double>(at.count));
      if (at.count + 1 == count) return high;
    }
  }
  return low;
}

Boundary find_boundary(const real* x, std::size_t n, std::size_t finite, double k, real tau,
                       real* v) {
  const auto count = static_cast<std::size_t>(std::ceil(k));
  const Batch c(select_largest(x, n, count)), divisor(tau), none(-infinity);
  row::walk(n, [=](auto part, std::size_t i) {
    const Batch xi = part.load(x + i), limited = xsimd::min((xi - c) / divisor, Batch(far));
    part.store(v + i, xsimd::select(xi == none, none, xsimd::max(limited, Batch(-far))));
  });
  const Division from = divide(v, n, [](const Batch&vi) { return vi >= Batch(real(0)); }),
                 beyond = divide(v, n, [](const Batch&vi) { return vi > Batch(real(0)); });
  return {{v, n},
          k,
          finite,
          count,
          beyond.count,
          from.count - beyond.count,
          from.count > count ? 0 : std::max(from.high, -far)};
}

void shift(const real* v, std::size_t n, double threshold, real* z) {
  // In two parts, so that a large threshold is not rounded.
  const real high = static_cast<real>(threshold), low = static_cast<real>(threshold - high);
  row::walk(n, [=](auto part, std::size_t i) {
    part.store(z + i, (part.load(v + i) - Batch(high)) - Batch(low));
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
