// Linear algebra on the last two axes, by LAPACK. Matrix products are in matmul.cpp.
// LAPACK stores matrices by columns: it reads our A as A^T. Rules: Giles 2008, "Collected matrix
// derivative results for forward and reverse mode algorithmic differentiation".
#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>

#ifdef XGRAD_DOUBLE
#define XGRAD_LAPACK(name) d##name##_
#else
#define XGRAD_LAPACK(name) s##name##_
#endif

// Fortran's calling convention: everything by address, lengths of strings at the end.
extern "C" {
void XGRAD_LAPACK(getrf)(const int* m, const int* n, xgrad::real* a, const int* lda, int* pivots,
                         int* info);
void XGRAD_LAPACK(getrs)(const char* trans, const int* n, const int* columns, const xgrad::real* lu,
                         const int* lda, const int* pivots, xgrad::real* b, const int* ldb,
                         int* info, std::size_t);
void XGRAD_LAPACK(potrf)(const char* triangle, const int* n, xgrad::real* a, const int* lda,
                         int* info, std::size_t);
void XGRAD_LAPACK(gesdd)(const char* job, const int* m, const int* n, xgrad::real* a,
                         const int* lda, xgrad::real* s, xgrad::real* u, const int* ldu,
                         xgrad::real* vt, const int* ldvt, xgrad::real* work, const int* work_size,
                         int* integers, int* info, std::size_t);
}

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Shape batch_of(const Tensor& x) { return Shape(x.shape().begin(), x.shape().end() - 2); }

Shape append(Shape shape, std::initializer_list<std::size_t> sizes) {
  for (const std::size_t size : sizes) shape.push_back(size);
  return shape;
}

void check_square(const char* op, const Tensor& a) {
  require<ShapeError>(a.ndim() >= 2, op, ": needs at least 2 axes, got shape ", a.shape());
  require<ShapeError>(a.size(-2) == a.size(-1), op, ": needs square matrices, got shape ",
                      a.shape(), ": ", a.size(-2), " != ", a.size(-1));
}

void check_finite(const char* op, const Tensor& x) {
  require(std::all_of(x.data(), x.data() + x.size(), [](real v) { return std::isfinite(v); }), op,
          ": NaN or Inf in the input of shape ", x.shape());
}

int leading(std::size_t size) { return static_cast<int>(std::max<std::size_t>(1, size)); }

/// Calls factor(i) for each of `count` matrices, at once from several threads. Where it returns
/// false, the error names the first such matrix.
template <class Factor>
void for_each_matrix(const char* op, const Tensor& a, std::size_t count, const char* problem,
                     const Factor& factor) {
  // As in gemm: the threads are ours, so that results do not depend on how many there are.
  static const bool single_threaded = (openblas_set_num_threads(1), true);
  (void)single_threaded;
  const std::size_t n = std::max<std::size_t>(1, std::max(a.size(-2), a.size(-1)));
  std::atomic<std::size_t> failed = count;
  parallel_for(count, 32768 / (n * n * n) + 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      if (factor(i)) continue;
      std::size_t first = failed;
      while (i < first && !failed.compare_exchange_weak(first, i)) {
      }
    }
  });
  require(failed == count, op, ": matrix ", failed.load(), " of shape ", a.shape(), " ", problem);
}

/// X with A X = B, or A^T X = B: a (..., N, N), b (..., N, K), the leading axes equal.
Tensor solved(const char* op, const Tensor& a, const Tensor& b, bool transposed) {
  check_finite(op, a);
  const std::size_t n = a.size(-1), k = b.size(-1);
  const int order = static_cast<int>(n), columns = static_cast<int>(k), stride = leading(n);
  Tensor lu = a.clone(), x = transpose(b.detach());  // (..., K, N): the columns of X side by side
  real *factors = lu.mutable_data(), *right = x.mutable_data();
  if (n > 0)
    for_each_matrix(op, a, element_count(batch_of(a)), "is singular", [&](std::size_t i) {
      std::vector<int> pivots(n);
      int info = 0;
      XGRAD_LAPACK(getrf)(&order, &order, factors + i * n * n, &stride, pivots.data(), &info);
      if (info != 0) return false;
      XGRAD_LAPACK(getrs)
      (transposed ? "N" : "T", &order, &columns, factors + i * n * n, &stride, pivots.data(),
       right + i * n * k, &stride, &info, 1);
      return true;
    });
  return transpose(x);
}

Tensor solve(const Tensor& a, const Tensor& b, bool transposed) {
  return record("solve", {a, b}, solved("solve", a, b, transposed), [transposed](auto& r) {
    // A X = B, hence A dX = dB - dA X: with S solving A^T S = G, B takes S and A takes -S X^T.
    const Tensor x = r.out();
    Tensor s = solve(r.in(0), r.grad(), !transposed);
    if (r.needs(0)) r.to(0, -matmul(transposed ? x : s, transposed ? s : x, {.transpose_b = true}));
    r.to(1, std::move(s));
  });
}

}  // namespace

