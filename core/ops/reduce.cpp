// Reductions: sums, products, norms and extrema over any axes, and the adjoint of broadcasting.
// Softmax and its relatives, which keep their shape, are in softmax.cpp.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include <xgrad/core/kernels/broadcast.hpp>
#include <xgrad/core/kernels/moments.hpp>
#include <xgrad/core/kernels/reduce.hpp>
#include <xgrad/core/kernels/softmax.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// What a caller asked for, in sizes.
struct Reduction {
  Reduction(const char* op, const Tensor& x, const Ints& which, bool keepdims)
      : axes(normalize_axes(op, which, x.ndim())),
        result(reduced_shape(x.shape(), axes, keepdims)),
        kept(reduced_shape(x.shape(), axes, true)) {
    for (const std::size_t axis : axes) count *= x.shape()[axis];
  }
  Axes axes;
  Shape result;  // the shape of the result
  Shape kept;    // the same with size 1 in place of the reduced axes, so that it broadcasts to x
  std::size_t count = 1;  // how many numbers each result is made of
};

Ints all_axes(const Tensor& x) {
  std::vector<std::int64_t> axes(x.ndim());
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

using Kernel = void (*)(const real* x, std::size_t outer, std::size_t n, std::size_t inner,
                        real* y);

/// Reduces one run of adjacent axes after the other, the last first: nearly always there is but
/// one.
Tensor reduce(Tensor x, Axes axes, const Shape& result, Kernel kernel) {
  Shape shape = x.shape();
  do {
    const std::size_t end = axes.empty() ? 0 : axes.back() + 1;
    std::size_t begin = end;
    for (; !axes.empty() && axes.back() + 1 == begin; axes.pop_back()) --begin;
    const auto sizes = [&](std::size_t from, std::size_t to) {
      return std::accumulate(shape.begin() + from, shape.begin() + to, std::size_t{1},
                             std::multiplies<>());
    };
    const std::size_t outer = sizes(0, begin), n = sizes(begin, end),
                      inner = sizes(end, shape.size());
    std::fill(shape.begin() + begin, shape.begin() + end, 1);
    Tensor y = Tensor::empty(axes.empty() ? result : shape);
    kernel(x.data(), outer, n, inner, y.mutable_data());
    x = y;
  } while (!axes.empty());
  return x;
}

/// Each result's number at all the places of x that it was made of.
Tensor spread(const Tensor& result, const Shape& kept, const Shape& x) {
  return broadcast_to(reshape(result, kept), x);
}

/// x as a matrix (results, count): a row for every result, holding what it is made of.
Tensor rows_of(const Tensor& x, const Reduction& to) {
  std::vector<std::int64_t> order;  // the reduced axes last
  for (std::size_t axis = 0; axis < x.ndim(); ++axis)
    if (!std::binary_search(to.axes.begin(), to.axes.end(), axis)) order.push_back(axis);
  order.insert(order.end(), to.axes.begin(), to.axes.end());
  const Tensor moved = std::is_sorted(order.begin(), order.end()) ? x : permute(x, order);
  return reshape(moved, {element_count(to.result), to.count});
}

}  // namespace

Tensor sum(const Tensor& x) { return sum(x, all_axes(x)); }
Tensor sum(const Tensor& x, const Ints& axes, bool keepdims) {
  const Reduction to("sum", x, axes, keepdims);
  return record("sum", {x}, reduce(x, to.axes, to.result, kernels::sum), Keep::nothing,
                [kept = to.kept](auto& r) { r.to(0, spread(r.grad(), kept, r.shape(0))); });
}

