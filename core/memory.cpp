// The pool behind every tensor. Small blocks (nodes, scalars) come from slabs and are recycled per
// thread without a lock. Large ones are cut from regions under one mutex, the tightest free piece
// first, and join their free neighbours when they come back: so what activations leave behind
// serves for gradients, whatever the sizes of either.
#include <xgrad/core/memory.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#endif

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

constexpr std::size_t small_limit = 4096 + alignment;  // largest block that is cut from a slab
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

/// What stands before the bytes of every large block, in use or free (boundary tags: Knuth 1997,
/// The Art of Computer Programming 1, 2.5). The blocks of a region lie one behind the other.
struct alignas(alignment) Block {
  std::size_t bytes;  // behind this header
  Block* before;      // in the region; nullptr: this is its first
  bool last;          // in the region
  bool free;
  Block *next, *previous;  // in its bin, while free

  char* memory() { return reinterpret_cast<char*>(this + 1); }
  static Block* of(void* memory) { return static_cast<Block*>(memory) - 1; }
  Block* after() { return last ? nullptr : reinterpret_cast<Block*>(memory() + bytes); }
};
static_assert(sizeof(Block) == alignment);

/// Four bins between two powers of 2.
std::size_t bin_of(std::size_t bytes) {
  const std::size_t power = std::bit_floor(bytes);
  return static_cast<std::size_t>(std::bit_width(bytes)) * 4 + (bytes - power) * 4 / power;
}

/// The large blocks. Not thread-safe.
class Regions {
 public:
  /// A block of at least `bytes`, a multiple of the alignment; nullptr if none is free.
  Block* take(std::size_t bytes) {
    for (std::size_t bin = bin_of(bytes); bin < bins_.size(); ++bin) {
      Block* tightest = nullptr;
      for (Block* block = bins_[bin]; block; block = block->next)
        if (block->bytes >= bytes && (!tightest || block->bytes < tightest->bytes))
          tightest = block;
      if (tightest) return cut(tightest, bytes);
    }
    return nullptr;
  }

  void give_back(Block* block) {
    if (Block* after = block->after(); after && after->free) {
      unlink(after);
      swallow(block, after);
    }
    if (Block* before = block->before; before && before->free) {
      unlink(before);
      swallow(before, block);
      block = before;
    }
    link(block);
  }

  /// A new region with room for `bytes`, and how large it is: larger than asked for, so that there
  /// are few; what is not touched costs nothing yet.
  std::size_t grow(std::size_t bytes) {
    const std::size_t page = std::size_t{1} << 21;  // large pages, where the system has them
    std::size_t size = std::max(bytes + sizeof(Block), std::min(total_, std::size_t{1} << 28));
    size = (size + page - 1) / page * page;
    void* region = std::aligned_alloc(page, size);
    if (!region) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    madvise(region, size, MADV_HUGEPAGE);
#endif
    total_ += size;
    link(new (region) Block{.bytes = size - sizeof(Block),
                            .before = nullptr,
                            .last = true,
                            .free = true,
                            .next = nullptr,
                            .previous = nullptr});
    return size;
  }

  /// Gives regions back that are free from end to end.
  void trim() {
    for (Block* block : bins_)
      while (block) {
        Block* const next = block->next;
        if (!block->before && block->last) {
          unlink(block);
          unpoison(block->memory(), block->bytes);
          total_ -= block->bytes + sizeof(Block);
          std::free(block);
        }
        block = next;
      }
  }

  std::size_t total() const { return total_; }

 private:
  Block* cut(Block* block, std::size_t bytes) {
    unlink(block);
    unpoison(block->memory(), block->bytes);
    block->free = false;
    if (block->bytes >= bytes + sizeof(Block) + small_limit) {
      Block* const rest =
          new (block->memory() + bytes) Block{.bytes = block->bytes - bytes - sizeof(Block),
                                              .before = block,
                                              .last = block->last,
                                              .free = true,
                                              .next = nullptr,
                                              .previous = nullptr};
      if (Block* after = rest->after()) after->before = rest;
      block->bytes = bytes;
      block->last = false;
      link(rest);
    }
    return block;
  }

  void swallow(Block* block, Block* after) {
    block->bytes += sizeof(Block) + after->bytes;
    block->last = after->last;
    if (Block* next = block->after()) next->before = block;
  }

  void link(Block* block) {
    Block*& top = bins_[bin_of(block->bytes)];
    block->free = true;
    block->previous = nullptr;
    block->next = top;
    if (top) top->previous = block;
    top = block;
    poison(block->memory(), block->bytes);
  }

  void unlink(Block* block) {
    (block->previous ? block->previous->next : bins_[bin_of(block->bytes)]) = block->next;
    if (block->next) block->next->previous = block->previous;
  }

  std::array<Block*, 4 * 65> bins_{};
  std::size_t total_ = 0;
};

/// What all threads share.
struct Pool {
  std::mutex mutex;
  Stats stats{};
  std::array<FreeList, small_classes + 1> small{};
  Regions large;

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
  const std::size_t before = pool().large.total();
  pool().large.trim();
  pool().stats.pooled -= before - pool().large.total();
}

void* allocate(std::size_t bytes) {
  if (bytes <= small_limit) [[likely]] {
    const std::size_t index = std::max<std::size_t>(1, (bytes + alignment - 1) / alignment);
    FreeList& list = cache.free[index];
    return list.top ? list.pop(index * alignment) : refill(index, index * alignment);
  }
  if (bytes > (std::size_t{1} << 62)) throw std::bad_alloc();
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  const std::lock_guard lock(pool().mutex);
  Regions& large = pool().large;
  Stats& stats = pool().stats;
  Block* block = large.take(rounded);
  if (!block) {
    stats.pooled += large.grow(rounded);
    ++stats.allocations;
    block = large.take(rounded);
  }
  stats.pooled -= block->bytes + sizeof(Block);
  pool().count_in_use(block->bytes + sizeof(Block));
  return block->memory();
}

void release(void* memory, std::size_t bytes) noexcept {
  if (bytes <= small_limit) [[likely]] {
    const std::size_t index = std::max<std::size_t>(1, (bytes + alignment - 1) / alignment);
    FreeList& list = cache.free[index];
    list.push(memory, index * alignment);
    if (list.count > 64 * batch) [[unlikely]] {  // a thread that only frees must not hoard
      const std::lock_guard lock(pool().mutex);
      move_blocks(list, pool().small[index], 32 * batch, index * alignment);
    }
    return;
  }
  const std::lock_guard lock(pool().mutex);
  Block* const block = Block::of(memory);
  pool().stats.current -= block->bytes + sizeof(Block);
  pool().stats.pooled += block->bytes + sizeof(Block);
  pool().large.give_back(block);
}

}  // namespace xgrad::inline XGRAD_PRECISION::memory
