// The matrix product, batched and with transposed operands.
// How one product is computed is kernels/gemm.cpp.
#include <algorithm>

#include <xgrad/core/kernels/gemm.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// One operand: `count` matrices of rows x columns (as read) behind the leading axes `batch`.
struct Operand {
  Operand(const Tensor& x, bool transposed)
      : data(x.data()),
        transposed(transposed),
        stride(x.size(-1)),
        rows(x.size(transposed ? -1 : -2)),
        columns(x.size(transposed ? -2 : -1)),
        batch(x.shape().begin(), x.shape().end() - 2) {}

  kernels::Matrix matrix(std::size_t index) const {
    return {data + index * rows * columns, stride, transposed};
  }

  const real* data;
  bool transposed;
  std::size_t stride, rows, columns;
  Shape batch;
};

/// Which matrix of an operand with leading axes `from` belongs to matrix `index` of the result's
/// `to`.
std::size_t broadcast_index(std::size_t index, const Shape& from, const Shape& to) {
  std::size_t result = 0, step = 1;
  for (std::size_t axis = to.size(); axis-- > 0;) {
    const std::size_t position = index % to[axis];
    index /= to[axis];
    if (axis + from.size() < to.size()) continue;
    const std::size_t size = from[axis + from.size() - to.size()];
    if (size > 1) result += position * step;
    step *= size;
  }
  return result;
}

Tensor product(const Tensor& x, const Tensor& y, MatmulOptions options) {
  Operand a(x, options.transpose_a);
  const Operand b(y, options.transpose_b);
  const Shape batch = broadcast_shapes("matmul, leading axes", a.batch, b.batch);
  Shape shape = batch;
  shape.push_back(a.rows);
  shape.push_back(b.columns);
  Tensor out = Tensor::empty(shape);
  real* c = out.mutable_data();

  // One matrix on the right of many: the rows of all of them make a single tall product.
  const bool tall = b.batch.empty() && !a.transposed;
  const std::size_t count = tall ? 1 : element_count(batch);
  if (tall) a.rows *= element_count(batch);
  // Large products are worth all threads one after the other; small ones are spread over the
  // threads. gemm's own split of each product is the same either way.
  const std::size_t work = a.rows * a.columns * b.columns;
  const std::size_t grain =
      work >= (std::size_t{1} << 24) ? count : std::max<std::size_t>(1, (1 << 20) / (work + 1));
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i)
      kernels::gemm(a.rows, b.columns, a.columns,
                    a.matrix(tall ? 0 : broadcast_index(i, a.batch, batch)),
                    b.matrix(tall ? 0 : broadcast_index(i, b.batch, batch)),
                    c + i * a.rows * b.columns, b.columns);
  });
  return out;
}

/// (..., M, K) as one tall (M', K).
Tensor tall(const Tensor& x) {
  if (x.ndim() == 2) return x;
  return reshape(x, {element_count(Shape(x.shape().begin(), x.shape().end() - 1)), x.size(-1)});
}

