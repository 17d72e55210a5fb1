// Sums over rows that may be long: in registers over stretches, of the stretches in double.
// Shorter or rougher sums are reduce_row.hpp's.
#pragma once

#include <array>

#include <xgrad/core/kernels/reduce_row.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels::row {

/// The sums over i of the N batches that term(part, i) gives for the registers that cover [0, n).
/// Spare lanes of a Part must come out as 0.
template <std::size_t N, class Term>
std::array<double, N> long_sums(std::size_t n, const Term& term) {
  constexpr std::size_t stretch = 32 * lanes;  // so few numbers per lane that float will do
  std::array<double, N> sums{};
  for (std::size_t begin = 0; begin < n; begin += stretch) {
    std::array<Batch, N> sum;
    sum.fill(Batch(real(0)));
    walk(std::min(stretch, n - begin), [&](auto part, std::size_t i) {
      const std::array<Batch, N> terms = term(part, begin + i);
      for (std::size_t j = 0; j < N; ++j) sum[j] = sum[j] + terms[j];
    });
    for (std::size_t j = 0; j < N; ++j) sums[j] += static_cast<double>(total(sum[j]));
  }
  return sums;
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels::row
