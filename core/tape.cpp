// The engine: writing operations down and reading them backwards. With record.hpp this is all there
// is. Derivatives are not here; each operation brings its own.
#include <algorithm>
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

constinit thread_local Tape* current_tape = nullptr;
thread_local std::vector<std::unique_ptr<Entry>>
    spare_entries;  // the last tape's storage, for the next one

std::uint64_t next_id() {
  static std::atomic<std::uint64_t> id{0};
  return ++id;
}

bool all_finite(const Tensor& x) {
  return std::all_of(x.data(), x.data() + x.size(), [](real v) { return std::isfinite(v); });
}

}  // namespace

// ---- writing

Tape::Tape(TapeOptions options)
    : options_(options), id_(next_id()), outer_(current_tape), thread_(std::this_thread::get_id()) {
  current_tape = this;
  entries_.swap(spare_entries);
}

Tape::~Tape() {
  current_tape = outer_;
  entries_.clear();
  entries_.swap(spare_entries);
}

Tape* Tape::current() { return current_tape; }

Pause::Pause(Tape* instead) : paused_(std::exchange(current_tape, instead)) {}
Pause::~Pause() { current_tape = paused_; }

Saved::Saved(const Tensor& x, bool keep_numbers)
    : tensor(x.value_, keep_numbers ? x.buffer_ : Ref<Buffer>()) {
  if (keep_numbers) version = x.buffer_->version;
}

void Tape::append(std::unique_ptr<Entry> entry) {
  if (used_) return;  // what follows the sweep (metrics, say) is not written down
  for (std::size_t i = 0; i < entry->inputs.size(); ++i) {
    const std::uint64_t tape = entry->inputs[i].tensor.value_->tape_;
    require<std::logic_error>(
        tape == 0 || tape == id_, entry->op, ": input ", i,
        " was recorded on another tape; detach() it if no gradient should flow there");
  }
  Value& output = *entry->output.tensor.value_;
  require<std::logic_error>(
      !output.requires_grad_, entry->op,
      ": its value is one of its inputs or another recorded tensor; a result needs a handle of its "
      "own");
  output.requires_grad_ = true;
  output.tape_ = id_;
  output.entry_ = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back(std::move(entry));
  if (options_.observer) options_.observer->on_record(entries_.size() - 1, *entries_.back());
}

namespace detail {

bool is_recording(const InputList& inputs) {
  if (!Tape::current()) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].requires_grad()) return true;
  return false;
}

void append(std::unique_ptr<Entry> entry, const InputList& inputs, const Tensor& output,
            Keep keep) {
  std::size_t wanting = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) wanting += inputs[i].requires_grad();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool another_wants = wanting > (inputs[i].requires_grad() ? 1 : 0);
    entry->inputs[i] = Saved(inputs[i], keep == Keep::everything || keep == Keep::inputs ||
                                            (keep == Keep::others && another_wants));
  }
  entry->output = Saved(output, keep == Keep::everything || keep == Keep::output);
  Tape::current()->append(std::move(entry));
}

void check_finite(const char* op, const InputList& inputs, const Tensor& output) {
  if (all_finite(output)) return;
  std::string text = concat_text(op, ": produced NaN or Inf from inputs");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const real* x = inputs[i].data();
    const auto [low, high] = std::minmax_element(x, x + inputs[i].size());
    text += ' ' + to_string(inputs[i].shape());
    if (inputs[i].size() > 0) text += concat_text(" in [", *low, ", ", *high, "]");
  }
  throw std::runtime_error(text);
}

void throw_broadcast_error(const char* op, const InputList& inputs) {
  Shape shape;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    shape = broadcast_shapes(op, shape, inputs[i].shape());
  throw std::logic_error(concat_text(op, ": its inputs broadcast, yet its expression does not"));
}

}  // namespace detail

// ---- reading backwards

const Tensor& Pull::saved(const Saved& x, const char* what) const {
  require<std::logic_error>(x.has_numbers(), entry_.op, ": its rule reads ", what,
                            " that record() was told not to keep");
  return x.tensor;
}

const Value& RawPull::value(const Tensor& x) { return *x.value_; }

Array* Sweep::writable(Tensor& gradient) {
  return gradient.defined() && gradient.buffer_.unique() ? gradient.value_.get() : nullptr;
}

Tensor* Sweep::slot(const Tensor& x) {
  const Value& value = *x.value_;
  if (value.tape_ == tape_.id_)
    return wanted_.empty() || on_path_[value.entry_] ? &tape_.entries_[value.entry_]->grad
                                                     : nullptr;
  if (wanted_.empty()) return &x.value_->grad_;
  for (std::size_t i = 0; i < wanted_.size(); ++i)
    if (wanted_[i].value_.get() == &value) return &results_[i];
  return nullptr;
}

