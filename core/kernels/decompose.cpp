// Decompositions in double; see decompose.hpp.
// LAPACK stores matrices by columns: it reads our A as A^T, so that factors change places and QR is
// its LQ. On one thread, so that results do not depend on how many there are.
#include <cblas.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <xgrad/core/error.hpp>
#include <xgrad/core/kernels/decompose.hpp>

// Fortran's calling convention: everything by address, lengths of strings at the end.
extern "C" {
void dsyev_(const char* job, const char* triangle, const int* n, double* a, const int* lda,
            double* values, double* work, const int* work_size, int* info, std::size_t,
            std::size_t);
void dgesdd_(const char* job, const int* m, const int* n, double* a, const int* lda, double* s,
             double* u, const int* ldu, double* vt, const int* ldvt, double* work,
             const int* work_size, int* integers, int* info, std::size_t);
void dgelqf_(const int* m, const int* n, double* a, const int* lda, double* tau, double* work,
             const int* work_size, int* info);
void dorglq_(const int* m, const int* n, const int* k, double* a, const int* lda, const double* tau,
             double* work, const int* work_size, int* info);
}

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

/// Runs routine(work, size, info) twice: once to be told how much work space it wants.
template <class Routine>
void with_work_space(const char* name, const Routine& routine) {
  openblas_set_num_threads(1);
  double wanted = 0;
  int info = 0, size = -1;
  routine(&wanted, &size, &info);
  size = std::max(1, static_cast<int>(wanted));
  std::vector<double> work(static_cast<std::size_t>(size));
  routine(work.data(), &size, &info);
  require<std::runtime_error>(info == 0, name, ": does not converge (LAPACK's info is ", info, ")");
}

}  // namespace

void eigh(std::size_t n, double* a, double* values) {
  const int order = static_cast<int>(n);
  with_work_space("eigh", [&](double* work, const int* size, int* info) {
    dsyev_("V", "U", &order, a, &order, values, work, size, info, 1, 1);
  });
}

void svd(std::size_t m, std::size_t n, double* a, double* u, double* s, double* vt) {
  const std::size_t k = std::min(m, n);
  const int rows = static_cast<int>(n), columns = static_cast<int>(m), rank = static_cast<int>(k);
  std::vector<int> integers(8 * k);
  with_work_space("svd", [&](double* work, const int* size, int* info) {
    dgesdd_("S", &rows, &columns, a, &rows, s, vt, &rows, u, &rank, work, size, integers.data(),
            info, 1);
  });
}

void qr(std::size_t m, std::size_t n, double* a, double* q, double* r) {
  const std::size_t k = std::min(m, n);
  const int rows = static_cast<int>(n), columns = static_cast<int>(m), rank = static_cast<int>(k);
  std::vector<double> tau(k);
  with_work_space("qr", [&](double* work, const int* size, int* info) {
    dgelqf_(&rows, &columns, a, &rows, tau.data(), work, size, info);
  });
  if (r)
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < n; ++j) r[i * n + j] = j < i ? 0 : a[i * n + j];
  with_work_space("qr", [&](double* work, const int* size, int* info) {
    dorglq_(&rank, &columns, &rank, a, &rows, tau.data(), work, size, info);
  });
  for (std::size_t i = 0; i < m; ++i) std::copy_n(a + i * n, k, q + i * k);
}

void multiply(std::size_t m, std::size_t n, std::size_t k, const double* a, bool transpose_a,
              const double* b, bool transpose_b, double* c) {
  openblas_set_num_threads(1);
  const auto size = [](std::size_t x) { return static_cast<int>(x); };
  cblas_dgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
              transpose_b ? CblasTrans : CblasNoTrans, size(m), size(n), size(k), 1, a,
              size(transpose_a ? m : k), b, size(transpose_b ? k : n), 0, c, size(n));
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