/// Hands input i the gradient a b, a product of tall matrices that has as many elements. Read raw,
/// it is added up where it belongs, without a matrix in between.
template <class R>
void to_product(R& r, std::size_t i, const Tensor& a, const Tensor& b, MatmulOptions options) {
  if constexpr (R::recorded) {
    r.to(i, reshape(matmul(tall(a), tall(b), options), r.shape(i)));
  } else {
    const auto rows = [](const Tensor& x) {
      return x.size() / std::max<std::size_t>(1, x.size(-1));
    };
    const std::size_t m = options.transpose_a ? a.size(-1) : rows(a),
                      k = options.transpose_a ? rows(a) : a.size(-1),
                      n = options.transpose_b ? rows(b) : b.size(-1);
    r.into(i, [&](real* sum, bool add) {
      kernels::gemm(m, n, k, {a.data(), a.size(-1), options.transpose_a},
                    {b.data(), b.size(-1), options.transpose_b}, sum, n, {.accumulate = add});
    });
  }
}

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b, MatmulOptions options) {
  require<ShapeError>(a.ndim() >= 1 && b.ndim() >= 1, "matmul: needs at least 1 axis each, got ",
                      a.shape(), " @ ", b.shape());
  const bool ta = options.transpose_a && a.ndim() > 1, tb = options.transpose_b && b.ndim() > 1;
  const std::size_t columns = a.size(ta ? -2 : -1), rows = b.size(tb || b.ndim() == 1 ? -1 : -2);
  require<ShapeError>(columns == rows, "matmul: inner dimensions differ: ", a.shape(),
                      ta ? "^T" : "", " @ ", b.shape(), tb ? "^T" : "", ": ", columns,
                      " != ", rows);
  if (a.ndim() == 1) {
    const Tensor result =
        matmul(reshape(a, {1, a.size()}), b, {.transpose_b = options.transpose_b});
    Shape shape = result.shape();
    shape.erase(shape.end() - (b.ndim() == 1 ? 1 : 2));
    return reshape(result, shape);
  }
  if (b.ndim() == 1) {
    const Tensor result =
        matmul(a, reshape(b, {b.size(), 1}), {.transpose_a = options.transpose_a});
    return reshape(result, Shape(result.shape().begin(), result.shape().end() - 1));
  }
  return record("matmul", {a, b}, product(a, b, options), Keep::others, [ta, tb](auto& r) {
    // With A' and B' the operands as read, C = A' B' and G = dL/dC:  dA' = G B'^T,  dB' = A'^T G.
    // A transposed operand takes the transpose of its gradient, by swapping the factors.
    // A right factor that all matrices share sums over them: one tall product.
    const bool shared = r.shape(1).size() == 2 && !ta;
    if (r.needs(1)) {
      if (shared && tb)
        to_product(r, 1, r.grad(), r.tensor(0), {.transpose_a = true});
      else if (shared)
        to_product(r, 1, r.tensor(0), r.grad(), {.transpose_a = true});
      else if (tb)
        r.to(1, matmul(r.grad(), r.tensor(0), {.transpose_a = true, .transpose_b = ta}));
      else
        r.to(1, matmul(r.tensor(0), r.grad(), {.transpose_a = !ta}));
    }
    if (r.needs(0)) {
      if (shared)
        to_product(r, 0, r.grad(), r.tensor(1), {.transpose_b = !tb});
      else if (ta)
        r.to(0, matmul(r.tensor(1), r.grad(), {.transpose_a = tb, .transpose_b = true}));
      else
        r.to(0, matmul(r.grad(), r.tensor(1), {.transpose_b = !tb}));
    }
  });
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require<ShapeError>(weight.ndim() == 2, "linear: weight needs 2 axes, got shape ",
                      weight.shape());
  const std::size_t in = weight.size(1), out = weight.size(0);
  require<ShapeError>(x.ndim() >= 1, "linear: needs an input (..., ", in, "), got shape ",
                      x.shape());
  require<ShapeError>(x.size(-1) == in, "linear: last axis of input ", x.shape(), " is ",
                      x.size(-1), ", weight ", weight.shape(), " expects ", in);
  if (!bias.defined()) return matmul(x, weight, {.transpose_b = true});
  require<ShapeError>(bias.ndim() == 1 && bias.size() == out, "linear: bias has shape ",
                      bias.shape(), ", weight ", weight.shape(), " gives ", out);
  Shape shape(x.shape().begin(), x.shape().end() - 1);
  const std::size_t rows = element_count(shape);
  shape.push_back(out);
  Tensor y = Tensor::empty(shape);
  kernels::gemm(rows, out, in, {x.data(), in}, {weight.data(), in, true}, y.mutable_data(), out,
                {.bias = bias.data()});
  return record("linear", {x, weight, bias}, y, Keep::others, [](auto& r) {
    if (r.needs(1)) to_product(r, 1, r.grad(), r.tensor(0), {.transpose_a = true});
    if (r.needs(0)) to_product(r, 0, r.grad(), r.tensor(1), {});
    r.to(2, r.grad());
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION
