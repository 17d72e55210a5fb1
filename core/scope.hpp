// Scope: which part of the program runs, for messages. It knows nothing of modules; they describe
// themselves when somebody asks.
#pragma once

#include <string>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Marks a stretch of execution on this thread: `const Scope here(describe, this);`. Entering costs
/// two pointers; words are made only when path() is called.
class Scope {
 public:
  using Describe = std::string (*)(const void* subject);

  Scope(Describe describe, const void* subject)
      : describe_(describe), subject_(subject), outer_(current_) {
    current_ = this;
  }
  ~Scope() { current_ = outer_; }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  /// The innermost scope in words, such as "Gpt.h.2.attn"; empty outside of all.
  static std::string path() {
    return current_ ? current_->describe_(current_->subject_) : std::string();
  }

 private:
  const Describe describe_;
  const void* const subject_;
  const Scope* const outer_;
  static inline constinit thread_local const Scope* current_ = nullptr;
};

}  // namespace xgrad::inline XGRAD_PRECISION
