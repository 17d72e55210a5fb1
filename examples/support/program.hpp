// What every program does around its own work: one line for an error, a status, a look at memory.
#pragma once

#include <functional>
#include <string>

namespace examples {

/// Runs `body` and returns the exit status: 0, or after an exception, which becomes one line on
/// stderr that begins with `name`, 2 for a UsageError (flags.hpp) and 1 for any other.
int run_program(const std::string& name, const std::function<void()>& body);

/// Throws std::runtime_error if `what` needs more bytes than the machine has. Asked before the
/// work, because a system that hands out more memory than it has ends the program without a word
/// later.
void require_memory(double bytes, const std::string& what);

}  // namespace examples
