// Dropout. The mask is a pure function of the random stream's key and position, so the tape keeps
// those two numbers instead of a mask.
#include <xgrad/core/kernels/dropout.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/recompute.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// Multiplication by a fixed diagonal matrix is its own adjoint: the rule is the operation, on the
// same stream.
Tensor dropout_at(const Tensor& x, real p, const Rng& stream) {
  Tensor out = Tensor::empty(x.shape());
  kernels::dropout(x.size(), x.data(), p, stream, out.mutable_data());
  return record("dropout", {x}, out, Keep::nothing,
                [p, stream](auto& r) { r.to(0, dropout_at(r.grad(), p, stream)); });
}

}  // namespace

Tensor dropout(const Tensor& x, real p, Rng& rng) {
  require(p >= 0 && p <= 1, "dropout: needs p in [0, 1], got ", p);
  const Rng stream = take_stream(rng, x.size() / 4 + (x.size() % 4 != 0));
  return p == 0 ? x : dropout_at(x, p, stream);
}

}  // namespace xgrad::inline XGRAD_PRECISION
