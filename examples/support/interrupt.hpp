// Ctrl-C as a question that a training loop asks between steps, to stop with a checkpoint.
// No callbacks: code in a signal handler may do next to nothing.
#pragma once

namespace examples {

/// From here on the first SIGINT or SIGTERM only makes `interrupted()` true; a second ends the
/// program at once.
void catch_interrupts();

/// True once a signal has come.
bool interrupted();

}  // namespace examples
