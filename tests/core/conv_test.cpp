// Convolution: values and gradients against PyTorch, against the sum that defines it, and the
// adjoint pair. Derivatives of all orders and errors are rows of the table of operations.
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

using Tensors = std::vector<Tensor>;

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

/// Small whole numbers, so that sums of products are exact: 0, k, 2k, … modulo 11, less 5.
Tensor ramp(const Ints& shape, std::size_t k) {
  Tensor x = zeros(shape);
  for (std::size_t i = 0; i < x.size(); ++i)
    x.mutable_data()[i] = static_cast<real>(i * k % 11) - 5;
  return x;
}

Tensor random(const Ints& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng);
}

double dot(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    total += static_cast<double>(a.data()[i]) * b.data()[i];
  return total;
}

/// f(inputs), then its gradients for all of them, weighted by ramp(4).
template <class F>
Tensors differentiated(const F& f, Tensors inputs) {
  for (Tensor& x : inputs) x.requires_grad_();
  Tape tape;
  Tensors results{f(inputs)};
  for (Tensor& g : tape.gradient(results[0], inputs, {}, ramp(results[0].shape(), 4)))
    results.push_back(g);
  return results;
}

/// conv2d as its docstring says it, one product after the other.
Tensor by_definition(const Tensor& x, const Tensor& w, std::size_t stride, std::size_t padding,
                     std::size_t dilation, std::size_t groups) {
  const std::size_t height = x.size(2), width = x.size(3), rows = w.size(2), columns = w.size(3);
  const std::size_t out_height = (height + 2 * padding - dilation * (rows - 1) - 1) / stride + 1,
                    out_width = (width + 2 * padding - dilation * (columns - 1) - 1) / stride + 1;
  const std::size_t in = w.size(1), out = w.size(0);
  Tensor y = zeros({x.size(0), out, out_height, out_width});
  real* to = y.mutable_data();
  for (std::size_t n = 0; n < x.size(0); ++n)
    for (std::size_t o = 0; o < out; ++o)
      for (std::size_t i = 0; i < out_height; ++i)
        for (std::size_t j = 0; j < out_width; ++j, ++to)
          for (std::size_t c = 0; c < in; ++c)
            for (std::size_t s = 0; s < rows; ++s)
              for (std::size_t t = 0; t < columns; ++t) {
                const std::size_t channel = o / (out / groups) * in + c,
                                  row = i * stride + s * dilation - padding,
                                  column = j * stride + t * dilation - padding;
                if (row < height && column < width)
                  *to += x.array()(n, channel, row, column) * w.array()(o, c, s, t);
              }
  return y;
}

}  // namespace

TEST_CASE("conv1d has PyTorch's values and gradients", "[ops][conv]") {
  const Tensors r = differentiated(
      [](const Tensors& in) {
        return conv1d(in[0], in[1], in[2], {.stride = 2, .padding = 2, .dilation = 2, .groups = 2});
      },
      {ramp({2, 4, 6}, 3), ramp({2, 2, 3}, 5), ramp({2}, 7)});
  CHECK(r[0].shape() == Shape{2, 2, 3});
  CHECK(values(r[0]) == std::vector<real>{14, -20, 5, 21, -13, 12, -43, 19, 4, 13, 17, 5});
  CHECK(values(r[1]) == std::vector<real>{5,  0, -40, 0, -5,  0, -19, 0, 3,  0, 14,  0,
                                          12, 0, 4,   0, -12, 0, -4,  0, 4,  0, 4,   0,
                                          -5, 0, -40, 0, 5,   0, -13, 0, 5,  0, 18,  0,
                                          12, 0, -25, 0, 19,  0, -10, 0, 32, 0, -15, 0});
  CHECK(values(r[2]) == std::vector<real>{-11, 15, 13, 1, 4, 1, 29, -31, -4, 25, -55, 12});
  CHECK(values(r[3]) == std::vector<real>{0, -5});
}

