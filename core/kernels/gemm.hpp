// Matrix products: the one place that calls BLAS.
// Bound by arithmetic: OpenBLAS keeps the multiply-add units busy, our part is to hand it whole
// cores.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// A row-major matrix in memory, read as it stands or transposed.
struct Matrix {
  const real* data;
  std::size_t stride;  // from one stored row to the next
  bool transposed = false;
};

/// C = A B + beta C for A (m, k), B (k, n) as read, C (m, n) row-major. C may not overlap A or B.
/// With beta = 0 C need not be initialised. Runs on several threads; the result does not depend on
/// how many.
void gemm(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real beta, real* c,
          std::size_t c_stride);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
