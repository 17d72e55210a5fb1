// What the engine refuses, and in which words: no misuse may end in a wrong number.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>
#include <xgrad/core/scope.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

template <class Test>
bool any(const Tensor& x, const Test& test) {
  return std::any_of(x.data(), x.data() + x.size(), test);
}
bool has_nan(const Tensor& x) {
  return any(x, [](real v) { return std::isnan(v); });
}
bool is_finite(const Tensor& x) {
  return !any(x, [](real v) { return !std::isfinite(v); });
}

/// "(2, 3) in [-1, 4]", and how many numbers of it are none.
std::string range_of(const Tensor& x) {
  real low = std::numeric_limits<real>::infinity(), high = -low;
  std::size_t nans = 0;
  for (const real* v = x.data(); v != x.data() + x.size(); ++v) {
    nans += std::isnan(*v);
    low = std::min(low, std::isnan(*v) ? low : *v);
    high = std::max(high, std::isnan(*v) ? high : *v);
  }
  std::string text = to_string(x.shape());
  if (nans < x.size()) text += concat_text(" in [", low, ", ", high, "]");
  if (nans > 0) text += concat_text(" with ", nans, " NaN");
  return text;
}

std::string in_place(const std::string& path) { return path.empty() ? path : " in " + path; }

}  // namespace

// ---- writing

void Tape::check_entry(const Entry& entry) const {
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const std::uint64_t tape = entry.inputs[i].tensor.value_->tape_;
    require<std::logic_error>(
        tape == 0 || tape == id_ || options_.nested, entry.op, ": input ", i,
        " was recorded on another tape; detach() it if no gradient should flow there");
  }
  require<std::logic_error>(
      !entry.output.tensor.requires_grad(), entry.op,
      ": its value is one of its inputs or another recorded tensor; a result needs a handle of its "
      "own");
}

void detail::throw_broadcast_error(const char* op, const InputList& inputs) {
  Shape shape;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    shape = broadcast_shapes(op, shape, inputs[i].shape());
  throw std::logic_error(concat_text(op, ": its inputs broadcast, yet its expression does not"));
}

void detail::check_finite(const char* op, const InputList& inputs, const Tensor& output) {
  const Tape* tape = Tape::current();
  if (!tape || !tape->options().check_finite || is_finite(output)) return;
  // An infinity may be handed on: masks are made of them. NaN never is meant.
  bool finite_inputs = true;
  for (std::size_t i = 0; i < inputs.size(); ++i) finite_inputs &= is_finite(inputs[i]);
  if (!finite_inputs && !has_nan(output)) return;
  std::string text = concat_text(op, ": produced NaN or Inf", in_place(Scope::path()), " from ",
                                 inputs.size() == 1 ? "input" : "inputs");
  for (std::size_t i = 0; i < inputs.size(); ++i) text += (i ? ", " : " ") + range_of(inputs[i]);
  throw std::runtime_error(text);
}

// ---- reading

void Tape::check_sweep(const char* caller, const Tensor& y, const Tensor& seed) const {
  require<std::logic_error>(
      !used_, caller,
      ": this tape was already read backwards; make a new Tape for every step, or pass "
      "{.retain = true} to read it again");
  require<std::logic_error>(thread_ == std::this_thread::get_id(), caller,
                            ": this tape belongs to another thread");
  require<std::logic_error>(!y.defined() || !y.requires_grad() || !y.is_leaf(), caller,
                            ": the result is a leaf itself, which no operation made");
  require<std::logic_error>(
      y.defined() && y.value_->tape_ == id_, caller,
      y.defined() && y.value_->tape_ != 0
          ? ": the result was recorded on another tape"
          : ": the result depends on no tensor that requires a gradient, or was computed "
            "before this tape began");
  if (!seed.defined())
    require<ShapeError>(y.size() == 1, caller, ": needs a scalar, got shape ", y.shape(),
                        ": reduce with mean(), or pass a seed of that shape");
  else
    require<ShapeError>(seed.shape() == y.shape(), caller, ": the seed has shape ", seed.shape(),
                        ", the result ", y.shape());
  for (std::size_t index = 0; index <= y.value_->entry_; ++index) {
    const Entry& entry = *entries_[index];
    bool changed = entry.output.changed();
    for (const Saved& input : entry.inputs) changed |= input.changed();
    require<std::logic_error>(!changed, caller, ": a tensor that the rule of ", entry.op,
                              " reads was changed in place after it was recorded");
  }
}

Tensor Sweep::sum_to_input(const Entry& entry, std::size_t input, const Tensor& contribution) {
  const Shape& shape = entry.inputs[input].tensor.shape();
  try {
    return sum_to(contribution, shape);
  } catch (const ShapeError&) {
    throw ShapeError(concat_text(entry.op, ": its rule gives input ", input, ", of shape ", shape,
                                 ", a gradient of shape ", contribution.shape()));
  }
}

void detail::throw_not_kept(const char* op, const char* what) {
  throw std::logic_error(
      concat_text(op, ": its rule reads ", what, " that record() was told not to keep"));
}

void detail::throw_fused(const char* op, const char* composite) {
  throw std::logic_error(concat_text(op, ": a fused operation has no second derivative; use ",
                                     composite, " to differentiate twice"));
}

void Sweep::check_finite(const Entry& entry, const Tensor& grad) {
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const Tensor& x = entry.inputs[i].tensor;
    const Tensor* gradient = x.requires_grad() ? slot(x) : nullptr;
    if (!gradient || !gradient->defined() || is_finite(*gradient)) continue;
    std::string text =
        concat_text(entry.op, ": its backward rule produced NaN or Inf", in_place(*entry.place),
                    " for input ", i, " ", x.shape(), " from the gradient ", range_of(grad));
    for (const Saved& input : entry.inputs)
      if (input.has_numbers()) text += concat_text(", input ", range_of(input.tensor));
    if (entry.output.has_numbers()) text += concat_text(", output ", range_of(entry.output.tensor));
    throw std::runtime_error(text);
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
