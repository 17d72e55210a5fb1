// The yardstick of what only moves numbers: reading an array beyond the caches, on all threads.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const auto count = static_cast<std::size_t>(session["mebibytes"]) * (1 << 20) / sizeof(real);
  constexpr std::size_t grain = 1 << 18, lanes = 64;
  const Tensor array = ones({count});
  const real* x = array.data();
  std::vector<real> sums((count + grain - 1) / grain);
  session.serve(
      [&] {
        parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
          real partial[lanes] = {};
          for (std::size_t i = begin; i + lanes <= end; i += lanes)
            for (std::size_t lane = 0; lane < lanes; ++lane) partial[lane] += x[i + lane];
          real total = 0;
          for (const real part : partial) total += part;
          sums[begin / grain] = total;
        });
      },
      [&] { return static_cast<double>(sums.front()); });
}