Tensor solve(const Tensor& a, const Tensor& b) {
  check_square("solve", a);
  require<ShapeError>(b.ndim() >= 1, "solve: needs at least 1 axis on the right, got shape ()");
  if (b.ndim() == 1) {
    const Tensor x = solve(a, reshape(b, {b.size(), 1}));
    return reshape(x, Shape(x.shape().begin(), x.shape().end() - 1));
  }
  require<ShapeError>(a.size(-1) == b.size(-2), "solve: sizes differ: ", a.shape(),
                      " X = ", b.shape(), ": ", a.size(-1), " != ", b.size(-2));
  const Shape batch = broadcast_shapes("solve", batch_of(a), batch_of(b));
  const auto spread = [&](const Tensor& x) {
    const Shape shape = append(batch, {x.size(-2), x.size(-1)});
    return x.shape() == shape ? x : broadcast_to(x, shape);
  };
  return solve(spread(a), spread(b), false);
}

Tensor inverse(const Tensor& a) {
  check_square("inverse", a);
  const std::size_t n = a.size(-1);
  Tensor identity = zeros({n, n});
  for (std::size_t i = 0; i < n; ++i) identity.mutable_data()[i * n + i] = 1;
  const Tensor value = solved("inverse", a, broadcast_to(identity, a.shape()), false);
  return record("inverse", {a}, value, Keep::output, [](auto& r) {
    // Y A = 1, hence dY = -Y dA Y.
    const Tensor y = r.out();
    r.to(0, -matmul(matmul(y, r.grad(), {.transpose_a = true}), y, {.transpose_b = true}));
  });
}

Tensor cholesky(const Tensor& a) {
  check_square("cholesky", a);
  Tensor l = tril(a.detach());
  check_finite("cholesky", l);
  const std::size_t n = a.size(-1);
  const int order = static_cast<int>(n), stride = leading(n);
  real* factors = l.mutable_data();
  if (n > 0)
    for_each_matrix("cholesky", a, element_count(batch_of(a)), "is not positive definite",
                    [&](std::size_t i) {
                      int info = 0;  // our lower triangle is the upper one by columns
                      XGRAD_LAPACK(potrf)("U", &order, factors + i * n * n, &stride, &info, 1);
                      return info == 0;
                    });
  return record("cholesky", {a}, l, Keep::output, [](auto& r) {
    // A = L L^T, hence L^-1 dA L^-T = M + M^T with the lower triangular M = L^-1 dL: dL = L Phi(…),
    // where Phi takes the lower triangle and half the diagonal. Its adjoint: with P = Phi(L^T G),
    // dA takes the symmetric part of L^-T P L^-1. Murray 2016 (1602.07527), eq. 10.
    const Tensor l = r.out(), product = matmul(l, r.grad(), {.transpose_a = true});
    const Tensor p = (tril(product) + tril(product, -1)) * real(0.5);
    const Tensor s = solve(l, transpose(solve(l, p, true)), true);  // (L^-T P L^-1)^T
    r.to(0, (s + transpose(s)) * real(0.5));
  });
}

Tensor svd_values(const Tensor& a) {
  require<ShapeError>(a.ndim() >= 2, "svd_values: needs at least 2 axes, got shape ", a.shape());
  check_finite("svd_values", a);
  const std::size_t m = a.size(-2), n = a.size(-1), k = std::min(m, n);
  const Shape batch = batch_of(a);
  Tensor s = Tensor::empty(append(batch, {k})), u = Tensor::empty(append(batch, {m, k})),
         vt = Tensor::empty(append(batch, {k, n})), scratch = a.clone();
  real *values = s.mutable_data(), *left = u.mutable_data(), *right = vt.mutable_data(),
       *matrices = scratch.mutable_data();
  if (k > 0)
    for_each_matrix(
        "svd_values", a, element_count(batch), "has no decomposition that converges",
        [&](std::size_t i) {
          // A = U S V^T read by columns is A^T = V S U^T: the factors change places.
          const int rows = static_cast<int>(n), columns = static_cast<int>(m),
                    rank = static_cast<int>(k);
          std::vector<int> integers(8 * k);
          int info = 0;
          const auto gesdd = [&](real* work, int size) {
            XGRAD_LAPACK(gesdd)
            ("S", &rows, &columns, matrices + i * m * n, &rows, values + i * k, right + i * k * n,
             &rows, left + i * m * k, &rank, work, &size, integers.data(), &info, 1);
          };
          real wanted = 0;
          gesdd(&wanted, -1);  // only says how much work space it wants
          std::vector<real> work(static_cast<std::size_t>(std::nextafter(wanted, 2 * wanted)) + 1);
          gesdd(work.data(), static_cast<int>(work.size()));
          return info == 0;
        });
  return record("svd_values", {a}, s, Keep::nothing, [u, vt](auto& r) {
    // ds_i = u_i^T dA v_i. The vectors are numbers here, not functions of A.
    if constexpr (std::remove_reference_t<decltype(r)>::recorded) {
      throw std::logic_error(
          "svd_values: has no second derivative: its rule takes the singular vectors for "
          "constants");
    } else {
      const Tensor grad = r.grad();
      r.to(0, matmul(u * reshape(grad, append(batch_of(u), {1, u.size(-1)})), vt));
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION
