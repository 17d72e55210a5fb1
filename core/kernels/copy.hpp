// Copying between strided layouts: what permute, broadcast_to, slice and concat have in common, and
// their gradients, which are added. Other arithmetic on whole arrays is map.hpp's.
#pragma once

#include <xgrad/core/shape.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// Distances in memory between neighbours along each axis of a contiguous row-major array.
Shape strides_of(const Shape& shape);

/// out[sum_k i_k out_strides[k]] = in[sum_k i_k in_strides[k]] for every index i of `shape`. An
/// input stride of 0 repeats a number; the places of the output must be distinct and must not
/// overlap the input.
void copy_strided(const Shape& shape, const real* in, const Shape& in_strides, real* out,
                  const Shape& out_strides);
/// The same with += in place of =.
void add_strided(const Shape& shape, const real* in, const Shape& in_strides, real* out,
                 const Shape& out_strides);

/// Of `count` contiguous (rows, cols) matrices the elements before column row + k (`lower`) or from
/// it on, and zeros in place of the others.
void triangle(bool lower, std::size_t count, std::size_t rows, std::size_t cols, std::int64_t k,
              const real* in, real* out);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