Tensor sum_to(const Tensor& x, const Ints& shape) {
  const Shape result = to_shape("sum_to", shape);
  bool fits = result.size() <= x.ndim();
  const std::size_t added = fits ? x.ndim() - result.size() : 0;
  Axes axes;  // along which `shape` was repeated to become x's
  for (std::size_t axis = 0; fits && axis < x.ndim(); ++axis) {
    const std::size_t from = x.shape()[axis], to = axis < added ? 1 : result[axis - added];
    fits = from == to || to == 1;
    if (axis < added || from != to) axes.push_back(axis);
  }
  require<ShapeError>(fits, "sum_to: a tensor of shape ", x.shape(), " cannot be summed to ",
                      result);
  return record("sum_to", {x}, reduce(x, axes, result, kernels::sum), Keep::nothing,
                [](auto& r) { r.to(0, broadcast_to(r.grad(), r.shape(0))); });
}

Tensor mean(const Tensor& x) { return mean(x, all_axes(x)); }
Tensor mean(const Tensor& x, const Ints& axes, bool keepdims) {
  const Reduction to("mean", x, axes, keepdims);
  const real count = static_cast<real>(to.count);
  Tensor value = reduce(x, to.axes, to.result, kernels::sum);
  value.mutable_array() /= count;
  return record("mean", {x}, value, Keep::nothing, [kept = to.kept, count](auto& r) {
    const Tensor grad = r.grad();
    r.to(0, spread(grad / count, kept, r.shape(0)));
  });
}

Tensor var(const Tensor& x, const Ints& axes, bool keepdims, int correction) {
  const Reduction to("var", x, axes, keepdims);
  const real count = std::max(static_cast<real>(to.count) - static_cast<real>(correction), real(0));
  const Tensor rows = rows_of(x.detach(), to);
  Tensor center = Tensor::empty(to.kept), value = Tensor::empty(to.result);
  kernels::moments(rows.data(), rows.size(0), to.count, center.mutable_data(),
                   value.mutable_data());
  value.mutable_array() /= count;
  return record("var", {x}, value, Keep::inputs, [=]<class R>(R& r) {
    // d/dx sum (x - m)^2 = 2 (x - m); through the mean m flows the sum of all x - m, which is 0.
    const Tensor x = r.in(0), grad = r.grad(), scale = reshape(grad, to.kept) * (2 / count);
    if constexpr (R::recorded) {
      r.to(0, (x - sum_to(x, to.kept) / static_cast<real>(to.count)) * scale);
    } else {
      r.into(0, [&](real* sum, bool add) {
        using kernels::Operand, kernels::row::Batch;
        const Operand all{x.data(), x.shape()}, m{center.data(), to.kept}, s{scale.data(), to.kept},
            before{sum, x.shape()};
        if (x.size() == 0) return;
        if (add)
          kernels::map_broadcast(
              x.shape(), sum,
              [](const Batch& sum, const Batch& x, const Batch& m, const Batch& s) {
                return sum + (x - m) * s;
              },
              before, all, m, s);
        else
          kernels::map_broadcast(
              x.shape(), sum,
              [](const Batch& x, const Batch& m, const Batch& s) { return (x - m) * s; }, all, m,
              s);
      });
    }
  });
}

namespace {

Tensor extremum(const char* op, const Tensor& x, const Ints& axes, bool keepdims, Kernel kernel) {
  const Reduction to(op, x, axes, keepdims);
  for (const std::size_t axis : to.axes)
    require<ShapeError>(x.shape()[axis] > 0, op, ": axis ", axis, " of shape ", x.shape(),
                        " is empty, so nothing is its ", op);
  return record(op, {x}, reduce(x, to.axes, to.result, kernel), [to](auto& r) {
    // 1 where x attains the extremum, divided by how many do: constants, so that the second
    // derivative is 0.
    const Tensor x = r.in(0), ties = equal(x, reshape(r.out(), to.kept));
    Tensor share = Tensor::empty(to.kept);
    share.mutable_array() = real(1) / reduce(ties, to.axes, to.kept, kernels::sum).array();
    r.to(0, ties * (share * reshape(r.grad(), to.kept)));
  });
}

}  // namespace

Tensor max(const Tensor& x) { return max(x, all_axes(x)); }
Tensor max(const Tensor& x, const Ints& axes, bool keepdims) {
  return extremum("max", x, axes, keepdims, kernels::max);
}
Tensor min(const Tensor& x) { return min(x, all_axes(x)); }
Tensor min(const Tensor& x, const Ints& axes, bool keepdims) {
  return extremum("min", x, axes, keepdims, kernels::min);
}

