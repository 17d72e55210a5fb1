// The yardstick: a large square product, by xgrad or by OpenBLAS.
// Training steps are judged by how much of its speed they keep.
#include <cblas.h>

#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const bool blas = session["blas"];
  const auto n = static_cast<blasint>(session["size"]);
  if (blas) openblas_set_num_threads(static_cast<int>(session["threads"]));

  const Tensor a = filled("a", {n, n}), b = filled("b", {n, n});
  Tensor c = zeros({n, n});
  session.serve(
      [&] {
        if (blas)
          cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a.data(), n, b.data(),
                      n, 0, c.mutable_data(), n);
        else
          c = matmul(a, b);
      },
      [&] { return static_cast<double>(c.data()[n + 1]); });
}
