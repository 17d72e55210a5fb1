// Gather and scatter of rows; see gather.hpp.
#include <xgrad/core/kernels/gather.hpp>

#include <algorithm>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

void gather_rows(std::span<const std::int64_t> ids, std::size_t width, const real* table,
                 real* out) {
  parallel_for(
      ids.size(), 32768 / std::max<std::size_t>(1, width), [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
          std::copy_n(table + static_cast<std::size_t>(ids[i]) * width, width, out + i * width);
      });
}

void scatter_add_rows(std::span<const std::int64_t> ids, std::size_t width, const real* rows,
                      real* table) {
  // An id may occur many times, so threads share the columns, not the rows: each number has one
  // writer.
  const std::size_t grain = std::max<std::size_t>(64, 32768 / std::max<std::size_t>(1, ids.size()));
  parallel_for(width, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const real* row = rows + i * width;
      real* sum = table + static_cast<std::size_t>(ids[i]) * width;
      for (std::size_t k = begin; k < end; ++k) sum[k] += row[k];
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
