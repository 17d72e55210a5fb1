// Look-up by integer ids, and its adjoint, adding where ids point. All of it is linear, so each
// rule is the other's operation. Slices, which are regular, are in shape.cpp.
#include <algorithm>

#include <xgrad/core/kernels/gather.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

std::span<const std::int64_t> values_of(const Indices& ids) { return {ids.data(), ids.size()}; }

Shape shape_of(const Indices& ids) { return {ids.shape().begin(), ids.shape().end()}; }

void check_ids(const char* op, const Indices& ids, std::size_t size) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    require(ids.data()[i] >= 0 && static_cast<std::size_t>(ids.data()[i]) < size, op, ": id ",
            ids.data()[i], " at position ", i, " is outside [0, ", size, ")");
}

std::size_t product(const Shape& shape, std::size_t first, std::size_t last) {
  return element_count(Shape(shape.begin() + static_cast<std::ptrdiff_t>(first),
                             shape.begin() + static_cast<std::ptrdiff_t>(last)));
}

Tensor pick(const char* op, const Tensor& x, std::size_t axis, const Indices& ids,
            const Shape& result);

// Zeros of the given shape, to whose slice ids[i] of the axis slice i of x is added: the adjoint of
// pick, which reads slices.
Tensor pick_adjoint(const Tensor& x, std::size_t axis, const Indices& ids, const Shape& shape) {
  const std::size_t outer = product(shape, 0, axis), inner = product(shape, axis + 1, shape.size());
  Tensor out = zeros(shape);
  for (std::size_t o = 0; o < outer; ++o)
    kernels::scatter_add_rows(values_of(ids), inner, x.data() + o * ids.size() * inner,
                              out.mutable_data() + o * shape[axis] * inner);
  return record("pick_adjoint", {x}, out, Keep::nothing, [axis, ids](auto& r) {
    r.to(0, pick("pick_adjoint", r.grad(), axis, ids, r.shape(0)));
  });
}

// The slices of x at ids of an axis, as `result`, which has the size of that.
Tensor pick(const char* op, const Tensor& x, std::size_t axis, const Indices& ids,
            const Shape& result) {
  const std::size_t size = x.shape()[axis], outer = product(x.shape(), 0, axis),
                    inner = product(x.shape(), axis + 1, x.ndim());
  check_ids(op, ids, size);
  Tensor out = Tensor::empty(result);
  for (std::size_t o = 0; o < outer; ++o)
    kernels::gather_rows(values_of(ids), inner, x.data() + o * size * inner,
                         out.mutable_data() + o * ids.size() * inner);
  return record(op, {x}, out, Keep::nothing,
                [axis, ids](auto& r) { r.to(0, pick_adjoint(r.grad(), axis, ids, r.shape(0))); });
}

/// Checks ids of any one axis against the shape they look into.
kernels::Lookup lookup(const char* op, const Shape& shape, std::size_t axis, const Indices& ids) {
  const Shape own = shape_of(ids);
  require<ShapeError>(own.size() == shape.size(), op, ": ids ", own, " and the tensor ", shape,
                      " have different numbers of axes");
  for (std::size_t k = 0; k < own.size(); ++k)
    require<ShapeError>(k == axis || own[k] <= shape[k], op, ": ids ", own, " reach beyond shape ",
                        shape, ": axis ", k, " is ", own[k], " and ", shape[k]);
  check_ids(op, ids, shape[axis]);
  return {product(own, 0, axis), shape[axis], own[axis], product(own, axis + 1, own.size())};
}

/// x cut to the size of ids on all axes but one.
Tensor cut_to(const Tensor& x, std::size_t axis, const Shape& ids) {
  Tensor y = x;
  for (std::size_t k = 0; k < ids.size(); ++k)
    if (k != axis && ids[k] != x.shape()[k])
      y = slice(y, static_cast<std::int64_t>(k), 0, static_cast<std::int64_t>(ids[k]));
  return y;
}

}  // namespace

Tensor embedding(const Tensor& weight, const Indices& ids) {
  require<ShapeError>(weight.ndim() == 2, "embedding: needs a table (V, D), got shape ",
                      weight.shape());
  Shape shape = shape_of(ids);
  shape.push_back(weight.size(1));
  return pick("embedding", weight, 0, ids, shape);
}

Tensor index_select(const Tensor& x, std::int64_t axis, const Indices& ids) {
  const std::size_t along = normalize_axis("index_select", axis, x.ndim());
  require<ShapeError>(ids.dimension() == 1, "index_select: needs ids (n,), got shape ",
                      shape_of(ids));
  Shape shape = x.shape();
  shape[along] = ids.size();
  return pick("index_select", x, along, ids, shape);
}

Tensor gather(const Tensor& x, std::int64_t axis, const Indices& ids) {
  const std::size_t along = normalize_axis("gather", axis, x.ndim());
  const kernels::Lookup sizes = lookup("gather", x.shape(), along, ids);
  const Tensor from = cut_to(x, along, shape_of(ids));
  Tensor out = Tensor::empty(shape_of(ids));
  kernels::gather(sizes, ids.data(), from.data(), out.mutable_data());
  return record("gather", {from}, out, Keep::nothing, [axis, ids](auto& r) {
    r.to(0, scatter_add(zeros(r.shape(0)), axis, ids, r.grad()));
  });
}

Tensor scatter_add(const Tensor& x, std::int64_t axis, const Indices& ids, const Tensor& source) {
  const std::size_t along = normalize_axis("scatter_add", axis, x.ndim());
  const kernels::Lookup sizes = lookup("scatter_add", x.shape(), along, ids);
  const Shape own = shape_of(ids);
  require<ShapeError>(source.shape() == own, "scatter_add: the source has shape ", source.shape(),
                      ", ids ", own);
  Shape reached = own;  // the part of x that ids can reach
  reached[along] = x.shape()[along];
  if (reached != x.shape()) {
    std::vector<Padding> rest;
    for (std::size_t k = 0; k < own.size(); ++k) rest.push_back({0, x.shape()[k] - reached[k]});
    return x + pad(scatter_add(zeros(reached), axis, ids, source), rest);
  }
  Tensor out = x.clone();
  kernels::scatter_add(sizes, ids.data(), source.data(), out.mutable_data());
  return record("scatter_add", {x, source}, out, Keep::nothing, [axis, ids](auto& r) {
    r.to(0, r.grad());
    if (r.needs(1)) r.to(1, xgrad::gather(r.grad(), axis, ids));
  });
}

Tensor take_along_axis(const Tensor& x, const Indices& ids, std::int64_t axis) {
  const std::size_t along = normalize_axis("take_along_axis", axis, x.ndim());
  Shape from = x.shape(), to = shape_of(ids);
  require<ShapeError>(to.size() == from.size(), "take_along_axis: ids ", to, " and the tensor ",
                      from, " have different numbers of axes");
  const std::size_t size = from[along], count = to[along];
  from[along] = to[along] = 1;
  from = to = broadcast_shapes("take_along_axis, other axes", from, to);
  from[along] = size;
  to[along] = count;
  return gather(x.shape() == from ? x : broadcast_to(x, from), axis,
                Indices(xt::broadcast(ids, to)));
}

Tensor one_hot(const Indices& ids, std::size_t classes) {
  check_ids("one_hot", ids, classes);
  Shape shape = shape_of(ids);
  shape.push_back(classes);
  Tensor out = zeros(shape);
  real* row = out.mutable_data();
  for (std::size_t i = 0; i < ids.size(); ++i, row += classes) row[ids.data()[i]] = 1;
  return out;
}

}  // namespace xgrad::inline XGRAD_PRECISION
