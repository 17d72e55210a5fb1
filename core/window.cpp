// Sizes of sliding windows; see window.hpp.
#include <xgrad/core/window.hpp>

#include <algorithm>

namespace xgrad::inline XGRAD_PRECISION {

std::array<std::size_t, 2> numbers_per_axis(const char* op, const char* setting, const Ints& given,
                                            std::size_t rank, std::size_t least) {
  const bool counts = given.size() == 1 || given.size() == rank;
  require(counts && std::all_of(given.begin(), given.end(),
                                [least](std::int64_t number) {
                                  return number >= static_cast<std::int64_t>(least);
                                }),
          op, ": ", setting, " needs ", rank == 1 ? "1 number" : "1 or 2 numbers", " of at least ",
          least, ", got ", given);
  const auto number = [&](std::size_t i) { return static_cast<std::size_t>(given[i]); };
  return {rank == 2 ? number(0) : least, number(given.size() - 1)};
}

Window::Window(const char* op, std::size_t rank, const Ints& kernel, const Ints& stride,
               const Ints& padding, const Ints& dilation)
    : rank(rank) {
  const auto kernels = numbers_per_axis(op, "kernel", kernel, rank, 1),
             strides = numbers_per_axis(op, "stride", stride, rank, 1),
             paddings = numbers_per_axis(op, "padding", padding, rank, 0),
             dilations = numbers_per_axis(op, "dilation", dilation, rank, 1);
  for (std::size_t i = 0; i < 2; ++i) axes[i] = {kernels[i], strides[i], paddings[i], dilations[i]};
}

void Window::slide_over(const char* op, const Shape& x) {
  for (std::size_t i = 2 - rank; i < 2; ++i) {
    Axis& axis = axes[i];
    axis.in = x[x.size() - 2 + i];
    const std::size_t padded = axis.in + 2 * axis.padding;
    require<ShapeError>(axis.span() <= padded, op, ": the window is larger than the input ", x,
                        ": ", axis.span(), " > ", padded,
                        axis.padding > 0 ? ", padding included" : "");
    axis.out = (padded - axis.span()) / axis.stride + 1;
  }
}

Shape Window::result(Shape x) const {
  for (std::size_t i = 2 - rank; i < 2; ++i) x[x.size() - 2 + i] = axes[i].out;
  return x;
}

std::pair<std::size_t, std::size_t> Window::Axis::inside(std::size_t t) const {
  // The first output to read at 0 or after it, and the first to read at `in` or after it.
  const auto reaches = [this, offset = t * dilation](std::size_t place) {
    const std::size_t padded = place + padding;
    return padded <= offset ? 0 : std::min(out, (padded - offset + stride - 1) / stride);
  };
  return {reaches(0), reaches(in)};
}

}  // namespace xgrad::inline XGRAD_PRECISION
