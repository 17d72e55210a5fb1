// One function over whole arrays of one shape: in vector registers and, for large arrays, in
// several threads. What broadcasts is xtensor's; what mixes elements of a row has a kernel of its
// own.
#pragma once

#include <algorithm>
#include <cstddef>

#include <xsimd/xsimd.hpp>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

using Batch = xsimd::batch<real>;

/// out[i] = f(x[i]...) for i < count. `f` takes and returns a Batch; exp, tanh … are a few
/// multiplications per lane there, so that such functions come near the speed of memory. Element i
/// does not depend on its place.
template <class F, class... X>
void map(std::size_t count, real* out, const F& f, const X*... x) {
  constexpr std::size_t grain = 32768;
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    std::size_t i = begin;
    for (; i + Batch::size <= end; i += Batch::size)
      f(Batch::load_unaligned(x + i)...).store_unaligned(out + i);
    if (i == end) return;
    // The last few go through a full register too, filled up with zeros.
    const auto padded = [rest = end - i](const real* values) {
      real lanes[Batch::size] = {};
      std::copy_n(values, rest, lanes);
      return Batch::load_unaligned(lanes);
    };
    real lanes[Batch::size];
    f(padded(x + i)...).store_unaligned(lanes);
    std::copy_n(lanes, end - i, out + i);
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
