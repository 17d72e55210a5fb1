// Threads; see parallel.hpp.
#include <xgrad/core/parallel.hpp>

#include <omp.h>

#include <exception>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION {

void set_num_threads(int count) {
  require(count >= 1, "set_num_threads: needs at least 1, got ", count);
  omp_set_num_threads(count);
}

int num_threads() { return omp_get_max_threads(); }

namespace detail {

void run_blocks(std::size_t blocks, void (*body)(std::size_t, const void*), const void* context) {
  if (omp_in_parallel() || omp_get_max_threads() == 1) {
    for (std::size_t block = 0; block < blocks; ++block) body(block, context);
    return;
  }
  std::exception_ptr failure;  // an exception must not leave a parallel region
#pragma omp parallel for schedule(dynamic)
  for (std::size_t block = 0; block < blocks; ++block) {
    try {
      body(block, context);
    } catch (...) {
#pragma omp critical(xgrad_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace detail
}  // namespace xgrad::inline XGRAD_PRECISION
