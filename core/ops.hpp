// The operations: what a NumPy or PyTorch user reaches for, each differentiable.
// Declarations only; values and derivatives stand side by side in ops/*.cpp, one file per family.
//
// Axes count from the back when negative; `keepdims` leaves reduced axes with size 1. Arithmetic
// broadcasts by NumPy's rule. Unless said otherwise every operation throws ShapeError when shapes
// or axes do not fit, leaves its arguments alone, and returns a new tensor.
#pragma once

#include <functional>
#include <optional>

#include <xgrad/core/random.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Spells out the flag: `sum(x, -1, keepdims)`.
inline constexpr bool keepdims = true;

// ---- making tensors: ops/create.cpp

Tensor zeros(const Ints& shape);
Tensor ones(const Ints& shape);
Tensor full(const Ints& shape, real value);
/// start, start + step, … below `stop` (above it for a negative step). (n,)
Tensor arange(real start, real stop, real step = 1);
/// The given values, row-major, in the given shape: `tensor({1, 2, 3, 4}, {2, 2})`; without one, a
/// vector.
Tensor tensor(std::initializer_list<real> values);
Tensor tensor(const std::vector<real>& values, const Ints& shape);
/// A 0-d tensor.
Tensor scalar(real value);
/// Uniform in [0, 1).
Tensor rand(const Ints& shape, Rng& rng);
/// Standard normal.
Tensor randn(const Ints& shape, Rng& rng);

// ---- arithmetic: ops/arithmetic.cpp

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator+(const Tensor& a, real b);
Tensor operator-(const Tensor& a, real b);
Tensor operator*(const Tensor& a, real b);
Tensor operator/(const Tensor& a, real b);
Tensor operator+(real a, const Tensor& b);
Tensor operator-(real a, const Tensor& b);
Tensor operator*(real a, const Tensor& b);
Tensor operator/(real a, const Tensor& b);
Tensor operator-(const Tensor& x);

/// x^exponent for a constant exponent. Where x < 0, NaN unless the exponent is an integer.
Tensor pow(const Tensor& x, real exponent);
/// a^b elementwise; the gradient of b is 0 where a = 0 and b >= 0.
Tensor pow(const Tensor& a, const Tensor& b);
Tensor square(const Tensor& x);

/// Elementwise extrema. Equal elements share the gradient equally; NaN in either input gives NaN.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);
/// Limits x to [low, high]; the gradient passes where low <= x <= high. Throws if low > high.
Tensor clamp(const Tensor& x, real low, real high);
/// |x|, with derivative 0 at 0.
Tensor abs(const Tensor& x);

/// Comparisons give 1 where true, 0 where false, and have no gradient.
Tensor operator<(const Tensor& a, const Tensor& b);
Tensor operator>(const Tensor& a, const Tensor& b);
Tensor operator<=(const Tensor& a, const Tensor& b);
Tensor operator>=(const Tensor& a, const Tensor& b);
Tensor operator<(const Tensor& a, real b);
Tensor operator>(const Tensor& a, real b);
Tensor operator<=(const Tensor& a, real b);
Tensor operator>=(const Tensor& a, real b);
Tensor equal(const Tensor& a, const Tensor& b);
Tensor equal(const Tensor& a, real b);

/// a where `condition` is not 0, else b; all three broadcast. No gradient to the condition, none to
/// the side that was not taken.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
Tensor where(const Tensor& condition, const Tensor& a, real b);
Tensor where(const Tensor& condition, real a, const Tensor& b);
/// `value` where `mask` is not 0, else x. The mask broadcasts to x's shape.
Tensor masked_fill(const Tensor& x, const Tensor& mask, real value);

// ---- elementwise functions: ops/elementwise.cpp

