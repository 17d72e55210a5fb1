// The yardstick: a large square product, through xgrad's kernel or straight through CBLAS.
// Training steps are judged by how much of its speed they keep.
#include <cblas.h>

#include <xgrad/core/kernels/gemm.hpp>

#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const auto n = static_cast<std::size_t>(session["size"]);
  const auto N = static_cast<blasint>(n);
  const bool raw = session["raw"];
  if (raw) openblas_set_num_threads(static_cast<int>(session["threads"]));

  const Tensor a = filled("a", {n, n}), b = filled("b", {n, n});
  Tensor c = zeros({n, n});
  session.serve(
      [&] {
        if (raw)
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a.data(), N, b.data(),
                      N, 0, c.mutable_data(), N);
        else
          kernels::gemm(n, n, n, {a.data(), n}, {b.data(), n}, c.mutable_data(), n);
      },
      [&] { return static_cast<double>(c.data()[n + 1]); });
}
