// Observer: what a profiler, a graph drawing or a teaching tool sees of a tape.
#pragma once

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct Entry;

/// Watches a tape. All calls come from the tape's thread.
class Observer {
 public:
  virtual ~Observer() = default;
  /// An operation was written down as entry `index`.
  virtual void on_record(std::size_t /*index*/, const Entry&) {}
  /// The gradient of its output is complete, and its rule is about to be read.
  virtual void on_pull(std::size_t /*index*/, const Entry&, const Tensor& /*grad*/) {}
};

}  // namespace xgrad::inline XGRAD_PRECISION