Tensor exp(const Tensor& x);
/// exp(x) - 1, with all its digits for small x.
Tensor expm1(const Tensor& x);
/// Natural logarithm.
Tensor log(const Tensor& x);
/// log(1 + x), with all its digits for small x.
Tensor log1p(const Tensor& x);
Tensor sqrt(const Tensor& x);
/// 1/sqrt(x).
Tensor rsqrt(const Tensor& x);
Tensor tanh(const Tensor& x);
/// Angles are in radians.
Tensor sin(const Tensor& x);
Tensor cos(const Tensor& x);
/// The angle of the point with ordinate a and abscissa b, in [-pi, pi]; broadcasts. The gradient at
/// the origin is 0.
Tensor atan2(const Tensor& a, const Tensor& b);
/// 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.
Tensor erf(const Tensor& x);
/// 1/(1 + exp(-x)), without overflow.
Tensor sigmoid(const Tensor& x);
/// max(x, 0), with derivative 0 at 0; NaN stays NaN.
Tensor relu(const Tensor& x);
/// x sigmoid(x) (SiLU, swish).
Tensor silu(const Tensor& x);
/// silu(gate) * up in one pass, as is its backward: the gate of Llama's feed-forward. One shape.
/// Shazeer 2020 (2002.05202).
Tensor swiglu(const Tensor& gate, const Tensor& up);
/// log(1 + exp(x)), without overflow.
Tensor softplus(const Tensor& x);

enum class Gelu {
  erf,   ///< x Phi(x) exactly (PyTorch's default)
  tanh,  ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as in GPT-2
};
/// Gaussian error linear unit, Hendrycks & Gimpel 2016 (1606.08415).
Tensor gelu(const Tensor& x, Gelu form = Gelu::erf);

/// a + weight (b - a), exact at weights 0 and 1; all of it broadcasts. The weight may lie outside
/// [0, 1].
Tensor lerp(const Tensor& a, const Tensor& b, const Tensor& weight);
Tensor lerp(const Tensor& a, const Tensor& b, real weight);

/// What the gradient makes of a function that is constant between its steps.
enum class StepGradient {
  zero,              ///< the derivative: nothing is recorded, as for comparisons
  straight_through,  ///< the gradient passes as if y = x; Bengio, Léonard & Courville 2013
                     ///< (1308.3432)
};
Tensor floor(const Tensor& x, StepGradient gradient = StepGradient::zero);
Tensor ceil(const Tensor& x, StepGradient gradient = StepGradient::zero);
/// To the nearest integer, halves to the even one, as in NumPy and PyTorch.
Tensor round(const Tensor& x, StepGradient gradient = StepGradient::zero);
/// -1, 0 or 1; NaN stays NaN, as in NumPy.
Tensor sign(const Tensor& x, StepGradient gradient = StepGradient::zero);

// ---- gradients by hand: ops/custom.cpp

/// The same numbers as a constant: no gradient flows to x. Shares storage.
Tensor stop_gradient(const Tensor& x);
/// Computes `value`, and lets the gradient pass to `surrogate` instead, unchanged:
/// `straight_through(round(x), x)`. Both of one shape. Bengio, Leonard & Courville 2013
/// (1308.3432).
Tensor straight_through(const Tensor& value, const Tensor& surrogate);

/// The rule of a custom operation: from the gradient of its value, its inputs and its value, one
/// gradient per input, each of its input's shape; an undefined Tensor for none.
using CustomRule = std::function<std::vector<Tensor>(
    const Tensor& grad, const std::vector<Tensor>& inputs, const Tensor& value)>;
/// An operation of your own, without a template in sight: `value` is what it computed from
/// `inputs`, by whatever means, and `rule` its derivative. Made of operations that can be
/// differentiated, the rule can be too. Errors and observers call it `name`. For rules as lazy
/// expressions and for control over what is kept, see record() in record.hpp.
///
///     Tensor cube(const Tensor& x) {
///       return custom("cube", {x}, Tensor(xt::cube(x.array())),
///                     [](const Tensor& grad, const auto& in, const Tensor&) {
///                       return std::vector{grad * real(3) * square(in[0])};
///                     });
///     }
Tensor custom(const std::string& name, const std::vector<Tensor>& inputs, const Tensor& value,
              CustomRule rule);

