// Twin of bench/nearest.cpp: scores by matrix products, in chunks that a cache holds.
#include "workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const torch::NoGradGuard integers_have_no_gradient;
  const torch::Tensor z = filled("z", {session["rows"], session["width"]}),
                      codebook = filled("codebook", {session["codes"], session["width"]});
  torch::Tensor ids;
  session.serve(
      [&] {
        const torch::Tensor half_squares = codebook.square().sum(1) / 2;
        constexpr std::int64_t chunk = 128;
        ids = torch::empty({z.size(0)}, torch::kLong);
        for (std::int64_t i = 0; i < z.size(0); i += chunk) {
          const std::int64_t n = std::min(chunk, z.size(0) - i);
          // In place: small answers left between large scores would keep malloc from reusing those.
          torch::Tensor part = ids.narrow(0, i, n);
          const torch::Tensor scores =
              torch::addmm(half_squares, z.narrow(0, i, n), codebook.t(), 1, -1);
          torch::argmin_out(part, scores, 1);
        }
      },
      [&] { return ids.to(torch::kDouble).mean().item<double>(); });
}
