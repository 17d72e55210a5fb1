// Look-up by integer ids. Slices, which are regular, are in shape.cpp.
#include <xgrad/core/kernels/gather.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

std::span<const std::int64_t> values_of(const Indices& ids) { return {ids.data(), ids.size()}; }

// A table of zeros to whose row ids[i] the i-th row of x is added: the adjoint of embedding, which
// reads rows.
Tensor embedding_adjoint(const Tensor& x, const Indices& ids, const Shape& table) {
  Tensor out = zeros(table);
  kernels::scatter_add_rows(values_of(ids), table[1], x.data(), out.mutable_data());
  return record("embedding_adjoint", {x}, out, Keep::nothing,
                [ids](auto& r) { r.to(0, embedding(r.grad(), ids)); });
}

}  // namespace

Tensor embedding(const Tensor& weight, const Indices& ids) {
  require<ShapeError>(weight.ndim() == 2, "embedding: needs a table (V, D), got shape ",
                      weight.shape());
  const std::size_t rows = weight.shape()[0], width = weight.shape()[1];
  for (std::size_t i = 0; i < ids.size(); ++i)
    require(ids.data()[i] >= 0 && static_cast<std::size_t>(ids.data()[i]) < rows, "embedding: id ",
            ids.data()[i], " at position ", i, " is outside [0, ", rows, ")");
  Shape shape(ids.shape().begin(), ids.shape().end());
  shape.push_back(width);
  Tensor out = Tensor::empty(shape);
  kernels::gather_rows(values_of(ids), width, weight.data(), out.mutable_data());
  return record("embedding", {weight}, out, Keep::nothing,
                [ids](auto& r) { r.to(0, embedding_adjoint(r.grad(), ids, r.shape(0))); });
}

}  // namespace xgrad::inline XGRAD_PRECISION