// ---- matrix products: ops/matmul.cpp

struct MatmulOptions {
  bool transpose_a = false;  ///< use the transpose of a's last two axes; costs nothing
  bool transpose_b = false;
};
/// Matrix product over the last two axes; leading axes broadcast: (..., M, K) @ (..., K, N) ->
/// (..., M, N). A vector counts as one row (a) or one column (b), and its axis is dropped from the
/// result, as in NumPy.
Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options = {});

/// x W^T + b: x (..., in), weight (out, in), bias (out,) or undefined -> (..., out). The bias is
/// where the product starts from, so it costs no pass of its own.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

// ---- reductions: ops/reduce.cpp

Tensor sum(const Tensor& x);
Tensor sum(const Tensor& x, const Ints& axes, bool keepdims = false);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, const Ints& axes, bool keepdims = false);
/// Sum of squared deviations over (n - correction); correction 1 as in PyTorch, 0 for the biased
/// variance.
Tensor var(const Tensor& x, const Ints& axes, bool keepdims = false, int correction = 1);
/// Extrema over axes. Ties share the gradient equally; NaN wins. Throws when a reduced axis is
/// empty.
Tensor max(const Tensor& x);
Tensor max(const Tensor& x, const Ints& axes, bool keepdims = false);
Tensor min(const Tensor& x);
Tensor min(const Tensor& x, const Ints& axes, bool keepdims = false);
/// log(sum(exp(x))), without overflow; -inf where all inputs are -inf.
Tensor logsumexp(const Tensor& x, const Ints& axes, bool keepdims = false);
/// Sums x over the axes along which `shape` would broadcast to x's shape: the adjoint of
/// broadcast_to.
Tensor sum_to(const Tensor& x, const Ints& shape);
/// Product, with the right gradient where factors are 0; 1 where there is nothing to multiply. Is
/// the last running product, so it needs memory for all of them.
Tensor prod(const Tensor& x);
Tensor prod(const Tensor& x, const Ints& axes, bool keepdims = false);
/// (sum |x|^p)^(1/p), 0 < p <= infinity; infinity gives max |x|. The gradient is 0 where the norm
/// is 0 and, for any p, at elements that are 0. As in NumPy nothing is rescaled: |x|^p must fit
/// into a real. p = 0, which only counts, throws std::invalid_argument.
Tensor norm(const Tensor& x, real p = 2);
Tensor norm(const Tensor& x, real p, const Ints& axes, bool keepdims = false);
/// Cosine of the angle between a and b along `axis`: sum(a b) / (max(|a|, eps) max(|b|, eps)).
/// (..., D), (..., D) -> (...), after broadcasting.
Tensor cosine_similarity(const Tensor& a, const Tensor& b, std::int64_t axis = -1,
                         real eps = real(1e-8));
/// x / max(norm(x, p), eps) along `axis`: vectors of length 1, but for those shorter than eps.
Tensor normalize(const Tensor& x, real p = 2, std::int64_t axis = -1, real eps = real(1e-12));

// ---- cumulative: ops/scan.cpp

/// y_i = x_0 + … + x_i along `axis`. Adds up in double precision.
Tensor cumsum(const Tensor& x, std::int64_t axis);
/// y_i = x_0 … x_i, with the right gradient where factors are 0.
Tensor cumprod(const Tensor& x, std::int64_t axis);
/// y_i = log(exp(x_0) + … + exp(x_i)), without overflow; -inf as long as all inputs are -inf.
Tensor logcumsumexp(const Tensor& x, std::int64_t axis);
/// h_i = a_i h_{i-1} + b_i along `axis`, from h_0 = b_0: a filter with a gain for every step. In
/// reverse h_i = a_{i+1} h_{i+1} + b_i, from the last b, which is the adjoint (in b) of the forward
/// one. a and b broadcast. O(n), one step after the other; no division, so any gains will do.
Tensor linear_recurrence(const Tensor& a, const Tensor& b, std::int64_t axis, bool reverse = false);

// ---- softmax and cross-entropy: ops/softmax.cpp