TEST_CASE("conv2d has PyTorch's values and gradients", "[ops][conv]") {
  const Tensors r = differentiated(
      [](const Tensors& in) {
        return conv2d(in[0], in[1], in[2],
                      {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}});
      },
      {ramp({1, 2, 4, 5}, 3), ramp({2, 2, 2, 3}, 5), ramp({2}, 7)});
  CHECK(r[0].shape() == Shape{1, 2, 3, 1});
  CHECK(values(r[0]) == std::vector<real>{2, 31, 19, -7, 3, -4});
  CHECK(values(r[1]) == std::vector<real>{-11, 0,   -12, 0,  -2, 5,  0,  0,  0,  -5, 1,  0,  -4, 0,
                                          2,   -15, 0,   20, 0,  11, 16, 0,  15, 0,  25, -3, 0,  3,
                                          0,   -2,  4,   0,  -1, 0,  5,  -3, 0,  -1, 0,  -10});
  CHECK(values(r[2]) == std::vector<real>{-11, 1, -9,  22, -3, 16, -1, -11, 1, 3, 22, -3,
                                          -16, 8, -12, 20, -4, 16, 4,  -16, 8, 0, 20, -4});
  CHECK(values(r[3]) == std::vector<real>{-3, 0});
}

TEST_CASE("conv_transpose1d has PyTorch's values and gradients", "[ops][conv]") {
  const Tensors r = differentiated(
      [](const Tensors& in) {
        return conv_transpose1d(
            in[0], in[1], in[2],
            {.stride = 3, .padding = 1, .output_padding = 2, .groups = 2, .dilation = 2});
      },
      {ramp({1, 4, 3}, 3), ramp({4, 1, 3}, 5), ramp({2}, 7)});
  CHECK(r[0].shape() == Shape{1, 2, 11});
  CHECK(values(r[0]) == std::vector<real>{-5, 11, 9, -38, -21, -9, -7, -9, -5, 2,  -5,
                                          2,  -4, 5, 6,   -10, 13, -3, 6,  2,  21, 2});
  CHECK(values(r[1]) == std::vector<real>{-20, -30, -30, 4, 3, 4, -5, 3, 5, 19, 3, -5});
  CHECK(values(r[2]) == std::vector<real>{-2, 6, 24, -16, -5, -2, 3, -5, -17, -11, -5, 1});
  CHECK(values(r[3]) == std::vector<real>{0, 0});
}

TEST_CASE("conv_transpose2d has PyTorch's values and gradients", "[ops][conv]") {
  const Tensors r = differentiated(
      [](const Tensors& in) {
        return conv_transpose2d(in[0], in[1], in[2],
                                {.stride = {2, 1}, .padding = {0, 1}, .output_padding = {1, 0}});
      },
      {ramp({1, 2, 2, 3}, 3), ramp({2, 1, 2, 3}, 5), ramp({1}, 7)});
  CHECK(r[0].shape() == Shape{1, 1, 5, 3});
  CHECK(values(r[0]) ==
        std::vector<real>{14, -55, 4, -41, 3, -25, 24, -4, -4, 3, -5, -21, -5, -5, -5});
  CHECK(values(r[1]) == std::vector<real>{-21, 36, 21, -7, 60, -27, 9, -10, -8, -1, 33, -25});
  CHECK(values(r[2]) == std::vector<real>{20, 9, -17, 14, 13, 20, -36, -46, 28, -36, 11, 5});
  CHECK(values(r[3]) == std::vector<real>{-7});
}

