// Order; see sort.hpp. Threads share the rows, so one long row has one thread.
#include <xgrad/core/kernels/sort.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <type_traits>
#include <vector>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using Bits = std::conditional_t<sizeof(real) == 4, std::uint32_t, std::uint64_t>;

// An integer that orders as x does, with one for all NaN and one for both zeros. The bits of
// positive numbers are in order already; those of negative ones, reversed, belong below.
Bits key_of(real x) {
  constexpr Bits sign = Bits(1) << (8 * sizeof(real) - 1);
  if (std::isnan(x)) return static_cast<Bits>(-1);
  const Bits bits = std::bit_cast<Bits>(x + real(0));  // -0 + 0 = 0
  return bits & sign ? ~bits : bits | sign;
}

}  // namespace

void order(const Line& line, std::size_t count, bool descending, const real* x, std::int64_t* ids) {
  const std::size_t size = line.n, inner = line.inner;
  if (size == 0) return;
  parallel_for(line.outer * inner, 4096 / size, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<Bits, std::int64_t>> items(size);  // positions break ties
    const auto head = items.begin() + static_cast<std::ptrdiff_t>(count);
    for (std::size_t row = begin; row < end; ++row) {
      const std::size_t o = row / inner, i = row % inner;
      for (std::size_t j = 0; j < size; ++j) {
        const Bits key = key_of(x[(o * size + j) * inner + i]);
        items[j] = {descending ? ~key : key, static_cast<std::int64_t>(j)};
      }
      if (count <= size / 16) {  // a small heap, most elements seen once
        std::partial_sort(items.begin(), head, items.end());
      } else {
        if (count < size) std::nth_element(items.begin(), head, items.end());
        std::sort(items.begin(), head);
      }
      for (std::size_t j = 0; j < count; ++j) ids[(o * count + j) * inner + i] = items[j].second;
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
