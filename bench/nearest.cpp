// The nearest of many codes for each of many vectors: what a vector quantizer does besides
// gathering.
#include <numeric>

#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const Tensor z = filled("z", {session["rows"], session["width"]}),
               codebook = filled("codebook", {session["codes"], session["width"]});
  Indices ids;
  session.serve([&] { ids = nearest(z, codebook); },
                [&] {
                  const double sum = std::accumulate(ids.begin(), ids.end(), 0.0);
                  return sum / static_cast<double>(ids.size());
                });
}