/// exp(x_i) / sum_j exp(x_j) along `axis`. A row of -inf alone gives zeros.
Tensor softmax(const Tensor& x, std::int64_t axis = -1);
/// x_i - logsumexp(x) along `axis`; -inf throughout a row of -inf alone.
Tensor log_softmax(const Tensor& x, std::int64_t axis = -1);

struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;  ///< targets of this value do not count
  real label_smoothing = 0;          ///< in [0, 1): mixes the target with the uniform distribution
};
/// Mean over the counted targets of -log softmax(logits)[target]. logits (..., V), targets (...) ->
/// (), in nats. Fused: one pass over the logits; composite::cross_entropy differentiates twice. NaN
/// if no target counts, as in PyTorch. Throws std::invalid_argument for a target outside [0, V).
Tensor cross_entropy(const Tensor& logits, const Indices& targets,
                     CrossEntropyOptions options = {});

// ---- normalisation: ops/norm.cpp

/// (x - mean) / sqrt(var + eps) * weight + bias over the last axis, biased variance. x (..., D),
/// weight and bias (D,); either may be undefined. Ba, Kiros & Hinton 2016 (1607.06450). Fused; see
/// composite::layer_norm.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps = real(1e-5));
/// x / sqrt(mean(x^2) + eps) * weight over the last axis. x (..., D), weight (D,) or undefined.
/// Zhang & Sennrich 2019 (1910.07467). Fused; see composite::rms_norm.
Tensor rms_norm(const Tensor& x, const Tensor& weight, real eps = real(1e-5));
/// layer_norm of each sample's groups of adjacent channels, then one weight and bias per channel:
/// x (N, C, ...), weight and bias (C,); either may be undefined. Wu & He 2018 (1803.08494). Fused;
/// see composite::group_norm.
Tensor group_norm(const Tensor& x, std::size_t groups, const Tensor& weight = {},
                  const Tensor& bias = {}, real eps = real(1e-5));

struct BatchNormOptions {
  bool training = false;      ///< normalise by the batch and move the running statistics towards it
  real momentum = real(0.1);  ///< the step of that move: r <- (1 - momentum) r + momentum batch
  real eps = real(1e-5);
};
/// (x - mean) / sqrt(var + eps) * weight + bias for each channel. In training mean and var are
/// those over the batch and all positions, biased, and running_mean and running_var, if defined,
/// are updated in place, the latter with the unbiased variance, as in PyTorch; otherwise they are
/// used in their stead. x (N, C, ...), the others (C,). Throws ShapeError when training on one
/// value per channel. Ioffe & Szegedy 2015 (1502.03167). Fused; see composite::batch_norm.
Tensor batch_norm(const Tensor& x, Tensor running_mean, Tensor running_var,
                  const Tensor& weight = {}, const Tensor& bias = {},
                  const BatchNormOptions& options = {});

// ---- shapes: ops/shape.cpp

/// The same numbers in another shape; one size may be -1. Shares storage.
Tensor reshape(const Tensor& x, const Ints& shape);
/// Axes in the given order: result axis i is x's axis order[i].
Tensor permute(const Tensor& x, const Ints& order);
/// Swaps two axes, by default the last two.
Tensor transpose(const Tensor& x, std::int64_t axis1 = -2, std::int64_t axis2 = -1);
/// x[..., start:stop:step, ...] on one axis; start and stop may be negative and are clamped as in
/// NumPy. step >= 1.
Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop,
             std::int64_t step = 1);
