// See program.hpp. POSIX only, for the amount of memory.
#include "program.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <new>
#include <stdexcept>

#include "flags.hpp"

namespace examples {
namespace {

int complain(const std::string& name, std::string text, int status) {
  std::replace(text.begin(), text.end(), '\n', ' ');  // one line, whatever a file is called
  std::cout << std::flush;
  std::cerr << name << ": " << text << std::endl;
  return status;
}

std::string gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g GiB", bytes / (1 << 30));
  return text;
}

}  // namespace

int run_program(const std::string& name, const std::function<void()>& body) {
  try {
    body();
    return 0;
  } catch (const UsageError& error) {
    return complain(name, error.what(), 2);
  } catch (const std::bad_alloc&) {
    return complain(name, "not enough memory; a smaller model or batch needs less", 1);
  } catch (const std::exception& error) {
    return complain(name, error.what(), 1);
  }
}

void require_memory(double bytes, const std::string& what) {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  const double memory = static_cast<double>(pages) * static_cast<double>(page);
  if (pages <= 0 || page <= 0 || bytes <= memory) return;
  throw std::runtime_error(what + " would need at least " + gibibytes(bytes) +
                           " of memory, and this machine has " + gibibytes(memory));
}

}  // namespace examples
