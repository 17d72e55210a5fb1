// Memory for tensors: a pool that keeps what it was given back, so that a training step, once warm,
// never asks the system for tensor storage. It knows bytes only; tensor.hpp gives them a shape.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

namespace memory {

/// Alignment of every block, in bytes: one cache line, one AVX-512 register.
inline constexpr std::size_t alignment = 64;

struct Stats {
  std::size_t current;  ///< bytes in use (small blocks are counted by the slab they come from)
  std::size_t peak;     ///< highest `current` since the start or the last reset_peak()
  std::size_t pooled;   ///< bytes held ready for reuse
  std::uint64_t allocations;  ///< how often the system was asked for memory, ever
};

Stats stats();
void reset_peak();

/// Gives all pooled blocks back to the system.
void trim();

/// A block of at least `bytes` bytes, aligned to `alignment`. Thread-safe. Throws std::bad_alloc.
void* allocate(std::size_t bytes);

/// Takes back a block that `allocate(bytes)` gave. Any thread may release any block.
void release(void* block, std::size_t bytes) noexcept;

}  // namespace memory

/// Base of objects that live in the pool and count their owners.
class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  template <class>
  friend class Ref;
  std::atomic<std::uint32_t> owners_{0};
};

/// Shared ownership of a `Counted`: one pointer wide, no control block beside the object.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) { acquire(); }
  Ref(const Ref& other) : object_(other.object_) { acquire(); }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ && object_->owners_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      T::destroy(object_);
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  bool unique() const { return object_ && object_->owners_.load(std::memory_order_acquire) == 1; }

 private:
  void acquire() {
    if (object_) object_->owners_.fetch_add(1, std::memory_order_relaxed);
  }
  T* object_ = nullptr;
};

}  // namespace xgrad::inline XGRAD_PRECISION
