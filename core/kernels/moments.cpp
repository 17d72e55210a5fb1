// Mean and squared deviations; see moments.hpp.
// Bound by memory: a piece of a row stays in the first cache between its sum and its deviations.
// Pieces are computed on all threads and joined in order, so that the bits do not depend on how
// many there are, and long rows stay accurate.
#include <xgrad/core/kernels/moments.hpp>

#include <vector>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;

struct Moments {
  double count = 0, mean = 0, squares = 0;
};

Moments moments_of(const real* x, std::size_t n) {
  const auto count = static_cast<double>(n);
  const double mean =
      row::sum(n, [x](auto part, std::size_t j) { return part.load(x + j); }) / count;
  const real center = static_cast<real>(mean);  // also what fills the end of the row: it adds 0
  const double squares = row::sum(n, [=](auto part, std::size_t j) {
    const Batch deviation = part.load(x + j, center) - Batch(center);
    return deviation * deviation;
  });
  return {count, mean, squares};
}

/// Those of two pieces together (Chan, Golub and LeVeque 1979).
Moments join(const Moments& a, const Moments& b) {
  const double count = a.count + b.count, apart = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + apart * share, a.squares + b.squares + apart * apart * a.count * share};
}

}  // namespace

void moments(const real* x, std::size_t rows, std::size_t n, real* mean, real* squares) {
  constexpr std::size_t piece = 4096;
  const std::size_t pieces = (n + piece - 1) / piece;
  std::vector<Moments> parts(rows * pieces);
  parallel_for(
      parts.size(), row::grain(std::min(n, piece)), [&](std::size_t begin, std::size_t end) {
        for (std::size_t task = begin; task < end; ++task) {
          const std::size_t first = task % pieces * piece;
          parts[task] = moments_of(x + task / pieces * n + first, std::min(piece, n - first));
        }
      });
  for (std::size_t i = 0; i < rows; ++i) {
    Moments all;
    for (std::size_t k = 0; k < pieces; ++k)
      all = k == 0 ? parts[i * pieces] : join(all, parts[i * pieces + k]);
    mean[i] = static_cast<real>(all.mean);
    squares[i] = static_cast<real>(all.squares);
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
