// record(): the one way onto the tape, and the two readings of an operation's backward rule.
// Operations are defined with it; code that only uses operations needs ops.hpp alone.
#pragma once

#include <functional>
#include <initializer_list>
#include <type_traits>

#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Which numbers a rule reads, and the tape must therefore keep until it has been read. Shapes are
/// always there. Keeping less frees memory earlier; reading what was not kept is an error that
/// names the operation.
enum class Keep {
  everything,  ///< r.in(i) and r.out()
  inputs,      ///< r.in(i) only
  output,      ///< r.out() only
  others,      ///< r.in(j) only for the gradient of another input: products
  nothing,     ///< neither
};

/// The inputs of an operation, borrowed for the call: `{a, b}` or a vector of tensors.
class InputList {
 public:
  InputList(std::initializer_list<std::reference_wrapper<const Tensor>> list) : references_(list) {}
  InputList(const std::vector<Tensor>& list) : tensors_(list) {}
  std::size_t size() const { return references_.size() + tensors_.size(); }
  const Tensor& operator[](std::size_t i) const {
    return tensors_.empty() ? references_.begin()[i].get() : tensors_[i];
  }

 private:
  std::initializer_list<std::reference_wrapper<const Tensor>> references_;
  std::span<const Tensor> tensors_;
};

/// One backward sweep over a tape: where each gradient gathers.
class Sweep {
 public:
  /// Where the gradient of `x` gathers, or nullptr if nobody wants it.
  Tensor* slot(const Tensor& x);
  /// The gradient's array, to add to in place, if no other tensor shares its numbers; else nullptr.
  static Array* writable(Tensor& gradient);
  /// Adds `contribution`, summed over the axes along which `x` was broadcast.
  void add(const Entry& entry, std::size_t input, Tensor contribution);

 private:
  friend class Tape;
  Sweep(Tape& tape, std::span<const Tensor> wanted, bool record)
      : tape_(tape), wanted_(wanted), record_(record) {}
  void run(const Tensor& y, const Tensor& seed, bool release);
  void mark_paths(std::size_t last);

  Tape& tape_;
  std::span<const Tensor> wanted_;  // empty: every leaf that requires a gradient
  const bool record_;
  std::vector<Tensor> results_;  // one per wanted tensor
  std::vector<char> on_path_;    // entries that depend on a wanted tensor
};

/// What both readings share: which inputs want a gradient, and the checks.
class Pull {
 public:
  /// Whether input i wants a gradient; guards work that is done eagerly.
  bool needs(std::size_t i) const {
    const Tensor& x = entry_.inputs[i].tensor;
    return x.requires_grad() && sweep_.slot(x) != nullptr;
  }
  const Shape& shape(std::size_t i) const { return entry_.inputs[i].tensor.shape(); }

 protected:
  Pull(Sweep& sweep, const Entry& entry, const Tensor& grad)
      : sweep_(sweep), entry_(entry), grad_(grad) {}
  const Tensor& saved(const Saved& x, const char* what) const;

  Sweep& sweep_;
  const Entry& entry_;
  const Tensor& grad_;
};

/// Reads a rule on numbers. `grad()`, `in(i)` and `out()` are xtensor expressions, so what is
/// handed to `to` is one lazy expression: evaluated once, added in the same pass, skipped if nobody
/// wants it.
class RawPull : public Pull {
 public:
  static constexpr bool recorded = false;
  RawPull(Sweep& sweep, const Entry& entry, const Tensor& grad) : Pull(sweep, entry, grad) {}

  const Value& grad() const { return value(grad_); }
  const Value& in(std::size_t i) const { return value(saved(entry_.inputs[i], "an input")); }
  const Value& out() const { return value(saved(entry_.output, "the output")); }

  /// Adds `contribution`, an xtensor expression or a Tensor, to the gradient of input i.
  template <class E>
  void to(std::size_t i, E&& contribution) {
    if (!needs(i)) return;
    if constexpr (std::is_convertible_v<E, Tensor>) {
      sweep_.add(entry_, i, std::forward<E>(contribution));
    } else {
      Tensor* gradient = sweep_.slot(entry_.inputs[i].tensor);
      if (Array* target = Sweep::writable(*gradient);
          target && same_shape(target->shape(), contribution.shape()))
        xt::noalias(*target) += contribution;
      else
        sweep_.add(entry_, i, Tensor(contribution));
    }
  }

 private:
  static const Value& value(const Tensor& x);
  template <class A, class B>
  static bool same_shape(const A& a, const B& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
  }
};

/// Reads the same rule on tensors, so that the gradient is itself on the tape and can be
/// differentiated.
class RecordedPull : public Pull {
 public:
  static constexpr bool recorded = true;
  RecordedPull(Sweep& sweep, const Entry& entry, const Tensor& grad) : Pull(sweep, entry, grad) {}

  const Tensor& grad() const { return grad_; }
  const Tensor& in(std::size_t i) const { return saved(entry_.inputs[i], "an input"); }
  const Tensor& out() const { return saved(entry_.output, "the output"); }
  void to(std::size_t i, const Tensor& contribution) {
    if (needs(i)) sweep_.add(entry_, i, contribution);
  }
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
      throw std::logic_error(concat_text(op, ": a fused operation has no second derivative; use ",
                                         composite, " to differentiate twice"));
  }
  F rule;
  const char* composite;
};

bool is_recording(const InputList& inputs);
void append(std::unique_ptr<Entry> entry, const InputList& inputs, const Tensor& output, Keep keep);
void check_finite(const char* op, const InputList& inputs, const Tensor& output);
[[noreturn]] void throw_broadcast_error(const char* op, const InputList& inputs);

template <class V>
Tensor evaluate(const char* op, const InputList& inputs, V&& value) {
  if constexpr (std::is_convertible_v<V, Tensor>)
    return std::forward<V>(value);
  else {
    try {
      return Tensor(value);
    } catch (const xt::broadcast_error&) {
      throw_broadcast_error(op, inputs);
    }
  }
}

template <class V, class F>
Tensor record(const char* op, const char* composite, const InputList& inputs, V&& value, Keep keep,
              F rule) {
  Tensor output = evaluate(op, inputs, std::forward<V>(value));
  if (is_recording(inputs))
    append(std::unique_ptr<Entry>(new EntryOf<F>(op, composite, inputs.size(), std::move(rule))),
           inputs, output, keep);
  if (Tape* tape = Tape::current(); tape && tape->options().check_finite)
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
