// One function over whole arrays of one shape: in vector registers and, for large arrays, in
// several threads. What broadcasts is broadcast.hpp's; what mixes elements of a row has a kernel of
// its own.
#pragma once

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

using row::Batch;

/// out[i] = f(x[i]...) for i < count. `f` takes and returns a Batch; exp, tanh … are a few
/// multiplications per lane there, so that such functions come near the speed of memory. Element i
/// does not depend on its place.
template <class F, class... X>
void map(std::size_t count, real* out, const F& f, const X*... x) {
  parallel_for(count, row::block, [&](std::size_t begin, std::size_t end) {
    row::walk(end - begin, [&, begin](auto part, std::size_t i) {
      part.store(out + begin + i, f(part.load(x + begin + i)...));
    });
  });
}

/// The same for a pair: `f` returns two Batches.
template <class F, class... X>
void map_pair(std::size_t count, real* first, real* second, const F& f, const X*... x) {
  parallel_for(count, row::block, [&](std::size_t begin, std::size_t end) {
    row::walk(end - begin, [&, begin](auto part, std::size_t i) {
      const auto [a, b] = f(part.load(x + begin + i)...);
      part.store(first + begin + i, a);
      part.store(second + begin + i, b);
    });
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
