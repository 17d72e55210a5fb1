// Recomputation in backward; see recompute.hpp.
#include <xgrad/core/recompute.hpp>

#include <unordered_set>

#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// The streams that the operations of one call took, in order.
class Draws {
 public:
  /// Listens while it lives, first to remember, then to repeat.
  class Listening {
   public:
    Listening(Draws& draws, bool repeat)
        : draws_(draws), repeat_(repeat), outer_(std::exchange(current_, this)) {}
    ~Listening() { current_ = outer_; }
    Listening(const Listening&) = delete;
    Listening& operator=(const Listening&) = delete;

    bool repeats() const { return repeat_; }
    const Listening* outer() const { return outer_; }
    Rng take(Rng& rng, std::uint64_t blocks) {
      if (repeat_) {
        require<std::logic_error>(next_ < draws_.streams_.size(),
                                  "checkpoint: the function draws more when computed again");
        return draws_.streams_[next_++];
      }
      // An enclosing checkpoint must hear of it too, or knows it already.
      draws_.streams_.push_back(outer_ ? outer_->take(rng, blocks) : advance(rng, blocks));
      return draws_.streams_.back();
    }

   private:
    Draws& draws_;
    const bool repeat_;
    std::size_t next_ = 0;
    Listening* const outer_;
  };

  static Rng take(Rng& rng, std::uint64_t blocks) {
    return current_ ? current_->take(rng, blocks) : advance(rng, blocks);
  }
  static bool repeats() {
    bool any = false;
    for (const Listening* l = current_; l; l = l->outer()) any |= l->repeats();
    return any;
  }

 private:
  static Rng advance(Rng& rng, std::uint64_t blocks) {
    const Rng stream = rng;
    rng.skip(blocks);
    return stream;
  }
  std::vector<Rng> streams_;
  static inline constinit thread_local Listening* current_ = nullptr;
};

/// A sweep over the tape of a recomputation. What does not lie on that tape gathers where the sweep
/// outside wants it: the same additions in the same order as if nothing had been recomputed.
class InnerSweep : public Sweep {
 public:
  InnerSweep(Tape& tape, Sweep& outside) : Sweep(tape), outside_(outside) {}
  Tensor* slot(const Tensor& x) override {
    return maker(x) == none ? outside_.slot(x) : Sweep::slot(x);
  }

 private:
  Sweep& outside_;
};

}  // namespace

/// What a function uses from outside: the tensors that its operations read and none of them made,
/// caught while their numbers are surely there.
class Sources : public Observer {
 public:
  void on_record(std::size_t, const Entry& entry) override {
    for (const Saved& input : entry.inputs)
      if (input.tensor.requires_grad() && seen_.insert(input.tensor.value_.get()).second)
        tensors_.push_back(*input.tensor.value_);
    seen_.insert(entry.output.tensor.value_.get());
  }
  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  std::unordered_set<const Value*> seen_;
  std::vector<Tensor> tensors_;
};

Tensor checkpoint(std::function<Tensor(const std::vector<Tensor>&)> fn,
                  const std::vector<Tensor>& inputs) {
  const Tape* const outside = Tape::current();
  if (!outside) return fn(inputs);
  const TapeOptions options{.check_finite = outside->options().check_finite, .nested = true};
  Draws draws;
  Sources sources;
  Tensor y;
  {
    const Draws::Listening listening(draws, false);
    TapeOptions watched = options;
    watched.observer = &sources;
    Tape tape(watched);
    y = fn(inputs);
    if (Sweep(tape).maker(y) == Sweep::none) return y;  // a constant, or one of the inputs
  }
  return record_fused("checkpoint", "the function itself", sources.tensors(), y.detach(),
                      Keep::inputs, [fn, inputs, options, draws](RawPull& r) mutable {
                        const Draws::Listening listening(draws, true);
                        Tape tape(options);
                        const Tensor again = fn(inputs);
                        require<std::logic_error>(
                            Sweep(tape).maker(again) != Sweep::none,
                            "checkpoint: the function computes something else the second time");
                        InnerSweep(tape, r.sweep()).run(again, r.grad(), true);
                      });
}

Rng take_stream(Rng& rng, std::uint64_t blocks) { return Draws::take(rng, blocks); }
bool is_recomputing() { return Draws::repeats(); }

}  // namespace xgrad::inline XGRAD_PRECISION
