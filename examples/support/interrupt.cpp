// The signal handler behind `interrupted()`, and the flag that it sets.
// What to do about an interrupt is the program's business, not this file's.
#include "interrupt.hpp"

#include <atomic>
#include <csignal>

namespace examples {
namespace {

std::atomic<bool> flag = false;
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait for a lock");

extern "C" void remember(int) {
  flag = true;
  // From now on the default action: whoever signals twice means it.
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, remember);
  std::signal(SIGTERM, remember);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() { return flag; }

}  // namespace examples
