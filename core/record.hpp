// record(): the one way onto the tape, and the two readings of an operation's backward rule.
// Operations are defined with it; code that only uses operations needs ops.hpp alone.
#pragma once

#include <forward_list>

#include <xgrad/core/guards.hpp>
#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// One backward sweep over a tape: the loop, and where each gradient gathers.
class Sweep {
 public:
  explicit Sweep(Tape& tape, bool record = false) : tape_(tape), record_(record) {}
  virtual ~Sweep() = default;
  /// Reads the tape from y's entry to its front.
  void run(const Tensor& y, const Tensor& seed, bool release);
  /// Where the gradient of `x` gathers, or nullptr if nobody wants it: here every leaf's is wanted.
  virtual Tensor* slot(const Tensor& x);
  /// Adds `contribution` to the gradient of an input, summed over the axes along which it was
  /// broadcast.
  void add(const Entry& entry, std::size_t input, Tensor contribution);
  /// The gradient's array, to add to in place, if no other tensor shares its numbers; else nullptr.
  static Array* writable(Tensor& gradient);
  /// The index of the entry of this tape that made x, or none.
  std::size_t maker(const Tensor& x) const;
  static constexpr std::size_t none = static_cast<std::size_t>(-1);

 protected:
  static bool same(const Tensor& a, const Tensor& b) { return a.value_.get() == b.value_.get(); }
  /// The gradient of the entry's output has gathered.
  virtual void on_complete(const Entry&, const Tensor& /*grad*/) {}
  static Tensor sum_to_input(const Entry& entry, std::size_t input, const Tensor& contribution);
  void check_finite(const Entry& entry, const Tensor& grad);

  Tape& tape_;
  const bool record_;
};

/// What a rule sees of its operation: `grad()`, `in(i)`, `out()`, and `to(i, …)` for what it finds.
///
/// Read *raw*, they are xtensor expressions, so what is handed to `to` is one lazy expression:
/// evaluated once, added in the same pass, skipped if nobody wants it. Read *recorded*, they are
/// tensors, and the same rule builds a gradient that is on the tape itself.
template <bool is_recorded>
class Pull {
 public:
  static constexpr bool recorded = is_recorded;
  using Numbers = std::conditional_t<recorded, Tensor, Value>;

  Pull(Sweep& sweep, const Entry& entry, const Tensor& grad)
      : sweep_(sweep), entry_(entry), grad_(grad) {}

  const Numbers& grad() const { return numbers(grad_); }
  const Numbers& in(std::size_t i) const { return numbers(saved(entry_.inputs[i], "an input")); }
  const Numbers& out() const { return numbers(saved(entry_.output, "the output")); }
  const Shape& shape(std::size_t i) const { return entry_.inputs[i].tensor.shape(); }
  Sweep& sweep() { return sweep_; }
  /// in(i) for as long as the caller holds it. (What in(i) had to compute again lives as long as
  /// the rule is read.)
  Tensor tensor(std::size_t i) const {
    const Saved& x = entry_.inputs[i];
    return x.maker ? x.again() : saved(x, "an input");
  }
  /// Where something of the gradient's shape may be written: over it, if nobody else reads it.
  Tensor room() const { return grad_.buffer_.unique() ? grad_ : Tensor::empty(grad_.shape()); }

  /// Whether input i wants a gradient; guards work that is done eagerly.
  bool needs(std::size_t i) const {
    const Tensor& x = entry_.inputs[i].tensor;
    return x.requires_grad() && sweep_.slot(x) != nullptr;
  }

  /// Adds `contribution`, an expression or a Tensor, to the gradient of input i.
  template <class E>
  void to(std::size_t i, E&& contribution) {
    if (!needs(i)) return;
    if constexpr (std::is_convertible_v<E, Tensor>) {
      sweep_.add(entry_, i, std::forward<E>(contribution));
    } else {
      Array* sum = Sweep::writable(*sweep_.slot(entry_.inputs[i].tensor));
      if (sum && std::ranges::equal(sum->shape(), contribution.shape()))
        xt::noalias(*sum) += contribution;
      else
        sweep_.add(entry_, i, Tensor(contribution));
    }
  }

