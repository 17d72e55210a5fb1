// Which row of a table is nearest. An integer, so nothing is recorded; the search itself is
// kernels/nearest.cpp.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include <xgrad/core/kernels/nearest.hpp>
#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

namespace row = kernels::row;

/// Throws for the first row that has a number which is none.
void check_finite(const char* name, const Tensor& x, std::size_t d) {
  std::atomic<bool> finite = true;
  parallel_for(x.size(), row::block, [&](std::size_t begin, std::size_t end) {
    // 0 times a number is 0, times NaN or infinity NaN.
    const auto nothing = [from = x.data() + begin](auto part, std::size_t i) {
      return part.load(from + i) * row::Batch(0);
    };
    if (row::sum(end - begin, nothing) != 0) finite = false;
  });
  if (finite) return;
  const real* end = x.data() + x.size();
  const real* bad = std::find_if_not(x.data(), end, [](real v) { return std::isfinite(v); });
  require(false, "nearest: NaN or Inf in row ", static_cast<std::size_t>(bad - x.data()) / d,
          " of ", name);
}

/// The mean of the rows.
std::vector<real> mean_row(const Tensor& table) {
  const std::size_t rows = table.size(0), d = table.size(1);
  std::vector<double> sum(d);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < d; ++j) sum[j] += table.data()[i * d + j];
  std::vector<real> mean(d);
  for (std::size_t j = 0; j < d; ++j)
    mean[j] = static_cast<real>(sum[j] / static_cast<double>(rows));
  return mean;
}

}  // namespace

Indices nearest(const Tensor& z, const Tensor& codebook, NearestOptions options) {
  require<ShapeError>(codebook.ndim() == 2 && codebook.size(0) > 0,
                      "nearest: needs a codebook (K, d) of at least 1 row, got shape ",
                      codebook.shape());
  const std::size_t d = codebook.size(1);
  require<ShapeError>(z.ndim() >= 1, "nearest: z () has no last axis to fit codebook ",
                      codebook.shape());
  require<ShapeError>(z.size(-1) == d, "nearest: last axis of z ", z.shape(),
                      " does not fit codebook ", codebook.shape(), ": ", z.size(-1), " != ", d);
  check_finite("z", z, d);
  check_finite("the codebook", codebook, d);
  Indices ids = Indices::from_shape(Shape(z.shape().begin(), z.shape().end() - 1));
  const std::vector<real> origin = options.center ? mean_row(codebook) : std::vector<real>();
  kernels::nearest(z.data(), codebook.data(), options.center ? origin.data() : nullptr, ids.size(),
                   codebook.size(0), d, ids.data());
  return ids;
}

}  // namespace xgrad::inline XGRAD_PRECISION
