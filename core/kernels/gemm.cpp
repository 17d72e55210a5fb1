// Matrix products through CBLAS; see gemm.hpp.
#include <xgrad/core/kernels/gemm.hpp>

#include <cblas.h>

#include <algorithm>
#include <bit>
#include <limits>

#include <xgrad/core/error.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

// Below this much work a block is not worth a thread of its own (about 0.1 ms at 100 GFLOP/s).
constexpr double block_flops = 8e6;
constexpr std::size_t max_blocks = 16;

void gemm_block(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real beta, real* c,
                std::size_t c_stride) {
  const auto flag = [](const Matrix& x) { return x.transposed ? CblasTrans : CblasNoTrans; };
  const auto size = [](std::size_t value) { return static_cast<blasint>(value); };
#ifdef XGRAD_DOUBLE
  constexpr auto blas_gemm = cblas_dgemm;
#else
  constexpr auto blas_gemm = cblas_sgemm;
#endif
  blas_gemm(CblasRowMajor, flag(a), flag(b), size(m), size(n), size(k), 1, a.data, size(a.stride),
            b.data, size(b.stride), beta, c, size(c_stride));
}

/// Where row (or, for the right factor, column) i of a matrix as read begins.
const real* row(const Matrix& x, std::size_t i) {
  return x.data + (x.transposed ? i : i * x.stride);
}
const real* column(const Matrix& x, std::size_t j) {
  return x.data + (x.transposed ? j * x.stride : j);
}

}  // namespace

void gemm(std::size_t m, std::size_t n, std::size_t k, Matrix a, Matrix b, real beta, real* c,
          std::size_t c_stride) {
  constexpr std::size_t limit = std::numeric_limits<blasint>::max();
  require(std::max({m, n, k, a.stride, b.stride, c_stride}) <= limit, "gemm: sizes ", m, " x ", n,
          " x ", k, " are beyond this BLAS");
  // One thread per call: the threads are ours, and the split below depends on the sizes alone, so
  // that the same product has the same bits on any number of them (and two thread pools never fight
  // over the cores).
  static const bool single_threaded = (openblas_set_num_threads(1), true);
  (void)single_threaded;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (std::size_t i = 0; i < m; ++i)
      std::transform(c + i * c_stride, c + i * c_stride + n, c + i * c_stride,
                     [beta](real old) { return beta == 0 ? 0 : beta * old; });
    return;
  }
  const double flops =
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  const auto wanted = static_cast<std::size_t>(std::max(1.0, flops / block_flops));
  const std::size_t blocks = std::min(std::bit_floor(wanted), max_blocks);
  if (m >= n) {
    const std::size_t rows = std::max<std::size_t>(16, (m + blocks - 1) / blocks);
    parallel_for(m, rows, [&](std::size_t begin, std::size_t end) {
      gemm_block(end - begin, n, k, {row(a, begin), a.stride, a.transposed}, b, beta,
                 c + begin * c_stride, c_stride);
    });
  } else {
    const std::size_t columns = std::max<std::size_t>(16, (n + blocks - 1) / blocks);
    parallel_for(n, columns, [&](std::size_t begin, std::size_t end) {
      gemm_block(m, end - begin, k, a, {column(b, begin), b.stride, b.transposed}, beta, c + begin,
                 c_stride);
    });
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
