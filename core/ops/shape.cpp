// Shapes: the same numbers arranged, cut, joined or repeated differently. All of it is linear, so
// each rule is another operation of this file, and derivatives of any order follow. reshape alone
// shares storage; the others copy, for tensors are contiguous.
#include <algorithm>

#include <xgrad/core/kernels/copy.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// `sizes` with at most one -1 replaced by what is left of x's elements.
Shape infer_shape(const Tensor& x, const Ints& sizes) {
  Shape shape;
  std::size_t unknown = sizes.size(), known = 1;
  bool fits = true;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1 && unknown == sizes.size())
      unknown = i;
    else
      fits &= sizes[i] >= 0;
    shape.push_back(sizes[i] < 0 ? 1 : static_cast<std::size_t>(sizes[i]));
  }
  if (fits) known = element_count(shape);
  if (fits && unknown < sizes.size()) {
    fits = known > 0 && x.size() % known == 0;
    if (fits) shape[unknown] = x.size() / known;
  } else {
    fits = fits && known == x.size();
  }
  require<ShapeError>(fits, "reshape: cannot turn shape ", x.shape(), " into ", sizes);
  return shape;
}

/// Evenly spaced places in a contiguous array: those of a slice, a diagonal, a middle. A rule that
/// is read raw adds there, into the gradient itself, without an array of zeros in between.
struct Places {
  std::size_t first;
  Shape strides;
};

/// Hands input i the part of the gradient that lies at the places.
void take_from(RawPull& r, std::size_t i, const Places& at) {
  const Tensor grad = r.grad();
  const Shape& shape = r.shape(i);
  r.into(i, [&](real* sum, bool add) {
    const auto move = add ? kernels::add_strided : kernels::copy_strided;
    move(shape, grad.data() + at.first, at.strides, sum, kernels::strides_of(shape));
  });
}

/// Hands input 0 the gradient at the places, 0 elsewhere.
void put_at(RawPull& r, const Places& at) {
  const Tensor grad = r.grad();
  r.into(0, [&](real* sum, bool add) {
    if (!add) std::fill_n(sum, element_count(r.shape(0)), real(0));
    if (grad.size() == 0) return;
    const auto move = add ? kernels::add_strided : kernels::copy_strided;
    move(grad.shape(), grad.data(), kernels::strides_of(grad.shape()), sum + at.first, at.strides);
  });
}

Places places_of_slice(const Shape& shape, std::size_t axis, std::size_t start, std::size_t step) {
  Shape strides = kernels::strides_of(shape);
  const std::size_t first = start * strides[axis];
  strides[axis] *= step;
  return {first, std::move(strides)};
}

// Every step-th place along `axis` of zeros, from `start` on, filled with x: the adjoint of slice,
// which reads those places.
Tensor slice_adjoint(const Tensor& x, const Shape& shape, std::size_t axis, std::size_t start,
                     std::size_t step) {
  Tensor out = zeros(shape);
  const Places at = places_of_slice(shape, axis, start, step);
  kernels::copy_strided(x.shape(), x.data(), kernels::strides_of(x.shape()),
                        out.mutable_data() + at.first, at.strides);
  return record("slice_adjoint", {x}, out, Keep::nothing, [=](auto& r) {
    r.to(0, xgrad::slice(r.grad(), axis, start, start + r.shape(0)[axis] * step, step));
  });
}

}  // namespace

Tensor reshape(const Tensor& x, const Ints& shape) {
  return record("reshape", {x}, x.reshaped(infer_shape(x, shape)), Keep::nothing,
                [](auto& r) { r.to(0, xgrad::reshape(r.grad(), r.shape(0))); });
}

Tensor permute(const Tensor& x, const Ints& order) {
  std::vector<std::size_t> from;
  for (const std::int64_t axis : order) from.push_back(normalize_axis("permute", axis, x.ndim()));
  std::vector<std::int64_t> inverse(x.ndim(), -1);
  for (std::size_t i = 0; i < from.size(); ++i) inverse[from[i]] = static_cast<std::int64_t>(i);
  require<ShapeError>(
      from.size() == x.ndim() && std::find(inverse.begin(), inverse.end(), -1) == inverse.end(),
      "permute: order ", order, " is not a permutation of the axes of shape ", x.shape());
  const Shape strides = kernels::strides_of(x.shape());
  Shape shape(from.size()), in_strides(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    shape[i] = x.shape()[from[i]];
    in_strides[i] = strides[from[i]];
  }
  Tensor out = Tensor::empty(shape);
  kernels::copy_strided(shape, x.data(), in_strides, out.mutable_data(),
                        kernels::strides_of(shape));
  return record("permute", {x}, out, Keep::nothing,
                [inverse](auto& r) { r.to(0, xgrad::permute(r.grad(), inverse)); });
}

Tensor transpose(const Tensor& x, std::int64_t axis1, std::int64_t axis2) {
  std::vector<std::int64_t> order(x.ndim());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::swap(order[normalize_axis("transpose", axis1, x.ndim())],
            order[normalize_axis("transpose", axis2, x.ndim())]);
  return permute(x, order);
}

Tensor slice(const Tensor& x, std::int64_t axis, std::int64_t start, std::int64_t stop,
             std::int64_t step) {
  const std::size_t along = normalize_axis("slice", axis, x.ndim());
  require(step >= 1, "slice: needs step >= 1, got ", step);
  const auto size = static_cast<std::int64_t>(x.shape()[along]);
  const auto place = [size](std::int64_t i) {
    return static_cast<std::size_t>(std::clamp<std::int64_t>(i < 0 ? i + size : i, 0, size));
  };
  const std::size_t first = place(start), last = place(stop),
                    stride =
                        static_cast<std::size_t>(std::min(step, std::max<std::int64_t>(1, size)));
  Shape shape = x.shape();
  const Places at = places_of_slice(shape, along, first, stride);
  shape[along] = first < last ? (last - first - 1) / stride + 1 : 0;
  Tensor out = Tensor::empty(shape);
  kernels::copy_strided(shape, x.data() + at.first, at.strides, out.mutable_data(),
                        kernels::strides_of(shape));
  return record("slice", {x}, out, Keep::nothing, [=]<class R>(R& r) {
    if constexpr (R::recorded)
      r.to(0, slice_adjoint(r.grad(), r.shape(0), along, first, stride));
    else
      put_at(r, places_of_slice(r.shape(0), along, first, stride));
  });
}

Tensor concat(const std::vector<Tensor>& parts, std::int64_t axis) {
  require(!parts.empty(), "concat: needs at least one tensor");
  Shape shape = parts[0].shape();
  const std::size_t along = normalize_axis("concat", axis, shape.size());
  shape[along] = 0;
  for (const Tensor& part : parts) {
    Shape others = part.shape();
    if (along < others.size()) others[along] = 0;
    for (std::size_t k = 0; k < std::min(shape.size(), others.size()); ++k)
      require<ShapeError>(shape.size() != others.size() || k == along || shape[k] == others[k],
                          "concat: shapes ", parts[0].shape(), " and ", part.shape(),
                          " do not join along axis ", along, ": axis ", k, " is ", shape[k],
                          " and ", others[k]);
    require<ShapeError>(shape.size() == others.size(), "concat: shapes ", parts[0].shape(), " and ",
                        part.shape(), " do not join: ", shape.size(), " and ", others.size(),
                        " axes");
    shape[along] += part.shape()[along];
  }
  Tensor out = Tensor::empty(shape);
  const Shape strides = kernels::strides_of(shape);
  real* target = out.mutable_data();
  for (const Tensor& part : parts) {
    kernels::copy_strided(part.shape(), part.data(), kernels::strides_of(part.shape()), target,
                          strides);
    target += part.shape()[along] * strides[along];
  }
  return record("concat", parts, out, Keep::nothing, [along, count = parts.size()]<class R>(R& r) {
    const Shape strides = kernels::strides_of(r.grad().shape());
    for (std::size_t i = 0, start = 0; i < count; ++i) {
      const std::size_t stop = start + r.shape(i)[along];
      if constexpr (R::recorded) {
        if (r.needs(i)) r.to(i, xgrad::slice(r.grad(), along, start, stop));
      } else {
        take_from(r, i, {start * strides[along], strides});
      }
      start = stop;
    }
  });
}

Tensor stack(const std::vector<Tensor>& parts, std::int64_t axis) {
  require(!parts.empty(), "stack: needs at least one tensor");
  const Shape& first = parts[0].shape();
  const std::size_t along = normalize_axis("stack", axis, first.size() + 1);
  Shape shape;
  for (std::size_t k = 0; k <= first.size(); ++k)
    shape.push_back(k == along ? 1 : first[k - (k > along)]);
  std::vector<Tensor> thick;
  for (const Tensor& part : parts) {
    require<ShapeError>(part.shape() == first, "stack: needs equal shapes, got ", first, " and ",
                        part.shape());
    thick.push_back(reshape(part, shape));
  }
  return concat(thick, static_cast<std::int64_t>(along));
}

std::vector<Tensor> split(const Tensor& x, std::int64_t size, std::int64_t axis) {
  const std::int64_t count =
      static_cast<std::int64_t>(x.shape()[normalize_axis("split", axis, x.ndim())]);
  require(size >= 1, "split: needs size >= 1, got ", size);
  std::vector<Tensor> parts;
  for (std::int64_t start = 0; start == 0 || start < count; start += size)
    parts.push_back(slice(x, axis, start, std::min(count, start + size)));
  return parts;
}

Tensor broadcast_to(const Tensor& x, const Ints& shape) {
  const std::size_t ndim = shape.size(), added = ndim - std::min(ndim, x.ndim());
  require<ShapeError>(ndim >= x.ndim(), "broadcast_to: shape ", x.shape(), " has more axes than ",
                      shape);
  Shape sizes, strides(ndim);
  const Shape own = kernels::strides_of(x.shape());
  for (std::size_t k = 0; k < ndim; ++k) {
    const std::size_t size = k < added ? 1 : x.shape()[k - added];
    require<ShapeError>(shape[k] >= 0 || (shape[k] == -1 && k >= added),
                        "broadcast_to: cannot turn shape ", x.shape(), " into ", shape, ": axis ",
                        k, " is ", shape[k]);
    sizes.push_back(shape[k] < 0 ? size : static_cast<std::size_t>(shape[k]));
    require<ShapeError>(size == 1 || size == sizes[k], "broadcast_to: cannot turn shape ",
                        x.shape(), " into ", shape, ": axis ", k, " is ", size, " and ", sizes[k]);
    strides[k] = size == 1 ? 0 : own[k - added];
  }
  Tensor out = Tensor::empty(sizes);
  kernels::copy_strided(sizes, x.data(), strides, out.mutable_data(), kernels::strides_of(sizes));
  return record("broadcast_to", {x}, out, Keep::nothing,
                [](auto& r) { r.to(0, r.grad()); });  // `to` sums
}

namespace {

Tensor triangle(const char* op, const Tensor& x, bool lower, std::int64_t k) {
  require<ShapeError>(x.ndim() >= 2, op, ": needs at least 2 axes, got shape ", x.shape());
  const std::size_t rows = x.size(-2), cols = x.size(-1);
  k = std::clamp(k, -static_cast<std::int64_t>(rows) - 1, static_cast<std::int64_t>(cols));
  Tensor out = Tensor::empty(x.shape());
  kernels::triangle(lower, x.size() / std::max<std::size_t>(1, rows * cols), rows, cols,
                    lower ? k + 1 : k, x.data(), out.mutable_data());
  return record(op, {x}, out, Keep::nothing,
                [=](auto& r) { r.to(0, triangle(op, r.grad(), lower, k)); });
}

/// Where diagonal k of matrices lies.
struct Diagonal {
  explicit Diagonal(std::int64_t k)
      : row(k < 0 ? 0 - static_cast<std::size_t>(k) : 0),
        column(k > 0 ? static_cast<std::size_t>(k) : 0) {}
  std::size_t length(const Shape& matrix) const {
    if (row >= matrix[0] || column >= matrix[1]) return 0;
    return std::min(matrix[0] - row, matrix[1] - column);
  }
  std::size_t row, column;  // its first element
};

Tensor read_diagonal(const Tensor& x, const Diagonal& at);

// Zeros with x on diagonal k: the adjoint of reading it.
Tensor write_diagonal(const Tensor& x, const Shape& matrix, const Diagonal& at) {
  Tensor out = zeros(matrix);
  if (x.size() > 0)
    kernels::copy_strided(x.shape(), x.data(), {1},
                          out.mutable_data() + at.row * matrix[1] + at.column, {matrix[1] + 1});
  return record("write_diagonal", {x}, out, Keep::nothing,
                [at](auto& r) { r.to(0, read_diagonal(r.grad(), at)); });
}

Tensor read_diagonal(const Tensor& x, const Diagonal& at) {
  Tensor out = Tensor::empty({at.length(x.shape())});
  if (out.size() > 0)
    kernels::copy_strided(out.shape(), x.data() + at.row * x.size(1) + at.column, {x.size(1) + 1},
                          out.mutable_data(), {1});
  return record("read_diagonal", {x}, out, Keep::nothing, [at]<class R>(R& r) {
    const Shape& matrix = r.shape(0);
    if constexpr (R::recorded)
      r.to(0, write_diagonal(r.grad(), matrix, at));
    else
      put_at(r, {at.row * matrix[1] + at.column, {matrix[1] + 1}});
  });
}

/// x with axis `along` read at the positions that `at` gives for 0 … count - 1.
template <class At>
Tensor read_axis(const Tensor& x, std::size_t along, std::size_t count, const At& at) {
  Indices ids = Indices::from_shape({count});
  for (std::size_t i = 0; i < count; ++i) ids(i) = at(static_cast<std::int64_t>(i));
  return index_select(x, static_cast<std::int64_t>(along), ids);
}

}  // namespace

Tensor tril(const Tensor& x, std::int64_t k) { return triangle("tril", x, true, k); }
Tensor triu(const Tensor& x, std::int64_t k) { return triangle("triu", x, false, k); }

Tensor diag(const Tensor& x, std::int64_t k) {
  require<ShapeError>(x.ndim() == 1 || x.ndim() == 2, "diag: needs 1 or 2 axes, got shape ",
                      x.shape());
  const Diagonal at(k);
  if (x.ndim() == 2) return read_diagonal(x, at);
  const std::size_t size = x.size() + at.row + at.column;
  return write_diagonal(x, {size, size}, at);
}

Tensor trace(const Tensor& x) {
  require<ShapeError>(x.ndim() == 2, "trace: needs 2 axes, got shape ", x.shape());
  return sum(diag(x));
}

Tensor squeeze(const Tensor& x, std::int64_t axis) {
  const std::size_t along = normalize_axis("squeeze", axis, x.ndim());
  Shape shape = x.shape();
  require<ShapeError>(shape[along] == 1, "squeeze: axis ", along, " of shape ", shape, " is ",
                      shape[along], ", not 1");
  shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(along));
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (const std::size_t size : x.shape())
    if (size != 1) shape.push_back(size);
  return reshape(x, shape);
}

Tensor unsqueeze(const Tensor& x, std::int64_t axis) {
  const std::size_t along = normalize_axis("unsqueeze", axis, x.ndim() + 1);
  Shape shape;
  for (std::size_t k = 0; k <= x.ndim(); ++k)
    shape.push_back(k == along ? 1 : x.shape()[k - (k > along)]);
  return reshape(x, shape);
}

Tensor flatten(const Tensor& x, std::int64_t first, std::int64_t last) {
  if (x.ndim() == 0) return reshape(x, 1);
  const std::size_t begin = normalize_axis("flatten", first, x.ndim()),
                    end = normalize_axis("flatten", last, x.ndim()) + 1;
  require<ShapeError>(begin < end, "flatten: first axis ", first, " comes after last axis ", last);
  Shape shape(x.shape().begin(), x.shape().begin() + static_cast<std::ptrdiff_t>(begin));
  std::size_t merged = 1;
  for (std::size_t axis = begin; axis < end; ++axis) merged *= x.shape()[axis];
  shape.push_back(merged);
  shape.insert(shape.end(), x.shape().begin() + static_cast<std::ptrdiff_t>(end), x.shape().end());
  return reshape(x, shape);
}

Tensor flip(const Tensor& x, const Ints& axes) {
  Tensor y = x;
  for (const std::size_t axis : normalize_axes("flip", axes, x.ndim())) {
    const std::size_t size = x.shape()[axis];
    y = read_axis(y, axis, size, [&](std::int64_t i) { return std::int64_t(size) - 1 - i; });
  }
  return y;
}

Tensor roll(const Tensor& x, std::int64_t shift, std::int64_t axis) {
  const std::size_t along = normalize_axis("roll", axis, x.ndim());
  const auto size = static_cast<std::int64_t>(x.shape()[along]);
  const std::int64_t cut =  // what becomes the first element
      size == 0 ? 0 : (size - shift % size) % size;
  return concat({slice(x, axis, cut, size), slice(x, axis, 0, cut)}, axis);
}

Tensor repeat(const Tensor& x, const Ints& counts) {
  require<ShapeError>(counts.size() >= x.ndim(), "repeat: needs at least ", x.ndim(),
                      " counts for shape ", x.shape(), ", got ", counts.size());
  // Each axis d becomes (1, d), is broadcast to (count, d), and merged again.
  const std::size_t added = counts.size() - x.ndim();
  Shape thin, thick, merged;
  for (std::size_t k = 0; k < counts.size(); ++k) {
    require<ShapeError>(counts[k] >= 0, "repeat: negative count in ", counts);
    const std::size_t size = k < added ? 1 : x.shape()[k - added];
    const auto count = static_cast<std::size_t>(counts[k]);
    thin.insert(thin.end(), {1, size});
    thick.insert(thick.end(), {count, size});
    merged.push_back(count * size);
  }
  return reshape(broadcast_to(reshape(x, thin), thick), merged);
}

namespace {

/// Where the middle of a padded array of this shape begins, and its neighbours' distances.
Places middle_of(const Shape& shape, const std::vector<Padding>& padding) {
  Places at{0, kernels::strides_of(shape)};
  for (std::size_t k = 0; k < shape.size(); ++k) at.first += padding[k].before * at.strides[k];
  return at;
}

// `value` all around x; in backward the middle is cut out again.
Tensor pad_constant(const Tensor& x, const std::vector<Padding>& padding, real value) {
  Shape shape = x.shape();
  for (std::size_t k = 0; k < shape.size(); ++k) shape[k] += padding[k].before + padding[k].after;
  Tensor out = full(shape, value);
  const Places at = middle_of(shape, padding);
  kernels::copy_strided(x.shape(), x.data(), kernels::strides_of(x.shape()),
                        out.mutable_data() + at.first, at.strides);
  return record("pad", {x}, out, Keep::nothing, [padding]<class R>(R& r) {
    if constexpr (R::recorded) {
      Tensor middle = r.grad();
      for (std::size_t k = 0; k < padding.size(); ++k)
        if (padding[k].before + padding[k].after > 0)
          middle = xgrad::slice(middle, k, padding[k].before, padding[k].before + r.shape(0)[k]);
      r.to(0, std::move(middle));
    } else {
      take_from(r, 0, middle_of(r.grad().shape(), padding));
    }
  });
}

}  // namespace

Tensor pad(const Tensor& x, const std::vector<Padding>& padding, Pad mode, real value) {
  require<ShapeError>(padding.size() == x.ndim(), "pad: needs ", x.ndim(), " paddings for shape ",
                      x.shape(), ", got ", padding.size());
  if (mode == Pad::constant) return pad_constant(x, padding, value);
  Tensor y = x;
  for (std::size_t axis = 0; axis < x.ndim(); ++axis) {
    const auto [before, after] = padding[axis];
    if (before == 0 && after == 0) continue;
    const std::size_t size = x.shape()[axis], most = std::max(before, after),
                      reach = mode == Pad::reflect ? size - 1 : size;
    require<ShapeError>(size > 0, "pad: axis ", axis, " of shape ", x.shape(),
                        " is empty, so only a constant can be added");
    require<ShapeError>(
        mode == Pad::replicate || most <= reach, "pad: cannot add ", most, " elements to axis ",
        axis, " of shape ", x.shape(), ": at most ", reach,
        mode == Pad::reflect ? " can be mirrored" : " can be taken from its other end");
    const auto n = static_cast<std::int64_t>(size), offset = static_cast<std::int64_t>(before);
    y = read_axis(y, axis, before + size + after, [=](std::int64_t i) {
      i -= offset;
      if (mode == Pad::replicate) return std::clamp<std::int64_t>(i, 0, n - 1);
      if (mode == Pad::circular) return (i + n) % n;
      return i < 0 ? -i : i < n ? i : 2 * (n - 1) - i;
    });
  }
  return y;
}

}  // namespace xgrad::inline XGRAD_PRECISION
