// Threads: how many, and how a loop is split among them so that the answer never depends on how
// many. How they are kept is parallel.cpp; kernels call parallel_for.
#pragma once

#include <algorithm>
#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Threads that operations may use from now on, at least 1. Results do not depend on it. The start
/// value is OMP_NUM_THREADS, or the number of processors that the program may use.
void set_num_threads(int count);
int num_threads();

namespace detail {
void run_blocks(std::size_t blocks, void (*body)(std::size_t, const void*), const void* context);
}

/// Calls body(begin, end) for consecutive ranges of [0, count), `grain` long but for the last,
/// possibly at once from several threads. The ranges depend on count and grain alone. Runs inline
/// when there is but one range.
template <class Body>
void parallel_for(std::size_t count, std::size_t grain, const Body& body) {
  grain = std::max<std::size_t>(1, grain);
  if (count <= grain) {
    if (count > 0) body(std::size_t{0}, count);
    return;
  }
  struct Context {
    std::size_t count, grain;
    const Body& body;
  } const context{count, grain, body};
  detail::run_blocks((count + grain - 1) / grain,
                     [](std::size_t block, const void* data) {
                       const auto& c = *static_cast<const Context*>(data);
                       c.body(block * c.grain, std::min(c.count, (block + 1) * c.grain));
                     },
                     &context);
}

}  // namespace xgrad::inline XGRAD_PRECISION