  /// For kernels that can add to what is there: fill(numbers, add) on the gradient of input i,
  /// to be added to if `add`, else written for the first time. Not for recorded readings.
  template <class F>
  void into(std::size_t i, const F& fill) {
    if (!needs(i)) return;
    if (Array* sum = Sweep::writable(*sweep_.slot(entry_.inputs[i].tensor)))
      return fill(sum->data(), true);
    Tensor contribution = Tensor::empty(shape(i));
    fill(contribution.mutable_data(), false);
    sweep_.add(entry_, i, std::move(contribution));
  }

 private:
  static const Numbers& numbers(const Tensor& x) {
    if constexpr (recorded)
      return x;
    else
      return *x.value_;
  }
  const Tensor& saved(const Saved& x, const char* what) const {
    if (x.has_numbers()) return x.tensor;
    if (!x.maker) detail::throw_not_kept(entry_.op, what);
    return recomputed_.emplace_front(x.again());
  }

  Sweep& sweep_;
  const Entry& entry_;
  const Tensor& grad_;
  mutable std::forward_list<Tensor> recomputed_;
};

namespace detail {

/// An entry with its rule. A rule that takes a RawPull& only is fused: it has no second derivative.
template <class F>
struct EntryOf final : Entry {
  EntryOf(const char* op, const char* composite, std::size_t input_count, F rule)
      : Entry(op, input_count), rule(std::move(rule)), composite(composite) {}
  void pull(RawPull& r) override { rule(r); }
  void pull(RecordedPull& r) override {
    if constexpr (std::is_invocable_v<F&, RecordedPull&>)
      rule(r);
    else
      throw_fused(op, composite);
  }
  F rule;
  const char* composite;
};

/// How many inputs want a gradient; none if no tape records.
std::size_t count_wanting(const InputList& inputs);
void append(std::unique_ptr<Entry> entry, const InputList& inputs, std::size_t wanting,
            const Tensor& output, Keep keep);

template <class V, class F>
Tensor record(const char* op, const char* composite, const InputList& inputs, V&& value, Keep keep,
              F rule) {
  Tensor output = evaluate(op, inputs, std::forward<V>(value));
  if (const std::size_t wanting = count_wanting(inputs))
    append(std::make_unique<EntryOf<F>>(op, composite, inputs.size(), std::move(rule)), inputs,
           wanting, output, keep);
  check_finite(op, inputs, output);
  return output;
}

}  // namespace detail

/// Computes an operation and, if a tape records and an input requires a gradient, writes it down.
///
///     Tensor mul(const Tensor& a, const Tensor& b) {
///       return record("mul", {a, b}, a.array() * b.array(), Keep::others, [](auto& r) {
///         r.to(0, r.grad() * r.in(1));      // d(ab)/da = b
///         r.to(1, r.grad() * r.in(0));      // d(ab)/db = a
///       });
///     }
///
/// `value` is an xtensor expression, evaluated here, or a Tensor that holds the result. `rule`
/// states, per input, dL/d(input) in terms of r.grad() = dL/d(output), r.in(i) and r.out(); it may
/// capture small things, never the output's handle. Broadcasting is undone by `to`. In a rule call
/// elementwise functions by their plain name (`exp(r.in(0))`), so that each reading finds its own.
/// Throws ShapeError when the inputs do not broadcast.
template <class V, class F>
Tensor record(const char* op, const InputList& inputs, V&& value, Keep keep, F rule) {
  return detail::record(op, nullptr, inputs, std::forward<V>(value), keep, std::move(rule));
}
template <class V, class F>
Tensor record(const char* op, const InputList& inputs, V&& value, F rule) {
  return record(op, inputs, std::forward<V>(value), Keep::everything, std::move(rule));
}

/// record() for a kernel whose rule works on raw buffers only. `composite` names the composed
/// operation that computes the same and can be differentiated twice; it is what the error says.
template <class V, class F>
Tensor record_fused(const char* op, const char* composite, const InputList& inputs, V&& value,
                    Keep keep, F rule) {
  static_assert(!std::is_invocable_v<F&, RecordedPull&>, "a generic rule belongs to record()");
  return detail::record(op, composite, inputs, std::forward<V>(value), keep, std::move(rule));
}

}  // namespace xgrad::inline XGRAD_PRECISION
