// Threads; see parallel.hpp.
//
// A pool that asks little of the scheduler: the caller works too, blocks are handed out one by one,
// and at the end it waits only for helpers that are in the middle of a block, never for one that
// has not woken up. So a loaded machine slows a loop down by its share, not by a time slice per
// loop, which is what a barrier of all threads costs.
#include <xgrad/core/parallel.hpp>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <xgrad/core/error.hpp>
#include <xgrad/core/memory.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

/// How often to look for the next loop before going to sleep: some 50 microseconds, longer than the
/// serial work between two loops of a training step.
constexpr int patience = 2000;

thread_local bool in_loop = false;  // loops inside a block run inline

struct Pool {
  // What the loop does; written while no helper is registered.
  std::size_t blocks = 0;
  void (*body)(std::size_t, const void*) = nullptr;
  const void* context = nullptr;
  std::exception_ptr failure;
  std::mutex failure_mutex;

  alignas(memory::alignment) std::atomic<std::size_t> next{0};  // block to take
  alignas(memory::alignment) std::atomic<int> helpers{0};       // registered: they read the above
  alignas(memory::alignment) std::atomic<int> loop{0};          // odd while one is open to helpers
  std::atomic<int> wanted{0};                                   // how many helpers may join it

  std::mutex owner;  // held by the thread whose loop runs
  int started = 0;   // threads of the pool; only the owner starts them

  void work() {
    in_loop = true;
    for (std::size_t block; (block = next.fetch_add(1)) < blocks;) {
      try {
        body(block, context);
      } catch (...) {
        const std::lock_guard lock(failure_mutex);
        failure = std::current_exception();
      }
    }
    in_loop = false;
  }

  void help(int index) {
    int seen = 0;
    while (true) {
      for (int i = 0; i < patience && loop.load() == seen; ++i) relax();
      loop.wait(seen);
      seen = loop.load();
      if (seen % 2 == 0 || index >= wanted.load()) continue;
      // Register, then look again: either the owner sees us and waits, or we see that it has closed
      // the loop. (Both are sequentially consistent.)
      ++helpers;
      if (loop.load() == seen) work();
      --helpers;
    }
  }

  void run(std::size_t count, void (*what)(std::size_t, const void*), const void* with) {
    blocks = count;
    body = what;
    context = with;
    next = 0;
    for (; started < wanted; ++started) std::thread([this, i = started] { help(i); }).detach();
    ++loop;
    loop.notify_all();
    work();
    ++loop;
    for (int i = 0; helpers.load() > 0; ++i) i < patience ? relax() : std::this_thread::yield();
    if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  }
};

Pool& pool() {
  static Pool* const instance = new Pool;  // never destroyed: its threads never end
  return *instance;
}

int initial_threads() {
  const char* wish = std::getenv("OMP_NUM_THREADS");
  const int count = wish ? std::atoi(wish) : static_cast<int>(std::thread::hardware_concurrency());
  return std::max(1, count);
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count = initial_threads();
  return count;
}

}  // namespace

void set_num_threads(int count) {
  require(count >= 1, "set_num_threads: needs at least 1, got ", count);
  thread_count() = count;
}

int num_threads() { return thread_count(); }

void detail::run_blocks(std::size_t blocks, void (*body)(std::size_t, const void*),
                        const void* context) {
  const int threads = num_threads();
  if (threads > 1 && !in_loop) {
    // Another thread of the program may be in a loop: then this one does its own alone.
    if (const std::unique_lock lock(pool().owner, std::try_to_lock); lock) {
      pool().wanted = static_cast<int>(std::min(blocks - 1, static_cast<std::size_t>(threads - 1)));
      return pool().run(blocks, body, context);
    }
  }
  for (std::size_t block = 0; block < blocks; ++block) body(block, context);
}

}  // namespace xgrad::inline XGRAD_PRECISION
