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

namespace {

/// Calls body(index of (o, j, i), index of (o, ids[o, j, i], i)) for all. Threads share the pairs
/// (o, i), so that all j of a pair, whose ids may coincide, meet in one thread and in order.
template <class Body>
void for_each(const Lookup& s, const std::int64_t* ids, const Body& body) {
  const std::size_t grain = 16384 / std::max<std::size_t>(1, s.count);
  parallel_for(s.outer * s.inner, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t lane = begin; lane < end;) {
      const std::size_t o = lane / s.inner, first = lane % s.inner,
                        last = std::min(s.inner, first + end - lane);
      for (std::size_t j = 0; j < s.count; ++j)
        for (std::size_t i = first; i < last; ++i) {
          const std::size_t at = (o * s.count + j) * s.inner + i;
          body(at, (o * s.size + static_cast<std::size_t>(ids[at])) * s.inner + i);
        }
      lane += last - first;
    }
  });
}

}  // namespace

void gather(const Lookup& sizes, const std::int64_t* ids, const real* x, real* out) {
  for_each(sizes, ids, [&](std::size_t at, std::size_t from) { out[at] = x[from]; });
}

void scatter_add(const Lookup& sizes, const std::int64_t* ids, const real* rows, real* x) {
  for_each(sizes, ids, [&](std::size_t at, std::size_t to) { x[to] += rows[at]; });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