/// Joins tensors along an existing axis; the other sizes agree. At least one tensor.
Tensor concat(const std::vector<Tensor>& parts, std::int64_t axis = 0);
/// Joins tensors of one shape along a new axis.
Tensor stack(const std::vector<Tensor>& parts, std::int64_t axis = 0);
/// Cuts an axis into pieces of `size`, the last one smaller if it does not divide, as in PyTorch.
std::vector<Tensor> split(const Tensor& x, std::int64_t size, std::int64_t axis = 0);
/// NumPy's broadcast_to; -1 keeps a size. Materialises.
Tensor broadcast_to(const Tensor& x, const Ints& shape);
/// The lower triangle of the last two axes, zeros above diagonal k.
Tensor tril(const Tensor& x, std::int64_t k = 0);
/// The upper triangle of the last two axes, zeros below diagonal k.
Tensor triu(const Tensor& x, std::int64_t k = 0);
/// A vector (n,) as diagonal k of a square matrix of zeros, (n + |k|, n + |k|); or diagonal k of a
/// matrix as a vector, as in NumPy.
Tensor diag(const Tensor& x, std::int64_t k = 0);
/// The sum of a matrix's diagonal. (R, C) -> ().
Tensor trace(const Tensor& x);
/// Drops an axis, whose size must be 1, as in NumPy; without one, all axes of size 1.
Tensor squeeze(const Tensor& x, std::int64_t axis);
Tensor squeeze(const Tensor& x);
/// Adds an axis of size 1, which becomes result axis `axis`.
Tensor unsqueeze(const Tensor& x, std::int64_t axis);
/// Merges the axes from `first` to `last` (inclusive) into one; a 0-d tensor becomes (1,).
Tensor flatten(const Tensor& x, std::int64_t first = 0, std::int64_t last = -1);
/// Reverses the order along axes.
Tensor flip(const Tensor& x, const Ints& axes);
/// Moves everything by `shift` places along an axis; what leaves at one end enters at the other.
Tensor roll(const Tensor& x, std::int64_t shift, std::int64_t axis);
/// The whole tensor counts[k] times along axis k: torch's Tensor.repeat, NumPy's tile. More counts
/// than axes add axes in front.
Tensor repeat(const Tensor& x, const Ints& counts);

/// How many elements to add at either end of an axis.
struct Padding {
  std::size_t before = 0, after = 0;
};
enum class Pad {
  constant,   ///< `value`
  reflect,    ///< mirrored at the last element, which is not repeated: c b | a b c | b a
  replicate,  ///< the last element: a a | a b c | c c
  circular,   ///< from the other end: b c | a b c | a b
};
/// Longer along every axis, one Padding each, as numpy.pad. `reflect` reaches at most size - 1 and
/// `circular` at most size elements out; neither nor `replicate` can start from an empty axis.
Tensor pad(const Tensor& x, const std::vector<Padding>& padding, Pad mode = Pad::constant,
           real value = 0);

// ---- sums over named axes: ops/einsum.cpp

/// Einstein's summation: `einsum("bij,bjk->bik", {a, b})`. Each operand's axes get letters; axes of
/// one letter are walked together, and letters missing after the arrow are summed over. Without an
/// arrow the result has the letters that occur once, in alphabetical order, capitals first. A
/// letter twice in one operand takes its diagonal. "..." stands for any further axes; they
/// broadcast and come first in an implicit result (left out after an arrow, they are summed over,
/// as in PyTorch). A size of 1 broadcasts. Operands are contracted from left to right: their order
/// decides the cost.
Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands);
/// Sums over the last `count` axes of a paired with the first of b, or over the listed axes in
/// pairs. The result has a's other axes, then b's.
Tensor tensordot(const Tensor& a, const Tensor& b, std::int64_t count = 2);
Tensor tensordot(const Tensor& a, const Tensor& b, const Ints& axes_a, const Ints& axes_b);
/// a_i b_j: (M,), (N,) -> (M, N).
Tensor outer(const Tensor& a, const Tensor& b);

// ---- linear algebra: ops/linalg.cpp

// On the last two axes, each matrix along the leading ones for itself; LAPACK, O(N^3) each. All
// throw std::invalid_argument where a, the matrix that is taken apart, holds NaN or Inf.