Tensor logsumexp(const Tensor& x, const Ints& axes, bool keepdims) {
  const Reduction to("logsumexp", x, axes, keepdims);
  const Tensor matrix = rows_of(x, to);
  const std::size_t rows = matrix.size(0);
  Tensor value = Tensor::empty({rows, 1});
  kernels::logsumexp(matrix.data(), rows, to.count, value.mutable_data());
  // d logsumexp(x) / dx = softmax(x)
  const Tensor y = record("logsumexp", {matrix}, value, Keep::inputs, [](auto& r) {
    const Tensor grad = r.grad();
    r.to(0, softmax(r.in(0)) * grad);
  });
  return reshape(y, to.result);
}

Tensor prod(const Tensor& x) { return prod(x, all_axes(x)); }
Tensor prod(const Tensor& x, const Ints& axes, bool keepdims) {
  const Reduction to("prod", x, axes, keepdims);
  if (to.count == 0) return sum(x, axes, keepdims) + real(1);  // of nothing
  // The last running product, whose rule knows how to leave one factor out.
  const auto count = static_cast<std::int64_t>(to.count);
  return reshape(slice(cumprod(rows_of(x, to), 1), 1, count - 1, count), to.result);
}

// ---- lengths

Tensor norm(const Tensor& x, real p) { return norm(x, p, all_axes(x)); }
Tensor norm(const Tensor& x, real p, const Ints& axes, bool keepdims) {
  require(p > 0, "norm: needs p > 0, got ", p);
  if (std::isinf(p)) return extremum("norm", abs(x), axes, keepdims, kernels::max);
  const Reduction to("norm", x, axes, keepdims);
  const Tensor v = x.detach(), powers = p == 2 ? square(v) : p == 1 ? abs(v) : pow(abs(v), p);
  const Tensor total = reduce(powers, to.axes, to.result, kernels::sum);
  const Tensor value = p == 2 ? sqrt(total) : p == 1 ? total : pow(total, 1 / p);
  return record("norm", {x}, value, [to, p](auto& r) {
    // y^p = sum |x|^p, hence dy/dx = sign(x) (|x| / y)^(p - 1). Where x or y is 0, 1 stands in for
    // it: the other factor is 0.
    const Tensor x = r.in(0), y = r.out(), grad = r.grad();
    const Tensor length = where(equal(y, real(0)), real(1), y);
    if (p == 2) {
      r.to(0, x * reshape(grad / length, to.kept));
    } else {
      const Tensor ratio =
          abs(where(equal(x, real(0)), real(1), x)) / spread(length, to.kept, x.shape());
      r.to(0, sign(x) * pow(ratio, p - 1) * spread(grad, to.kept, x.shape()));
    }
  });
}

Tensor cosine_similarity(const Tensor& a, const Tensor& b, std::int64_t axis, real eps) {
  const Shape shape = broadcast_shapes("cosine_similarity", a.shape(), b.shape());
  const std::size_t along = normalize_axis("cosine_similarity", axis, shape.size());
  const Tensor x = a.shape() == shape ? a : broadcast_to(a, shape),
               y = b.shape() == shape ? b : broadcast_to(b, shape);
  const auto length = [&](const Tensor& v) {
    return clamp(norm(v, 2, along), eps, std::numeric_limits<real>::infinity());
  };
  return sum(x * y, along) / (length(x) * length(y));
}

Tensor normalize(const Tensor& x, real p, std::int64_t axis, real eps) {
  const std::size_t along = normalize_axis("normalize", axis, x.ndim());
  require(p > 0, "normalize: needs p > 0, got ", p);
  const Tensor length =
      clamp(norm(x, p, along, keepdims), eps, std::numeric_limits<real>::infinity());
  return x / length;
}

}  // namespace xgrad::inline XGRAD_PRECISION
