// Decompositions of one matrix, by LAPACK, in double whatever `real` is: for initialisers, and for
// small matrices whose condition is the square of the data's.
// Those of batches that can be differentiated are ops/linalg.cpp's.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

// All matrices are row-major and hold finite numbers: the caller has looked. Each function
// overwrites its input and throws std::runtime_error where LAPACK does not converge.

/// Symmetric a (n, n) = V^T diag(values) V: values ascending, row i of V, which replaces a, belongs
/// to value i.
void eigh(std::size_t n, double* a, double* values);

/// a (m, n) = U diag(s) V^T with k = min(m, n): u (m, k), s (k) descending, vt (k, n). O(m n k).
void svd(std::size_t m, std::size_t n, double* a, double* u, double* s, double* vt);

/// a (m, n) = Q R with k = min(m, n): q (m, k) with orthonormal columns, r (k, n) upper triangular,
/// or null. Signs are LAPACK's.
void qr(std::size_t m, std::size_t n, double* a, double* q, double* r);

/// c (m, n) = a (m, k) b (k, n), either factor read transposed on demand.
void multiply(std::size_t m, std::size_t n, std::size_t k, const double* a, bool transpose_a,
              const double* b, bool transpose_b, double* c);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