/// X with A X = B: a (..., N, N), b (..., N, K) -> (..., N, K); leading axes broadcast. A b of one
/// axis is a vector, as in NumPy: (N,) -> (..., N). Throws std::invalid_argument where a matrix is
/// singular to the last bit; one that nearly is gives large numbers. NaN in b stays in its column.
Tensor solve(const Tensor& a, const Tensor& b);
/// (..., N, N) -> (..., N, N). To apply an inverse, solve() is faster and more accurate.
Tensor inverse(const Tensor& a);
/// The lower triangular L with A = L L^T: (..., N, N) -> (..., N, N). Reads the lower triangle of a
/// alone, takes a for symmetric, and gives it a symmetric gradient, as PyTorch does. Throws
/// std::invalid_argument where a matrix is not positive definite.
Tensor cholesky(const Tensor& a);
/// Singular values, largest first: (..., M, N) -> (..., min(M, N)). Where values are equal, or 0,
/// the gradient is one of many subgradients. Has no second derivative.
Tensor svd_values(const Tensor& a);

// ---- convolution and pooling: ops/conv.cpp, ops/pool.cpp
// Each of stride, padding, dilation and a pooling kernel is one number for all axes, or one per
// axis: {height, width}. All can be differentiated any number of times.

struct ConvOptions {
  Ints stride = 1;         ///< from one window to the next
  Ints padding = 0;        ///< zeros in front and behind
  Ints dilation = 1;       ///< from one number of a window to the next
  std::size_t groups = 1;  ///< the channels fall into groups that do not see each other
};
/// y[n, o, l] = bias[o] + sum over c, t of weight[o, c, t] x[n, c, l stride + t dilation -
/// padding]: x (N, C, L), weight (O, C/groups, k), bias (O,) or undefined -> (N, O, L') with L' =
/// floor((L + 2 padding - dilation (k - 1) - 1) / stride) + 1. Throws ShapeError if channels do not
/// fit or the window is larger than the padded input.
Tensor conv1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const ConvOptions& options = {});
/// The same over two axes: x (N, C, H, W), weight (O, C/groups, kH, kW) -> (N, O, H', W').
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
              const ConvOptions& options = {});

struct ConvTransposeOptions {
  Ints stride = 1;
  Ints padding = 0;         ///< numbers cut off in front and behind
  Ints output_padding = 0;  ///< more numbers behind; less than the stride or the dilation
  std::size_t groups = 1;
  Ints dilation = 1;
};
/// The adjoint of conv1d in x: spreads each number over the window that it would be computed from.
/// x (N, C, L), weight (C, O/groups, k), bias (O,) or undefined -> (N, O, L') with
/// L' = (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1.
Tensor conv_transpose1d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions& options = {});
/// x (N, C, H, W), weight (C, O/groups, kH, kW) -> (N, O, H', W').
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                        const ConvTransposeOptions& options = {});

struct MaxPoolOptions {
  Ints stride{};     ///< the kernel's size unless given
  Ints padding = 0;  ///< counts as -inf; at most half a window
  Ints dilation = 1;
};
/// The largest number of each window: (..., L) -> (..., L'), L' as for conv1d. Of equal numbers the
/// first has the gradient; NaN wins.
Tensor max_pool1d(const Tensor& x, const Ints& kernel, const MaxPoolOptions& options = {});
/// (..., H, W) -> (..., H', W').
Tensor max_pool2d(const Tensor& x, const Ints& kernel, const MaxPoolOptions& options = {});

struct AvgPoolOptions {
  Ints stride{};                  ///< the kernel's size unless given
  Ints padding = 0;               ///< at most half a window
  bool count_include_pad = true;  ///< divide by the kernel's size even where it reaches the padding
};
/// The mean of each window: (..., L) -> (..., L'). The mean of everything is mean().
Tensor avg_pool1d(const Tensor& x, const Ints& kernel, const AvgPoolOptions& options = {});
/// (..., H, W) -> (..., H', W').
Tensor avg_pool2d(const Tensor& x, const Ints& kernel, const AvgPoolOptions& options = {});

// ---- order: ops/sort.cpp

