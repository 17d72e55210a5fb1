// Convolution and its transpose, over sequences and images.
//
// The convolution y = x * w is linear in x and in w, and for any g of y's shape the number
//     <x * w, g>
// is linear in all three. Its derivatives by g, x and w are three maps, each of two arguments:
//     convolve(x, w) = x * w,     spread(g, w) of x's shape,     correlate(x, g) of w's shape.
// The derivative of each is made of the other two, so that derivatives of all orders are these
// three. conv_transpose is spread under its own name.
#include <algorithm>
#include <numeric>

#include <xgrad/core/kernels/gemm.hpp>
#include <xgrad/core/kernels/im2col.hpp>
#include <xgrad/core/kernels/reduce.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// How many items of this size fit into so many numbers, at least 1 and at most `most`.
std::size_t fit(std::size_t numbers, std::size_t size, std::size_t most) {
  return std::clamp<std::size_t>(numbers / std::max<std::size_t>(1, size), 1,
                                 std::max<std::size_t>(1, most));
}

/// Numbers of scratch that a task should hold: as much as a second cache.
constexpr std::size_t scratch_size = std::size_t{1} << 17;
/// Multiplications worth a task of its own.
constexpr std::size_t task_work = std::size_t{1} << 18;

/// The sizes of one convolution y = x * w.
struct Sizes {
  Sizes(const Window& window, const Shape& x, const Shape& weight, const Shape& y,
        std::size_t groups)
      : window(window),
        x(x),
        weight(weight),
        y(y),
        groups(groups),
        images(x[0] * groups),
        channels(x[1] / groups),
        filters(y[1] / groups),
        taps(window.taps()),
        positions(window.positions()),
        pixels(window.pixels()),
        depth(channels * taps) {
    for (const Window::Axis& axis : window.axes)
      plain &= axis.kernel == 1 && axis.stride == 1 && axis.padding == 0;
  }
  Window window;
  Shape x, weight, y;
  std::size_t groups;
  std::size_t images;             // groups of channels of all samples: each is convolved by itself
  std::size_t channels, filters;  // of one group
  std::size_t taps, positions, pixels;
  std::size_t depth;  // products per number of y
  bool plain = true;  // one tap everywhere: the image is its own matrix of windows

  /// The weight of one group as a matrix (filters, depth).
  kernels::Matrix weights(const real* w, std::size_t group) const {
    return {w + group * filters * depth, std::max<std::size_t>(1, depth)};
  }
  /// How many positions make a strip: an equal share of all whose columns fit into scratch_size,
  /// but no less than about `least`, for products of thin matrices are slow.
  std::size_t strip(std::size_t least) const {
    const std::size_t longest = std::max(scratch_size / std::max<std::size_t>(1, depth), least);
    const std::size_t strips = (positions + longest - 1) / longest;
    return (positions + strips - 1) / strips;
  }
};

/// Scratch for the windows of one image as the columns of a matrix, a strip of positions at a time.
class Strip {
 public:
  Strip(const Sizes& s, std::size_t length)
      : sizes_(s), scratch_(Buffer::create(s.plain ? 0 : s.depth * length)) {}
  real* numbers() const { return scratch_->data(); }
  /// The matrix (depth, count) for some positions of an image of x.
  kernels::Matrix columns(const real* x, std::size_t image, std::size_t first,
                          std::size_t count) const {
    const real* channels = x + image * sizes_.channels * sizes_.pixels;
    if (sizes_.plain) return {channels + first, sizes_.positions};
    kernels::im2col(channels, sizes_.channels, sizes_.window, first, first + count, numbers());
    return {numbers(), count};
  }

 private:
  const Sizes& sizes_;
  Ref<Buffer> scratch_;
};

/// Sums over all axes but the channels: the gradient of a bias.
Tensor sum_channels(const Tensor& x) {
  std::vector<std::int64_t> axes(x.ndim() - 1, 0);
  std::iota(axes.begin() + 1, axes.end(), 2);
  return xgrad::sum(x, axes);
}

std::vector<Tensor> with_bias(const Tensor& a, const Tensor& b, const Tensor& bias) {
  return bias.defined() ? std::vector<Tensor>{a, b, bias} : std::vector<Tensor>{a, b};
}

Tensor spread(const Tensor& g, const Tensor& weight, const Tensor& bias, const Sizes& sizes);
Tensor correlate(const Tensor& x, const Tensor& g, const Sizes& sizes);

