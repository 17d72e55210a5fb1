// Matrix products of plain memory, in registers and in threads.
// What is a batch of products, and what their gradients are, is ops/matmul.cpp's business.
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

struct GemmOptions {
  bool accumulate = false;     ///< add to C instead of overwriting it
  const real* bias = nullptr;  ///< (n): added to every row of the product
};

/// C = A B for A (m, k), B (k, n) as read, C (m, n) row-major. C may not overlap A or B, and need
/// not be initialised. Runs on several threads; the result does not depend on how many.
void gemm(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real* c,
          std::size_t c_stride, GemmOptions options = {});

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
