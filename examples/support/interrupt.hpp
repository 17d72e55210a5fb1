// Ctrl-C as a question that a training loop asks between steps, to stop with a checkpoint.
// No callbacks: code in a signal handler may do next to nothing.
#pragma once

namespace examples {

/// From here on the first SIGINT or SIGTERM only makes `interrupted()` true; a second ends the
/// program at once. A file that reaches its size limit (ulimit -f) becomes an error of that write,
/// like a full disk, instead of the end of the program.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

}  // namespace examples
