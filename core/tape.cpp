// The engine: writing operations down and reading them backwards. With record.hpp this is all there
// is. Derivatives are not here, each operation brings its own; what is refused is in guards.cpp.
#include <functional>

#include <xgrad/core/kernels/map.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/record.hpp>
#include <xgrad/core/scope.hpp>

namespace xgrad::inline XGRAD_PRECISION {

// ---- writing

Tape::Tape(TapeOptions options)
    : options_(options), outer_(current_), thread_(std::this_thread::get_id()) {
  current_ = this;
}

Tape::~Tape() { current_ = outer_; }

void Tape::append(std::unique_ptr<Entry> entry) {
  if (used_) return;  // what follows the sweep (metrics, say) is not written down
  check_entry(*entry);
  Value& output = *entry->output.tensor.value_;
  output.requires_grad_ = true;
  output.tape_ = id_;
  output.entry_ = static_cast<std::uint32_t>(entries_.size());
  if (options_.check_finite) entry->place = std::make_unique<const std::string>(Scope::path());
  entries_.push_back(std::move(entry));
  if (options_.observer) options_.observer->on_record(entries_.size() - 1, *entries_.back());
}

std::size_t detail::count_wanting(const InputList& inputs) {
  std::size_t count = 0;
  if (Tape::current())
    for (std::size_t i = 0; i < inputs.size(); ++i) count += inputs[i].requires_grad();
  return count;
}

void detail::append(std::unique_ptr<Entry> entry, const InputList& inputs, std::size_t wanting,
                    const Tensor& output, Keep keep) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool another_wants = wanting > (inputs[i].requires_grad() ? 1 : 0);
    const bool reads =
        keep == Keep::everything || keep == Keep::inputs || (keep == Keep::others && another_wants);
    entry->inputs[i] = Saved(inputs[i], reads, Tape::current()->maker(inputs[i]));
  }
  entry->output = Saved(output, keep == Keep::everything || keep == Keep::output, nullptr);
  Tape::current()->append(std::move(entry));
}

// ---- reading backwards

void Tape::backward(const Tensor& y, const Tensor& seed, GradientOptions options) {
  check_sweep("backward", y, seed);
  require(!options.record, "backward: cannot record; use gradient(y, xs, {.record = true})");
  used_ = !options.retain;
  const Pause pause;
  Sweep(*this).run(y, seed.defined() ? seed : ones(y.shape()), used_);
}

void Sweep::run(const Tensor& y, const Tensor& seed, bool release) {
  const std::size_t last = maker(y);
  for (std::size_t i = 0; i < last; ++i) tape_.entries_[i]->grad = {};  // of a sweep that failed
  tape_.entries_[last]->grad = seed;
  for (std::size_t index = last + 1; index-- > 0;) {
    Entry& entry = *tape_.entries_[index];
    if (const Tensor grad = std::exchange(entry.grad, {}); grad.defined()) {
      if (tape_.options_.observer) tape_.options_.observer->on_pull(index, entry, grad);
      on_complete(entry, grad);
      const Tensor witness = tape_.options_.check_finite ? grad : Tensor();  // not written over
      if (record_) {
        RecordedPull r(*this, entry, grad);
        entry.pull(r);
      } else {
        RawPull r(*this, entry, grad);
        entry.pull(r);
      }
      if (tape_.options_.check_finite) check_finite(entry, grad);
    }
    if (release) tape_.entries_[index].reset();
  }
}

Entry* Tape::maker(const Tensor& x) const {
  return x.value_->tape_ == id_ ? entries_[x.value_->entry_].get() : nullptr;
}

std::size_t Sweep::maker(const Tensor& x) const {
  return x.value_->tape_ == tape_.id_ ? x.value_->entry_ : none;
}

Tensor* Sweep::slot(const Tensor& x) {
  Entry* entry = tape_.maker(x);
  return entry ? &entry->grad : &x.value_->grad_;
}

Array* Sweep::writable(Tensor& gradient) {
  return gradient.defined() && gradient.buffer_.unique() ? gradient.value_.get() : nullptr;
}

void Sweep::add(const Entry& entry, std::size_t input, Tensor contribution) {
  const Tensor& x = entry.inputs[input].tensor;
  if (contribution.shape() != x.shape()) contribution = sum_to_input(entry, input, contribution);
  Tensor& gradient = *slot(x);
  if (!gradient.defined()) {
    // A leaf's gradient will be written to by optimizers and clipping, so it must not share its
    // numbers.
    const bool shares = x.is_leaf() && !record_ && !contribution.buffer_.unique();
    gradient = shares ? contribution.clone() : std::move(contribution);
  } else if (Array* sum = record_ ? nullptr : writable(gradient)) {
    kernels::map(sum->size(), sum->data(), std::plus<>(), sum->data(), contribution.data());
  } else {
    gradient = gradient + contribution;
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