/// Values in order and where they stood: ids have the shape of the values and count along the axis.
struct Sorted {
  Tensor values;
  Indices ids;
};
/// Sorts along an axis, equal elements in their old order. NaN counts as greater than all. The
/// gradient of each value goes to where it stood.
Sorted sort(const Tensor& x, std::int64_t axis = -1, bool descending = false);
Indices argsort(const Tensor& x, std::int64_t axis = -1, bool descending = false);
/// The k largest (or smallest) elements along an axis, in order, the first of equal ones first:
/// what sort gives, cut off, for less. Throws ShapeError if k exceeds the axis.
Sorted topk(const Tensor& x, std::size_t k, std::int64_t axis = -1, bool largest = true);

// ---- search: ops/nearest.cpp

struct NearestOptions {
  /// Subtract the codebook's mean from both sides first: the same answer, with fewer digits lost
  /// where everything lies far from the origin.
  bool center = false;
};
/// For each row of z (..., d) the number of its nearest row of codebook (K, d), by Euclidean
/// distance, the lowest of equals: (...). Takes the memory of one more codebook, never (..., K).
/// Not on the tape: integers have no derivative. Throws ShapeError when the last axes differ or
/// K = 0, std::invalid_argument where a number is NaN or infinite.
Indices nearest(const Tensor& z, const Tensor& codebook, NearestOptions options = {});

// ---- look-up and dropout: ops/index.cpp, ops/dropout.cpp

/// Rows of a table: weight (V, D), ids (...) -> (..., D). Throws std::invalid_argument for an id
/// outside [0, V).
Tensor embedding(const Tensor& weight, const Indices& ids);
/// The slices of x at positions `ids` (n,) of an axis, which then has size n.
Tensor index_select(const Tensor& x, std::int64_t axis, const Indices& ids);
/// out[…, j, …] = x[…, ids[…, j, …], …] along an axis. ids have x's number of axes and are no
/// longer than x on the others; the result has their shape. torch.gather. This and the functions
/// below throw std::invalid_argument for an id outside the axis.
Tensor gather(const Tensor& x, std::int64_t axis, const Indices& ids);
/// x plus, at each place that gather would read, the sum of the elements of `source` whose ids
/// point there. source has ids' shape; ids may repeat. torch.scatter_add, but with the same bits
/// for any number of threads.
Tensor scatter_add(const Tensor& x, std::int64_t axis, const Indices& ids, const Tensor& source);
/// gather for ids whose other axes broadcast with x's, as numpy.take_along_axis: what argsort
/// gives.
Tensor take_along_axis(const Tensor& x, const Indices& ids, std::int64_t axis);
/// 1 at each id, else 0: ids (...) -> (..., classes). A constant.
Tensor one_hot(const Indices& ids, std::size_t classes);

/// Zeroes each element with probability p and scales the rest by 1/(1 - p). Draws from `rng`; the
/// mask is recomputed in backward, never stored. p in [0, 1]. Srivastava et al. 2014.
Tensor dropout(const Tensor& x, real p, Rng& rng);

// ---- rotary positions: ops/rope.cpp

enum class RopeLayout {
  half_split,   ///< pairs (i, i + r/2): GPT-NeoX, Llama files of Hugging Face
  interleaved,  ///< pairs (2i, 2i + 1): RoFormer, GPT-J, Meta's Llama files
};
/// Turns the first r features of each row in pairs by the angles whose cosines and sines are given:
/// x (..., T, d), cos and sin (T, r/2) with even r <= d -> (..., T, d). The tables are constants:
/// no gradient flows to them. Su et al. 2021, RoFormer (2104.09864), eq. 34.
Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin,
            RopeLayout layout = RopeLayout::half_split);

// ---- attention: ops/attention.cpp

/// Angles by which attention turns queries and keys before they meet: row start + j of the tables
/// (positions, r/2) belongs to key j, and to the query that stands there. The tables are constants.
struct RopeTables {
  Tensor cos{}, sin{};  ///< undefined: nothing is turned
  std::size_t start = 0;
  RopeLayout layout = RopeLayout::half_split;
  bool keys = true;  ///< false: keys come turned, as from a cache
};

