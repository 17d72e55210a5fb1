// The tape: operations in the order in which they ran, and the loop that reads them backwards.
// What an operation writes here, and how its rule is read, is record.hpp.
#pragma once

#include <thread>

#include <xgrad/core/lists.hpp>
#include <xgrad/core/observer.hpp>
#include <xgrad/core/saved.hpp>

namespace xgrad::inline XGRAD_PRECISION {

template <bool recorded>
class Pull;
using RawPull = Pull<false>;
using RecordedPull = Pull<true>;

/// One operation that ran, and how the gradient of its output is pulled back to its inputs. The
/// rule can be read in two ways: *raw*, on numbers, or *recorded*, on tensors whose operations go
/// onto the tape themselves.
struct Entry {
  Entry(const char* op, std::size_t input_count) : op(op), inputs(input_count) {}
  virtual ~Entry() = default;
  virtual void pull(RawPull& r) = 0;
  virtual void pull(RecordedPull& r) = 0;
  static void* operator new(std::size_t bytes) { return memory::allocate(bytes); }
  static void operator delete(void* entry, std::size_t bytes) { memory::release(entry, bytes); }

  const char* op;
  SmallList<Saved, 3> inputs;
  Saved output;
  Tensor grad;                               // dL/d(output) while a sweep is under way
  Again again;                               // computes the output once more, if that is cheap
  std::unique_ptr<const std::string> place;  // the module it ran in, noted under check_finite
};

struct TapeOptions {
  /// Throw std::runtime_error as soon as an operation makes NaN, or Inf from finite inputs, and as
  /// soon as a gradient is not finite.
  bool check_finite = false;
  Observer* observer = nullptr;
  /// Take tensors that another tape recorded for leaves instead of refusing them.
  bool nested = false;
};

struct GradientOptions {
  /// Record the backward pass too, so that the result can be differentiated again.
  bool record = false;
  /// Keep the tape usable for another sweep (implied by `record`).
  bool retain = false;
};

/// Records the operations of its scope and differentiates them.
///
///     Tape tape;                          // from here on, operations are written down
///     Tensor loss = mean(square(w * x));
///     tape.backward(loss);                // w.grad() += dloss/dw
///
/// Tapes of one thread nest: the innermost records. A tape serves one sweep (unless `retain`) and
/// the thread that made it. Misuse throws std::logic_error.
class Tape {
 public:
  explicit Tape(TapeOptions options = {});
  ~Tape();
  Tape(const Tape&) = delete;

  /// Adds d(sum(seed * y))/d(leaf) to the `grad()` of every leaf that requires a gradient. Without
  /// a seed `y` must have one element.
  void backward(const Tensor& y, const Tensor& seed = {}, GradientOptions options = {});

  /// The gradients of `y` (weighted by `seed`) with respect to `xs`, leaves or intermediates of
  /// this tape; zeros where `y` does not depend on one. No `grad()` changes.
  std::vector<Tensor> gradient(const Tensor& y, std::span<const Tensor> xs,
                               GradientOptions options = {}, const Tensor& seed = {});
  std::vector<Tensor> gradient(const Tensor& y, std::initializer_list<Tensor> xs,
                               GradientOptions options = {}, const Tensor& seed = {}) {
    return gradient(y, std::span(xs.begin(), xs.size()), options, seed);
  }
  Tensor gradient(const Tensor& y, const Tensor& x, GradientOptions options = {},
                  const Tensor& seed = {}) {
    return gradient(y, std::span(&x, 1), options, seed).front();
  }

  std::size_t size() const { return entries_.size(); }
  const Entry& operator[](std::size_t index) const { return *entries_[index]; }
  const TapeOptions& options() const { return options_; }

  /// The entry that made x, or nullptr if none of this tape did.
  Entry* maker(const Tensor& x) const;

  /// The tape that records this thread's operations now, or nullptr.
  static Tape* current() { return current_; }

  /// Writes down that `op` made `output`; record() in record.hpp is the way to call it.
  void append(std::unique_ptr<Entry> entry);

 private:
  friend class Pause;
  friend class Sweep;
  void check_entry(const Entry& entry) const;
  void check_sweep(const char* caller, const Tensor& y, const Tensor& seed) const;

  static inline constinit thread_local Tape* current_ = nullptr;
  static inline std::atomic<std::uint64_t> tapes_{0};  // how many there were
  const TapeOptions options_;
  const std::uint64_t id_ = ++tapes_;
  Tape* const outer_;
  const std::thread::id thread_;
  bool used_ = false;
  std::vector<std::unique_ptr<Entry>> entries_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