TEST_CASE("conv2d is the sum that defines it, at sizes where its work is split", "[ops][conv]") {
  struct Case {
    Ints x, weight;
    std::size_t stride, padding, dilation, groups;
  };
  for (const Case& c : {Case{{2, 40, 30, 37}, {5, 40, 3, 3}, 1, 1, 1, 1},
                        Case{{1, 70, 25, 9}, {6, 35, 3, 5}, 2, 2, 2, 2},
                        Case{{3, 64, 40, 33}, {7, 64, 1, 1}, 1, 0, 1, 1},
                        Case{{1, 4, 9, 300}, {8, 1, 7, 3}, 3, 3, 1, 4}}) {
    const Tensor x = ramp(c.x, 3), w = ramp(c.weight, 7);
    const Tensor y = conv2d(
        x, w, {},
        {.stride = c.stride, .padding = c.padding, .dilation = c.dilation, .groups = c.groups});
    const Tensor expected = by_definition(x, w, c.stride, c.padding, c.dilation, c.groups);
    CHECK(y.shape() == expected.shape());
    CHECK(values(y) == values(expected));  // whole numbers below 2^24

    // <x * w, g> has the derivatives spread(g, w), correlate(x, g): linear in each, so that the
    // gradient's product with the input is the value again.
    Tensors leaves{x.clone().requires_grad_(), w.clone().requires_grad_()};
    const Tensor g = random(y.shape(), 1);
    Tape tape;
    const Tensors gradient = tape.gradient(
        conv2d(
            leaves[0], leaves[1], {},
            {.stride = c.stride, .padding = c.padding, .dilation = c.dilation, .groups = c.groups}),
        leaves, {}, g);
    const double value = dot(y, g), scale = std::sqrt(dot(y, y) * dot(g, g));
    const double tolerance = (sizeof(real) == 8 ? 1e-13 : 1e-5) * scale;
    CHECK_THAT(dot(gradient[0], x), WithinAbs(value, tolerance));
    CHECK_THAT(dot(gradient[1], w), WithinAbs(value, tolerance));
  }
}

TEST_CASE("conv_transpose is the adjoint of conv", "[ops][conv]") {
  const Tensor x = ramp({2, 6, 11, 8}, 3), w = ramp({4, 3, 3, 2}, 5);
  const Tensor y = conv2d(x, w, {}, {.stride = 2, .padding = 1, .groups = 2});
  const Tensor g = ramp(y.shape(), 7);
  const Tensor adjoint = conv_transpose2d(
      g, w, {}, {.stride = 2, .padding = 1, .output_padding = {0, 0}, .groups = 2});
  CHECK(adjoint.shape() == x.shape());
  CHECK(dot(y, g) == dot(adjoint, x));
}

TEST_CASE("a 1x1 convolution is a linear map of the channels", "[ops][conv]") {
  const Tensor x = ramp({2, 3, 4, 5}, 3), w = ramp({6, 3}, 5), b = ramp({6}, 7);
  const Tensor channels_last = permute(x, {0, 2, 3, 1});
  CHECK(values(conv2d(x, reshape(w, {6, 3, 1, 1}), b)) ==
        values(permute(linear(channels_last, w, b), {0, 3, 1, 2})));
}

TEST_CASE("conv2d of a flat image is conv1d", "[ops][conv]") {
  const Tensor x = ramp({2, 4, 30}, 3), w = ramp({6, 2, 5}, 5);
  CHECK(values(conv1d(x, w, {}, {.stride = 2, .padding = 3, .groups = 2})) ==
        values(conv2d(reshape(x, {2, 4, 1, 30}), reshape(w, {6, 2, 1, 5}), {},
                      {.stride = {1, 2}, .padding = {0, 3}, .groups = 2})));
}

TEST_CASE("convolutions of nothing are the bias, or empty", "[ops][conv]") {
  const Tensor bias = tensor({1, 2});
  CHECK(values(conv1d(zeros({1, 0, 3}), zeros({2, 0, 2}), bias)) == std::vector<real>{1, 1, 2, 2});
  CHECK(conv2d(zeros({0, 3, 4, 4}), zeros({2, 3, 3, 3}), bias).shape() == Shape{0, 2, 2, 2});
  CHECK(conv_transpose1d(zeros({0, 3, 4}), zeros({3, 2, 3}), bias).shape() == Shape{0, 2, 6});
  CHECK(values(conv_transpose1d(zeros({1, 0, 2}), zeros({0, 2, 1}), bias)) ==
        std::vector<real>{1, 1, 2, 2});
}

TEST_CASE("a NaN reaches the windows that see it and no others", "[ops][conv]") {
  Tensor x = ones({1, 1, 6});
  x.mutable_data()[1] = std::numeric_limits<real>::quiet_NaN();
  const Tensor y = conv1d(x, ones({1, 1, 2}));
  CHECK(std::isnan(y.data()[0]));
  CHECK(std::isnan(y.data()[1]));
  CHECK(std::vector<real>(y.data() + 2, y.data() + 5) == std::vector<real>{2, 2, 2});
}