/// What a position scheme asks of attention.
struct AttentionPositions {
  std::vector<real> slopes{};  ///< ALiBi's: takes m |i - j| off the score, one m per query head
  Tensor bias{};  ///< T5's: (H, at least Tk); column n is added where the key lies n before the
                  ///< query. Causal attention only; has a gradient
  RopeTables rotation{};  ///< RoPE's
};

/// Which of the keys before it a query sees, if not all. Beltagy et al. 2020, Longformer
/// (2004.05150); sinks: Xiao et al. 2023 (2309.17453), who count positions among keys seen; here
/// they stay those of the text.
struct AttentionWindow {
  std::size_t size = 0;   ///< the last `size` keys, its own position among them; 0: all
  std::size_t sinks = 0;  ///< and the first `sinks` keys of the text
};

struct AttentionOptions {
  bool causal = true;             ///< query i sees keys j <= i + Tk - Tq: the last query sees all
  AttentionWindow window{};       ///< needs causal
  std::optional<double> scale{};  ///< of the scores; 1/sqrt(d) unless given
  AttentionPositions positions{};
  Tensor key_padding{};  ///< (B, Tk): keys where it is not 0 are not seen; undefined: none
  double dropout = 0;    ///< of the weights after the softmax, in [0, 1]
  Rng* rng = nullptr;    ///< for dropout
};

/// softmax(scale q k^T + bias) v: q (B, H, Tq, d), k (B, K, Tk, d), v (B, K, Tk, e) with H a
/// multiple of K (query head h reads key head h K / H: grouped-query attention, 2305.13245)
/// -> (B, H, Tq, e). A query that sees no key, by its place or by padding, gives zeros (PyTorch:
/// NaN). Fused: O(T) memory, weights are computed again in backward; composite::attention
/// differentiates twice. Dao 2023, FlashAttention-2 (2307.08691).
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});
/// The same of a text with itself, on one projection: qkv (B, T, (H + 2K) d), in each row the
/// queries of all heads, then keys, then values -> (B, T, H d). Heads are read where they lie, and
/// their gradients written there.
Tensor self_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                      const AttentionOptions& options = {});

/// What attention remembers of texts that grow: keys, already turned, and values of their tokens.
struct KeyValueCache {
  Tensor keys, values;                 ///< (B, K, capacity, d)
  std::vector<std::size_t> lengths{};  ///< (B,): tokens of each text so far, at most the capacity
  AttentionWindow window{};            ///< what a new token sees of them
  AttentionPositions positions{};      ///< of all tokens that there is room for
};
/// Causal self_attention() of the next T tokens of each text with all of it, under the cache's
/// window and positions: qkv (B, T, (H + 2K) d) -> (B, T, H d). The tokens join the cache. For
/// generation: nothing is recorded, and a tape that would want to is refused.
Tensor cached_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                        KeyValueCache& cache, std::optional<double> scale = {});

// ---- the fused operations, spelled out

/// Twins of the fused operations, composed of primitives: differentiable any number of times,
/// slower, and the oracle that the fused ones are tested against.
namespace composite {
Tensor cross_entropy(const Tensor& logits, const Indices& targets,
                     CrossEntropyOptions options = {});
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps = real(1e-5));
Tensor rms_norm(const Tensor& x, const Tensor& weight, real eps = real(1e-5));
Tensor group_norm(const Tensor& x, std::size_t groups, const Tensor& weight = {},
                  const Tensor& bias = {}, real eps = real(1e-5));
Tensor batch_norm(const Tensor& x, Tensor running_mean, Tensor running_var,
                  const Tensor& weight = {}, const Tensor& bias = {},
                  const BatchNormOptions& options = {});
/// O(B H Tq Tk) memory, several times over.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionOptions& options = {});
Tensor self_attention(const Tensor& qkv, std::size_t heads, std::size_t kv_heads,
                      const AttentionOptions& options = {});
}  // namespace composite

}  // namespace xgrad::inline XGRAD_PRECISION
