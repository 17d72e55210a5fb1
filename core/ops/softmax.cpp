// Softmax, log-softmax and the cross-entropy of logits.
// Reductions proper are in reduce.cpp; the loops are in kernels/softmax.cpp.
#include <algorithm>

#include <xgrad/core/kernels/softmax.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// How many rows along the last axis; 0 if they are empty.
std::size_t row_count(const Tensor& x) { return x.size() / std::max<std::size_t>(1, x.size(-1)); }

bool is_last(const char* op, std::int64_t axis, const Tensor& x) {
  return normalize_axis(op, axis, x.ndim()) + 1 == x.ndim();
}

template <class R>
constexpr bool recorded = std::remove_reference_t<R>::recorded;

}  // namespace

Tensor softmax(const Tensor& x, std::int64_t axis) {
  if (!is_last("softmax", axis, x)) return transpose(softmax(transpose(x, axis, -1)), axis, -1);
  Tensor value = Tensor::empty(x.shape());
  kernels::softmax(x.data(), row_count(x), x.size(-1), value.mutable_data());
  return record("softmax", {x}, value, Keep::output, [](auto& r) {
    const Tensor grad = r.grad(), y = r.out();
    if constexpr (recorded<decltype(r)>) {
      const Tensor grad_y = grad * y;
      r.to(0, grad_y - y * xgrad::sum(grad_y, -1, keepdims));
    } else {
      Tensor dx = Tensor::empty(y.shape());
      kernels::softmax_vjp(grad.data(), y.data(), row_count(y), y.size(-1), dx.mutable_data());
      r.to(0, std::move(dx));
    }
  });
}

Tensor log_softmax(const Tensor& x, std::int64_t axis) {
  if (!is_last("log_softmax", axis, x))
    return transpose(log_softmax(transpose(x, axis, -1)), axis, -1);
  Tensor value = Tensor::empty(x.shape());
  kernels::log_softmax(x.data(), row_count(x), x.size(-1), value.mutable_data());
  return record("log_softmax", {x}, value, Keep::output, [](auto& r) {
    const Tensor grad = r.grad(), y = r.out();
    if constexpr (recorded<decltype(r)>) {
      r.to(0, grad - exp(y) * xgrad::sum(grad, -1, keepdims));
    } else {
      Tensor dx = Tensor::empty(y.shape());
      kernels::log_softmax_vjp(grad.data(), y.data(), row_count(y), y.size(-1), dx.mutable_data());
      r.to(0, std::move(dx));
    }
  });
}

// ---- cross-entropy

namespace {

/// Checks shapes, targets and options; returns how many targets count.
std::size_t check_targets(const Tensor& logits, const Indices& targets,
                          const CrossEntropyOptions& options) {
  require<ShapeError>(logits.ndim() >= 1,
                      "cross_entropy: logits need at least 1 axis, got shape ()");
  const Shape expected = reduced_shape(logits.shape(), {logits.ndim() - 1}, false);
  const Shape shape(targets.shape().begin(), targets.shape().end());
  require<ShapeError>(shape == expected, "cross_entropy: logits ", logits.shape(),
                      " need one target per row: targets have shape ", shape, ", expected ",
                      expected);
  require(options.label_smoothing >= 0 && options.label_smoothing < 1,
          "cross_entropy: label_smoothing must be in [0, 1), got ", options.label_smoothing);
  const auto classes = static_cast<std::int64_t>(logits.size(-1));
  std::size_t counted = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const std::int64_t target = targets.data()[i];
    if (target == options.ignore_index) continue;
    require(target >= 0 && target < classes, "cross_entropy: target ", i, " is ", target,
            ", outside [0, ", classes, ")");
    ++counted;
  }
  return counted;
}

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Indices& targets, CrossEntropyOptions options) {
  const real counted = static_cast<real>(check_targets(logits, targets, options));
  const std::size_t rows = targets.size(), classes = logits.size(-1);
  // loss = -1/counted sum_ij q_ij log softmax(x_i)_j  =>  dloss/dx_ij = (softmax(x_i)_j - q_ij) /
  // counted. If somebody will want it, it is written at once, while the exponentials are at hand;
  // the logits need not be kept then, and backward has nothing left to do but to hand it on.
  Tensor losses = Tensor::empty({rows}), dx;
  if (detail::count_wanting({logits}) > 0) dx = Tensor::empty(logits.shape());
  kernels::cross_entropy(
      logits.data(), {targets.data(), options.ignore_index, options.label_smoothing}, 1 / counted,
      rows, classes, losses.mutable_data(), dx.defined() ? dx.mutable_data() : nullptr);
  double total = 0;
  for (std::size_t i = 0; i < rows; ++i) total += losses.data()[i];
  return record_fused("cross_entropy", "composite::cross_entropy", {logits},
                      scalar(static_cast<real>(total / counted)), Keep::nothing, [dx](RawPull& r) {
                        const real grad = Tensor(r.grad()).item();
                        r.to(0, grad == 1 ? dx : dx * grad);
                      });
}

Tensor composite::cross_entropy(const Tensor& logits, const Indices& targets,
                                CrossEntropyOptions options) {
  const auto counted = static_cast<std::int64_t>(check_targets(logits, targets, options));
  const std::int64_t rows = targets.size(), classes = logits.size(-1);
  // Which rows count, and where in those rows, laid end to end, the targets' log-probabilities are.
  Indices row = Indices::from_shape({static_cast<std::size_t>(counted)}), place = row;
  for (std::int64_t i = 0, k = 0; i < rows; ++i) {
    if (targets.data()[i] == options.ignore_index) continue;
    row.data()[k] = i;
    place.data()[k] = k * classes + targets.data()[i];
    ++k;
  }
  const Tensor log_p =
      embedding(reshape(log_softmax(logits), {rows, classes}), row);  // (counted, V)
  const Tensor nll = -mean(embedding(reshape(log_p, {counted * classes, 1}), place));
  const real smoothing = options.label_smoothing;
  return smoothing == 0 ? nll : nll * (1 - smoothing) - mean(log_p) * smoothing;
}

}  // namespace xgrad::inline XGRAD_PRECISION