void Sweep::add(const Entry& entry, std::size_t input, Tensor contribution) {
  const Tensor& x = entry.inputs[input].tensor;

  if (contribution.shape() != x.shape()) {
    try {
      contribution = sum_to(contribution, x.shape());
    } catch (const ShapeError&) {
      throw ShapeError(concat_text(entry.op, ": its rule gives input ", input, ", of shape ",
                                   x.shape(), ", a gradient of shape ", contribution.shape()));
    }
  }
  Tensor& gradient = *slot(x);
  if (!gradient.defined()) {
    // A leaf's gradient will be written to by optimizers and clipping, so it must not share its
    // numbers.
    const bool shares = x.is_leaf() && !record_ && !contribution.buffer_.unique();
    gradient = shares ? contribution.clone() : std::move(contribution);
  } else if (Array* sum = record_ ? nullptr : writable(gradient)) {
    xt::noalias(*sum) += contribution.array();
  } else {
    gradient = gradient + contribution;
  }
  if (tape_.options_.check_finite)
    require<std::runtime_error>(all_finite(gradient), entry.op,
                                ": its backward rule produced NaN or Inf for input ", input, " ",
                                x.shape());
}

/// Marks the entries through which a gradient on its way to a wanted tensor passes.
void Sweep::mark_paths(std::size_t last) {
  on_path_.assign(last + 1, 0);
  const auto leads_on = [&](const Tensor& x) {
    for (const Tensor& w : wanted_)
      if (w.value_.get() == x.value_.get()) return true;
    return x.value_->tape_ == tape_.id_ && on_path_[x.value_->entry_] != 0;
  };
  for (std::size_t index = 0; index <= last; ++index) {
    const Entry& entry = *tape_.entries_[index];
    bool marked = leads_on(entry.output.tensor);
    for (std::size_t i = 0; i < entry.inputs.size(); ++i)
      marked |= leads_on(entry.inputs[i].tensor);
    on_path_[index] = marked;
  }
}

void Sweep::run(const Tensor& y, const Tensor& seed, bool release) {
  // Whatever happens, no half-gathered gradient may wait on the tape for another sweep.
  struct Cleanup {
    std::vector<std::unique_ptr<Entry>>& entries;
    ~Cleanup() {
      if (std::uncaught_exceptions() > 0)
        for (const auto& entry : entries)
          if (entry) entry->grad = {};
    }
  } const cleanup{tape_.entries_};
  const std::size_t last = y.value_->entry_;
  if (!wanted_.empty()) mark_paths(last);
  results_.resize(wanted_.size());
  tape_.entries_[last]->grad = seed;
  for (std::size_t index = last + 1; index-- > 0;) {
    Entry& entry = *tape_.entries_[index];
    if (const Tensor grad = std::exchange(entry.grad, {}); grad.defined()) {
      if (tape_.options_.observer) tape_.options_.observer->on_pull(index, entry, grad);
      for (std::size_t i = 0; i < wanted_.size(); ++i)
        if (wanted_[i].value_.get() == entry.output.tensor.value_.get()) results_[i] = grad;
      if (record_) {
        RecordedPull r(*this, entry, grad);
        entry.pull(r);
      } else {
        RawPull r(*this, entry, grad);
        entry.pull(r);
      }
    }
    if (release) tape_.entries_[index].reset();
  }
}

void Tape::check_sweep(const char* caller, const Tensor& y, const Tensor& seed) const {
  require<std::logic_error>(
      !used_, caller,
      ": this tape was already read backwards; make a new Tape for every step, or pass "
      "{.retain = true} to read it again");
  require<std::logic_error>(thread_ == std::this_thread::get_id(), caller,
                            ": this tape belongs to another thread");
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
    for (std::size_t i = 0; i < entry.inputs.size(); ++i) changed |= entry.inputs[i].changed();
    require<std::logic_error>(!changed, caller, ": a tensor that the rule of ", entry.op,
                              " reads was changed in place after it was recorded");
  }
}

void Tape::backward(const Tensor& y, const Tensor& seed, GradientOptions options) {
  check_sweep("backward", y, seed);
  require(!options.record, "backward: cannot record; use gradient(y, xs, {.record = true})");
  used_ = !options.retain;
  const Pause pause;
  Sweep(*this, {}, false).run(y, seed.defined() ? seed : ones(y.shape()), used_);
}

std::vector<Tensor> Tape::gradient(const Tensor& y, std::span<const Tensor> xs,
                                   GradientOptions options, const Tensor& seed) {
  check_sweep("gradient", y, seed);
  require(!xs.empty(), "gradient: no tensors to differentiate with respect to");
  for (const Tensor& x : xs)
    require<std::logic_error>(
        x.requires_grad() && (x.is_leaf() || x.value_->tape_ == id_),
        "gradient: a tensor to differentiate with respect to does not require a "
        "gradient, or was recorded on another tape");
  used_ = !options.retain && !options.record;
  const Pause pause(options.record ? this : nullptr);
  Sweep sweep(*this, xs, options.record);
  sweep.run(y, seed.defined() ? seed : ones(y.shape()), used_);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    if (xs[i].is_leaf()) sweep.results_[i] = *sweep.slot(xs[i]);  // named twice
    if (!sweep.results_[i].defined()) sweep.results_[i] = zeros(xs[i].shape());
  }
  return std::move(sweep.results_);
}

}  // namespace xgrad::inline XGRAD_PRECISION
