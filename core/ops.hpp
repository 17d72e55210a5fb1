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
/// Natural logarithm.
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
/// 1/sqrt(x).
Tensor rsqrt(const Tensor& x);
Tensor tanh(const Tensor& x);
/// 1/(1 + exp(-x)), without overflow.
Tensor sigmoid(const Tensor& x);
/// max(x, 0), with derivative 0 at 0; NaN stays NaN.
Tensor relu(const Tensor& x);
/// x sigmoid(x) (SiLU, swish).
Tensor silu(const Tensor& x);
/// log(1 + exp(x)), without overflow.
Tensor softplus(const Tensor& x);

enum class Gelu {
  erf,   ///< x Phi(x) exactly (PyTorch's default)
  tanh,  ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as in GPT-2
};
/// Gaussian error linear unit, Hendrycks & Gimpel 2016 (1606.08415).
Tensor gelu(const Tensor& x, Gelu form = Gelu::erf);

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

// ---- cumulative: ops/scan.cpp

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

// ---- sums over named axes: ops/einsum.cpp

// ---- linear algebra: ops/linalg.cpp

// ---- convolution and pooling: ops/conv.cpp, ops/pool.cpp

// ---- order: ops/sort.cpp

// ---- look-up and dropout: ops/index.cpp, ops/dropout.cpp

/// Rows of a table: weight (V, D), ids (...) -> (..., D). Throws std::invalid_argument for an id
/// outside [0, V).
Tensor embedding(const Tensor& weight, const Indices& ids);

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

// ---- the fused operations, spelled out

/// Twins of the fused operations, composed of primitives: differentiable any number of times,
/// slower, and the oracle that the fused ones are tested against.
namespace composite {
Tensor cross_entropy(const Tensor& logits, const Indices& targets,
                     CrossEntropyOptions options = {});
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps = real(1e-5));
Tensor rms_norm(const Tensor& x, const Tensor& weight, real eps = real(1e-5));
}  // namespace composite

}  // namespace xgrad::inline XGRAD_PRECISION
