// The pool behind every tensor. Small blocks (nodes, scalars) come from slabs and are recycled per
// thread without a lock; large ones are kept in size classes under one mutex.
#include <xgrad/core/memory.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

// Under AddressSanitizer (g++ and clang say so differently) a pooled block counts as freed.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define XGRAD_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define XGRAD_ASAN
#endif
#ifdef XGRAD_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace xgrad::inline XGRAD_PRECISION::memory {
namespace {

constexpr std::size_t small_limit = 1024;  // largest block that is cut from a slab
constexpr std::size_t small_classes = small_limit / alignment;
constexpr std::size_t slab_bytes = 64 * 1024;
constexpr std::size_t batch =
    256;  // blocks that move between a thread and the shared store at a time

void poison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef XGRAD_ASAN
  __asan_poison_memory_region(memory, bytes);
#endif
}

void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#ifdef XGRAD_ASAN
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

struct FreeBlock {
  FreeBlock* next;
};

/// A singly linked stack of free blocks of one size.
struct FreeList {
  FreeBlock* top;
  std::size_t count;

  void push(void* memory, std::size_t bytes) {
    top = new (memory) FreeBlock{top};
    ++count;
    poison(top + 1, bytes - sizeof(FreeBlock));  // the leak checker must be able to follow the list
  }
  void* pop(std::size_t bytes) {
    FreeBlock* block = top;
    unpoison(block, bytes);
    top = block->next;
    --count;
    return block;
  }
};

void* system_allocate(std::size_t bytes) {
  void* memory = std::aligned_alloc(alignment, bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}

/// Large sizes are rounded up to a quarter step between powers of two: at most a fifth is wasted.
/// The line of header that a tensor's numbers have before them is left out of this, or sizes of 2^n
/// would be the ones that waste most.
std::size_t round_up(std::size_t bytes) {
  const std::size_t numbers = bytes - alignment;
  const std::size_t step = std::max(alignment, std::bit_floor(numbers) / 4);
  return (numbers + step - 1) / step * step + alignment;
}

std::size_t class_of(std::size_t rounded) {
  const std::size_t numbers = rounded - alignment, power = std::bit_floor(numbers);
  return static_cast<std::size_t>(std::bit_width(numbers)) * 4 + (numbers - power) * 4 / power;
}

/// What all threads share.
struct Pool {
  std::mutex mutex;
  Stats stats{};
  std::array<FreeList, small_classes + 1> small{};
  std::array<std::vector<void*>, 4 * 65> large;

  void count_in_use(std::size_t bytes) {
    stats.current += bytes;
    stats.peak = std::max(stats.peak, stats.current);
  }
};

Pool& pool() {
  static Pool* const instance =
      new Pool;  // never destroyed: static tensors may outlive everything else
  return *instance;
}

/// What a thread keeps for itself. Trivial, so that it stays usable while the thread is being torn
/// down.
struct Cache {
  std::array<FreeList, small_classes + 1> free;
  char* slab;
  std::size_t slab_left;
};
constinit thread_local Cache cache{};

void move_blocks(FreeList& from, FreeList& to, std::size_t count, std::size_t bytes) {
  for (; count > 0 && from.top; --count) to.push(from.pop(bytes), bytes);
}

/// Hands a finished thread's blocks to the others.
struct ThreadEnd {
  ~ThreadEnd() {
    const std::lock_guard lock(pool().mutex);
    for (std::size_t i = 0; i <= small_classes; ++i)
      move_blocks(cache.free[i], pool().small[i], cache.free[i].count, i * alignment);
  }
};

/// The slow path of a small allocation: blocks from other threads, else the next piece of a slab.
void* refill(std::size_t index, std::size_t bytes) {
  static thread_local ThreadEnd at_thread_end;
  (void)at_thread_end;
  if (cache.slab_left < bytes) {
    const std::lock_guard lock(pool().mutex);
    FreeList& shared = pool().small[index];
    if (shared.top) {
      move_blocks(shared, cache.free[index], batch, bytes);
      return cache.free[index].pop(bytes);
    }
    // What is left of the old slab is smaller than `bytes`, itself a whole number of blocks: keep
    // it.
    if (cache.slab_left > 0)
      cache.free[cache.slab_left / alignment].push(cache.slab, cache.slab_left);
    cache.slab = static_cast<char*>(system_allocate(slab_bytes));
    cache.slab_left = slab_bytes;
    ++pool().stats.allocations;
    pool().count_in_use(slab_bytes);
  }
  void* block = cache.slab;
  cache.slab += bytes;
  cache.slab_left -= bytes;
  return block;
}

}  // namespace

Stats stats() {
  const std::lock_guard lock(pool().mutex);
  return pool().stats;
}

void reset_peak() {
  const std::lock_guard lock(pool().mutex);
  pool().stats.peak = pool().stats.current;
}

void trim() {
  const std::lock_guard lock(pool().mutex);
  for (std::vector<void*>& blocks : pool().large) {
    for (void* block : blocks) std::free(block);
    blocks.clear();
  }
  pool().stats.pooled = 0;
}

void* allocate(std::size_t bytes) {
  if (bytes <= small_limit) [[likely]] {
    const std::size_t index = std::max<std::size_t>(1, (bytes + alignment - 1) / alignment);
    FreeList& list = cache.free[index];
    return list.top ? list.pop(index * alignment) : refill(index, index * alignment);
  }
  if (bytes > (std::size_t{1} << 62)) throw std::bad_alloc();
  const std::size_t rounded = round_up(bytes);
  {
    const std::lock_guard lock(pool().mutex);
    std::vector<void*>& blocks = pool().large[class_of(rounded)];
    if (!blocks.empty()) {
      void* block = blocks.back();
      blocks.pop_back();
      unpoison(block, rounded);
      pool().stats.pooled -= rounded;
      pool().count_in_use(rounded);
      return block;
    }
  }
  void* block = system_allocate(rounded);
  const std::lock_guard lock(pool().mutex);
  ++pool().stats.allocations;
  pool().count_in_use(rounded);
  return block;
}

void release(void* block, std::size_t bytes) noexcept {
  if (bytes <= small_limit) [[likely]] {
    const std::size_t index = std::max<std::size_t>(1, (bytes + alignment - 1) / alignment);
    FreeList& list = cache.free[index];
    list.push(block, index * alignment);
    if (list.count > 64 * batch) [[unlikely]] {  // a thread that only frees must not hoard
      const std::lock_guard lock(pool().mutex);
      move_blocks(list, pool().small[index], 32 * batch, index * alignment);
    }
    return;
  }
  const std::size_t rounded = round_up(bytes);
  const std::lock_guard lock(pool().mutex);
  poison(block, rounded);
  pool().stats.current -= rounded;
  pool().stats.pooled += rounded;
  pool().large[class_of(rounded)].push_back(block);
}

}  // namespace xgrad::inline XGRAD_PRECISION::memory
