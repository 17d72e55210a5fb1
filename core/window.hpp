// A window that slides over an image: arithmetic on sizes, shared by convolution and pooling, with
// the errors people meet first. No values live here.
#pragma once

#include <array>
#include <utility>

#include <xgrad/core/shape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Two axes of positions; a sequence is an image of height 1. At output j, tap t of an axis reads
/// the input at j stride + t dilation - padding: padding where that is outside [0, in).
struct Window {
  struct Axis {
    std::size_t kernel, stride, padding, dilation;
    std::size_t in = 1, out = 1;

    /// From the first tap to the last.
    std::size_t span() const { return dilation * (kernel - 1) + 1; }
    /// Where tap t of output j reads; wraps around (and so is not below `in`) in the padding.
    std::size_t position(std::size_t j, std::size_t t) const {
      return j * stride + t * dilation - padding;
    }
    /// The outputs [first, last) whose tap t reads the input, not the padding.
    std::pair<std::size_t, std::size_t> inside(std::size_t t) const;
  };

  /// A window over the last `rank` axes, 1 or 2. Each setting has one number for all of them or one
  /// per axis. Throws std::invalid_argument where a number is too small.
  Window(const char* op, std::size_t rank, const Ints& kernel, const Ints& stride,
         const Ints& padding, const Ints& dilation);
  /// Takes the image sizes from x and finds how many positions the window has. Throws ShapeError if
  /// it has none.
  void slide_over(const char* op, const Shape& x);
  /// x's shape with the number of positions instead of the image sizes.
  Shape result(Shape x) const;

  std::size_t taps() const { return axes[0].kernel * axes[1].kernel; }
  std::size_t pixels() const { return axes[0].in * axes[1].in; }
  std::size_t positions() const { return axes[0].out * axes[1].out; }

  std::size_t rank;
  std::array<Axis, 2> axes;  // vertical, horizontal
};

/// A setting as it is written, one number or one per axis, spelled out for two axes; that of an
/// axis that is not there is `least`. Throws std::invalid_argument where a number is below it.
std::array<std::size_t, 2> numbers_per_axis(const char* op, const char* setting, const Ints& given,
                                            std::size_t rank, std::size_t least);

}  // namespace xgrad::inline XGRAD_PRECISION
