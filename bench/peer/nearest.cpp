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
        std::vector<torch::Tensor> parts;
        for (const torch::Tensor& chunk : z.split(128))
          parts.push_back(torch::addmm(half_squares, chunk, codebook.t(), 1, -1).argmin(1));
        ids = torch::cat(parts);
      },
      [&] { return ids.to(torch::kDouble).mean().item<double>(); });
}