/// y[:, p] = w x[window at p] + bias: with the windows as columns, the product of (filters, depth)
/// and (depth, positions), made a strip of positions at a time.
Tensor convolve(const Tensor& x, const Tensor& weight, const Tensor& bias, const Sizes& s) {
  Tensor y = Tensor::empty(s.y);
  const real *from = x.data(), *w = weight.data(), *b = bias.defined() ? bias.data() : nullptr;
  real* to = y.mutable_data();
  const std::size_t length = s.strip(64), strips = (s.positions + length - 1) / length;
  parallel_for(
      s.images * strips, fit(task_work, s.filters * s.depth * length, task_work),
      [&](std::size_t begin, std::size_t end) {
        const Strip strip(s, length);
        for (std::size_t task = begin; task < end; ++task) {
          const std::size_t image = task / strips, first = task % strips * length,
                            count = std::min(length, s.positions - first), group = image % s.groups;
          real* result = to + image * s.filters * s.positions + first;
          for (std::size_t o = 0; b && o < s.filters; ++o)
            std::fill_n(result + o * s.positions, count, b[group * s.filters + o]);
          kernels::gemm(s.filters, count, s.depth, s.weights(w, group),
                        strip.columns(from, image, first, count), result, s.positions,
                        {.accumulate = b != nullptr});
        }
      });
  return record("conv", with_bias(x, weight, bias), y, Keep::others,
                [s, shifted = b != nullptr](auto& r) {
                  if (r.needs(0)) r.to(0, spread(r.grad(), r.in(1), {}, s));
                  if (r.needs(1)) r.to(1, correlate(r.in(0), r.grad(), s));
                  if (shifted && r.needs(2)) r.to(2, sum_channels(r.grad()));
                });
}

/// In convolve, y = w columns(x): so columns(dx) = w^T g, and where windows overlap they add up.
/// That is why a task owns whole images.
Tensor spread(const Tensor& g, const Tensor& weight, const Tensor& bias, const Sizes& s) {
  Tensor x = Tensor::empty(s.x);
  const real *from = g.data(), *w = weight.data(), *b = bias.defined() ? bias.data() : nullptr;
  real* to = x.mutable_data();
  const std::size_t length = s.strip(256);
  parallel_for(
      s.images, fit(task_work, s.filters * s.depth * s.positions, task_work),
      [&](std::size_t begin, std::size_t end) {
        const Strip strip(s, length);
        for (std::size_t image = begin; image < end; ++image) {
          const std::size_t group = image % s.groups;
          real* result = to + image * s.channels * s.pixels;
          for (std::size_t c = 0; c < s.channels; ++c)
            std::fill_n(result + c * s.pixels, s.pixels, b ? b[group * s.channels + c] : real(0));
          kernels::Matrix weights = s.weights(w, group);
          weights.transposed = true;
          for (std::size_t first = 0; first < s.positions; first += length) {
            const std::size_t count = std::min(length, s.positions - first);
            const kernels::Matrix grad{from + image * s.filters * s.positions + first, s.positions};
            if (s.plain) {
              kernels::gemm(s.depth, count, s.filters, weights, grad, result + first, s.pixels,
                            {.accumulate = true});
            } else {
              kernels::gemm(s.depth, count, s.filters, weights, grad, strip.numbers(), count);
              kernels::col2im(strip.numbers(), s.channels, s.window, first, first + count, result);
            }
          }
        }
      });
  return record("conv_transpose", with_bias(g, weight, bias), x, Keep::others,
                [s, shifted = b != nullptr](auto& r) {
                  if (r.needs(0)) r.to(0, convolve(r.grad(), r.in(1), {}, s));
                  if (r.needs(1)) r.to(1, correlate(r.grad(), r.in(0), s));
                  if (shifted && r.needs(2)) r.to(2, sum_channels(r.grad()));
                });
}

/// In convolve, y = w columns(x): so dw = sum over images of g columns(x)^T. A task owns some of
/// the samples and a sum of its own; how many there are depends on the sizes alone, and so do the
/// bits.
Tensor correlate(const Tensor& x, const Tensor& g, const Sizes& s) {
  Tensor weight = Tensor::empty(s.weight);
  const real *from = x.data(), *grad = g.data();
  const std::size_t samples = s.x[0], size = weight.size(), length = s.strip(256);
  const std::size_t parts =
      std::min(fit(std::size_t{1} << 22, size, 16),
               fit(s.images * s.filters * s.depth * s.positions, task_work, 16));
  const std::size_t some = (samples + parts - 1) / parts;
  const Ref<Buffer> partial = Buffer::create(parts * size);
  std::fill_n(partial->data(), parts * size, real(0));
  parallel_for(samples, some, [&](std::size_t begin, std::size_t end) {
    const Strip strip(s, length);
    real* part = partial->data() + begin / some * size;
    for (std::size_t image = begin * s.groups; image < end * s.groups; ++image)
      for (std::size_t first = 0; first < s.positions; first += length) {
        const std::size_t count = std::min(length, s.positions - first), group = image % s.groups;
        kernels::Matrix columns = strip.columns(from, image, first, count);
        columns.transposed = true;
        kernels::gemm(s.filters, s.depth, count,
                      {grad + image * s.filters * s.positions + first, s.positions}, columns,
                      part + group * s.filters * s.depth, s.depth, {.accumulate = true});
      }
  });
  kernels::sum(partial->data(), 1, parts, size, weight.mutable_data());
  return record("conv_weight", {x, g}, weight, Keep::others, [s](auto& r) {
    if (r.needs(0)) r.to(0, spread(r.in(1), r.grad(), {}, s));
    if (r.needs(1)) r.to(1, convolve(r.in(0), r.grad(), {}, s));
  });
}

