// Twin of bench/sgemm.cpp: the product that LibTorch's own BLAS makes.
#include "workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const torch::NoGradGuard no_tape;
  const long n = session["size"];
  const torch::Tensor a = filled("a", {n, n}), b = filled("b", {n, n});
  torch::Tensor c = torch::zeros({n, n});
  session.serve([&] { torch::mm_out(c, a, b); }, [&] { return c[1][1].item<double>(); });
}
