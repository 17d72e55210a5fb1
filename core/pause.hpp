// Pause: a scope in which nothing is recorded.
#pragma once

#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Stops recording while it lives: `{ Pause pause; accuracy(model(x)); }`
class Pause {
 public:
  Pause() : Pause(nullptr) {}
  ~Pause() { Tape::current_ = paused_; }
  Pause(const Pause&) = delete;

 private:
  friend class Tape;
  explicit Pause(Tape* instead) : paused_(std::exchange(Tape::current_, instead)) {}
  Tape* const paused_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
