// Gather and scatter; see gather.hpp.
#include <xgrad/core/kernels/gather.hpp>

#include <algorithm>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

constexpr std::size_t kGrain = 32768;  // elements that are worth a thread
constexpr std::size_t kLanes = 64;     // neighbours that one thread writes: whole cache lines

// Calls body(o, j, row) for every row (o, j); threads share the rows.
template <class Body>
void for_each_row(const Lookup& at, const Body& body) {
  parallel_for(at.outer * at.count, kGrain / std::max<std::size_t>(1, at.inner),
               [&](std::size_t begin, std::size_t end) {
                 std::size_t o = begin / at.count, j = begin % at.count;
                 for (std::size_t row = begin; row < end; ++row) {
                   body(o, j, row);
                   if (++j == at.count) j = 0, ++o;
                 }
               });
}

// Calls body(o, j, first, last) for pieces [first, last) of every row (o, j). Ids may repeat along
// j, so threads share the lanes (o, i): all j of a lane meet in one thread, and in order.
template <class Body>
void for_each_lane(const Lookup& at, const Body& body) {
  const std::size_t grain =
      std::max(std::min(kLanes, at.inner), kGrain / std::max<std::size_t>(1, at.count));
  parallel_for(at.outer * at.inner, grain, [&](std::size_t begin, std::size_t end) {
    while (begin < end) {
      const std::size_t o = begin / at.inner, first = begin % at.inner,
                        last = std::min(at.inner, first + end - begin);
      for (std::size_t j = 0; j < at.count; ++j) body(o, j, first, last);
      begin += last - first;
    }
  });
}

}  // namespace

void gather(const Lookup& at, const std::int64_t* ids, const real* x, real* out) {
  const std::size_t inner = at.inner;
  if (!at.whole_slices) {
    for_each_row(at, [=](std::size_t o, std::size_t, std::size_t row) {
      const real* slices = x + o * at.size * inner;
      for (std::size_t i = row * inner; i < (row + 1) * inner; ++i)
        out[i] = slices[static_cast<std::size_t>(ids[i]) * inner + i - row * inner];
    });
  } else if (inner == 1) {
    for_each_row(at, [=](std::size_t o, std::size_t j, std::size_t row) {
      out[row] = x[o * at.size + static_cast<std::size_t>(ids[j])];
    });
  } else {
    for_each_row(at, [=](std::size_t o, std::size_t j, std::size_t row) {
      std::copy_n(x + (o * at.size + static_cast<std::size_t>(ids[j])) * inner, inner,
                  out + row * inner);
    });
  }
}

void scatter_add(const Lookup& at, const std::int64_t* ids, const real* rows, real* x) {
  const std::size_t inner = at.inner;
  for_each_lane(at, [=](std::size_t o, std::size_t j, std::size_t first, std::size_t last) {
    const std::size_t row = (o * at.count + j) * inner;
    real* slices = x + o * at.size * inner;
    if (at.whole_slices) {
      real* sums = slices + static_cast<std::size_t>(ids[j]) * inner;
      for (std::size_t i = first; i < last; ++i) sums[i] += rows[row + i];
    } else {
      for (std::size_t i = first; i < last; ++i)
        slices[static_cast<std::size_t>(ids[row + i]) * inner + i] += rows[row + i];
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
