// Look-up by integer ids, and its adjoint, adding where ids point. All of it is linear, so each
// rule is the other's operation. Slices, which are regular, are in shape.cpp.
#include <algorithm>

#include <xgrad/core/kernels/gather.hpp>
#include <xgrad/core/kernels/line.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Shape shape_of(const Indices& ids) { return {ids.shape().begin(), ids.shape().end()}; }

void check_ids(const char* op, const Indices& ids, std::size_t size) {
  const std::int64_t *const first = ids.data(), *const last = first + ids.size(),
                            *const outside = std::find_if(first, last, [size](std::int64_t id) {
                              return static_cast<std::size_t>(id) >= size;  // negative: enormous
                            });
  if (outside != last)
    require(false, op, ": id ", *outside, " at position ", outside - first, " is outside [0, ",
            size, ")");
}

using IdsPtr = std::shared_ptr<const Indices>;

// Ids that x is looked up by, for the operation and its derivatives: a copy only where a tape will
// hold on to it.
IdsPtr keep(const Indices& ids, const Tensor& x) {
  if (detail::count_wanting({x}) > 0) return std::make_shared<const Indices>(ids);
  return {IdsPtr(), &ids};
}

kernels::Lookup along_axis(const Shape& shape, std::size_t axis, std::size_t count,
                           bool whole_slices) {
  const auto [outer, size, inner] = kernels::line_of(shape, axis);
  return {outer, size, count, inner, whole_slices};
}

Tensor look_up(const char* op, const Tensor& x, const kernels::Lookup& at, const IdsPtr& ids,
               const Shape& result);

// Zeros of the given shape, plus x where look_up would read.
Tensor look_up_adjoint(const Tensor& x, const kernels::Lookup& at, const IdsPtr& ids,
                       const Shape& shape) {
  Tensor out = zeros(shape);
  kernels::scatter_add(at, ids->data(), x.data(), out.mutable_data());
  return record("look_up_adjoint", {x}, out, Keep::nothing,
                [at, ids](auto& r) { r.to(0, look_up("look_up", r.grad(), at, ids, r.shape(0))); });
}

Tensor look_up(const char* op, const Tensor& x, const kernels::Lookup& at, const IdsPtr& ids,
               const Shape& result) {
  Tensor out = Tensor::empty(result);
  kernels::gather(at, ids->data(), x.data(), out.mutable_data());
  return record(op, {x}, out, Keep::nothing, [at, ids](auto& r) {
    const Tensor grad = r.grad();
    if constexpr (std::remove_reference_t<decltype(r)>::recorded)
      r.to(0, look_up_adjoint(grad, at, ids, r.shape(0)));
    else  // into the table's gradient itself, without a second table
      r.into(0, [&](real* sums, bool add) {
        if (!add) std::fill_n(sums, element_count(r.shape(0)), real(0));
        kernels::scatter_add(at, ids->data(), grad.data(), sums);
      });
  });
}

// Ids with one number per element must fit into the shape that they look into, but on their axis.
void check_fit(const char* op, const Shape& shape, std::size_t axis, const Indices& ids) {
  const Shape own = shape_of(ids);
  require<ShapeError>(own.size() == shape.size(), op, ": ids ", own, " and the tensor ", shape,
                      " have different numbers of axes");
  for (std::size_t k = 0; k < own.size(); ++k)
    require<ShapeError>(k == axis || own[k] <= shape[k], op, ": ids ", own, " reach beyond shape ",
                        shape, ": axis ", k, " is ", own[k], " and ", shape[k]);
  check_ids(op, ids, shape[axis]);
}

Tensor gather_as(const char* op, const Tensor& x, std::size_t axis, const Indices& ids) {
  check_fit(op, x.shape(), axis, ids);
  const Shape shape = shape_of(ids);
  Tensor reached = x;
  for (std::size_t k = 0; k < shape.size(); ++k)
    if (k != axis && shape[k] < x.shape()[k])
      reached =
          slice(reached, static_cast<std::int64_t>(k), 0, static_cast<std::int64_t>(shape[k]));
  return look_up(op, reached, along_axis(reached.shape(), axis, shape[axis], false), keep(ids, x),
                 shape);
}

}  // namespace

Tensor embedding(const Tensor& weight, const Indices& ids) {
  require<ShapeError>(weight.ndim() == 2, "embedding: needs a table (V, D), got shape ",
                      weight.shape());
  check_ids("embedding", ids, weight.size(0));
  Shape shape = shape_of(ids);
  shape.push_back(weight.size(1));
  return look_up("embedding", weight, along_axis(weight.shape(), 0, ids.size(), true),
                 keep(ids, weight), shape);
}

Tensor index_select(const Tensor& x, std::int64_t axis, const Indices& ids) {
  const std::size_t along = normalize_axis("index_select", axis, x.ndim());
  require<ShapeError>(ids.dimension() == 1, "index_select: needs ids (n,), got shape ",
                      shape_of(ids));
  check_ids("index_select", ids, x.shape()[along]);
  Shape shape = x.shape();
  shape[along] = ids.size();
  return look_up("index_select", x, along_axis(x.shape(), along, ids.size(), true), keep(ids, x),
                 shape);
}

Tensor gather(const Tensor& x, std::int64_t axis, const Indices& ids) {
  return gather_as("gather", x, normalize_axis("gather", axis, x.ndim()), ids);
}

Tensor scatter_add(const Tensor& x, std::int64_t axis, const Indices& ids, const Tensor& source) {
  const std::size_t along = normalize_axis("scatter_add", axis, x.ndim());
  check_fit("scatter_add", x.shape(), along, ids);
  Shape reached = shape_of(ids);  // the part of x that ids can reach
  require<ShapeError>(source.shape() == reached, "scatter_add: the source has shape ",
                      source.shape(), ", ids ", reached);
  const std::size_t count = reached[along];
  reached[along] = x.shape()[along];
  const Tensor sums =
      look_up_adjoint(source, along_axis(reached, along, count, false), keep(ids, source), reached);
  if (reached == x.shape()) return x + sums;
  std::vector<Padding> rest(x.ndim());
  for (std::size_t k = 0; k < x.ndim(); ++k) rest[k].after = x.shape()[k] - reached[k];
  return x + pad(sums, rest);
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
  const Tensor wide = x.shape() == from ? x : broadcast_to(x, from);
  if (shape_of(ids) == to) return gather_as("take_along_axis", wide, along, ids);
  return gather_as("take_along_axis", wide, along, Indices(xt::broadcast(ids, to)));
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