/// What both directions ask of their arguments; the weight's axes after the first two are the
/// kernel.
Ints check_arguments(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                     std::size_t rank, std::size_t groups, bool transposed) {
  const char* names[] = {"", "L", "H, W"};
  require<ShapeError>(x.ndim() == rank + 2, op, ": needs x (N, C, ", names[rank], "), got shape ",
                      x.shape());
  require<ShapeError>(weight.ndim() == rank + 2, op, ": needs a weight (",
                      transposed ? "C, O/groups" : "O, C/groups", rank == 1 ? ", k" : ", kH, kW",
                      "), got shape ", weight.shape());
  require(groups >= 1 && weight.shape()[0] % groups == 0, op, ": the weight ", weight.shape(),
          " does not fall into groups: ", groups, " does not divide ", weight.shape()[0]);
  const std::size_t in = transposed ? weight.shape()[0] : weight.shape()[1] * groups,
                    out = transposed ? weight.shape()[1] * groups : weight.shape()[0];
  require<ShapeError>(x.shape()[1] == in, op, ": channels differ: x ", x.shape(), ", weight ",
                      weight.shape(), groups > 1 ? concat_text(" in ", groups, " groups") : "",
                      ": ", x.shape()[1], " != ", in);
  if (bias.defined())
    require<ShapeError>(bias.ndim() == 1 && bias.size() == out, op, ": bias has shape ",
                        bias.shape(), ", weight ", weight.shape(), " gives ", out);
  return Shape(weight.shape().begin() + 2, weight.shape().end());
}

Tensor conv(const char* op, std::size_t rank, const Tensor& x, const Tensor& weight,
            const Tensor& bias, const ConvOptions& o) {
  Window window(op, rank, check_arguments(op, x, weight, bias, rank, o.groups, false), o.stride,
                o.padding, o.dilation);
  window.slide_over(op, x.shape());
  Shape y = window.result(x.shape());
  y[1] = weight.shape()[0];
  return convolve(x, weight, bias, {window, x.shape(), weight.shape(), y, o.groups});
}

Tensor conv_transpose(const char* op, std::size_t rank, const Tensor& x, const Tensor& weight,
                      const Tensor& bias, const ConvTransposeOptions& o) {
  // The names are those of the convolution that this one transposes: it takes y's shape to x's.
  Window window(op, rank, check_arguments(op, x, weight, bias, rank, o.groups, true), o.stride,
                o.padding, o.dilation);
  const auto extra = numbers_per_axis(op, "output_padding", o.output_padding, rank, 0);
  Shape y = x.shape(), image = y;
  image[1] = weight.shape()[1] * o.groups;
  for (std::size_t i = 2 - rank; i < 2; ++i) {
    Window::Axis& axis = window.axes[i];
    require(extra[i] < std::max(axis.stride, axis.dilation), op,
            ": output_padding must be less than the stride or the dilation: ", extra[i],
            " >= ", std::max(axis.stride, axis.dilation));
    axis.out = y[rank + i];
    const std::size_t reached = axis.out * axis.stride + axis.span() + extra[i],
                      cut = axis.stride + 2 * axis.padding;
    require<ShapeError>(axis.out > 0 && reached > cut, op, ": nothing is left of the output: x ",
                        x.shape(), ", weight ", weight.shape(), ", padding ", axis.padding);
    axis.in = image[rank + i] = reached - cut;
  }
  return spread(x, weight, bias, {window, image, weight.shape(), y, o.groups});
}

}  // namespace

Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const ConvOptions& options) {
  return conv("conv1d", 1, x, weight, bias, options);
}
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
              const ConvOptions& options) {
  return conv("conv2d", 2, x, weight, bias, options);
}
Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose("conv_transpose1d", 1, x, weight, bias, options);
}
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTransposeOptions& options) {
  return conv_transpose("conv_transpose2d", 2, x, weight, bias, options);
}

}  // namespace xgrad::inline XGRAD_PRECISION
