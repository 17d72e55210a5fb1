// The windows of an image as the columns of a matrix, and the adjoint: columns added back to an
// image. With it a convolution is a matrix product. Bound by memory: every number is copied once
// per tap. Which products: ops/conv.cpp.
#pragma once

#include <xgrad/core/window.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// Columns [begin, end) of the matrix (channels taps, positions) whose column p holds what the
/// window reads at position p, zeros in the padding. image (channels, pixels), columns
/// (channels taps, end - begin).
void im2col(const real* image, std::size_t channels, const Window& window, std::size_t begin,
            std::size_t end, real* columns);

/// Adds every number of such columns to the pixel that im2col reads it from.
void col2im(const real* columns, std::size_t channels, const Window& window, std::size_t begin,
            std::size_t end, real* image);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
