// Layer norm and RMS norm: rows brought to mean 0 and size 1, then scaled and shifted by learned
// weights. The loops, and how the gradient comes about, are in kernels/norm.cpp.
#include <algorithm>
#include <iterator>

#include <xgrad/core/kernels/norm.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

void check_norm(const char* op, const Tensor& x, const Tensor& weight, const Tensor& bias,
                real eps) {
  require<ShapeError>(x.ndim() >= 1, op, ": needs at least 1 axis, got shape ()");
  const auto check = [&](const char* name, const Tensor& t) {
    if (!t.defined()) return;
    require<ShapeError>(t.ndim() == 1 && t.size() == x.size(-1), op, ": ", name, " has shape ",
                        t.shape(), ", last axis of input ", x.shape(), " is ", x.size(-1));
  };
  check("weight", weight);
  check("bias", bias);
  require(eps >= 0, op, ": eps must not be negative, got ", eps);
}

std::vector<Tensor> defined_of(std::initializer_list<Tensor> tensors) {
  std::vector<Tensor> list;
  std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(list),
               [](const Tensor& t) { return t.defined(); });
  return list;
}

std::size_t row_count(const Tensor& x) { return x.size() / std::max<std::size_t>(1, x.size(-1)); }

/// Storage for the gradient of input i, if somebody wants it.
Tensor room_for(RawPull& r, std::size_t i) {
  return r.needs(i) ? Tensor::empty(r.shape(i)) : Tensor();
}
real* numbers_of(Tensor& x) { return x.defined() ? x.mutable_data() : nullptr; }

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps) {
  check_norm("layer_norm", x, weight, bias, eps);
  const std::size_t rows = row_count(x), n = x.size(-1);
  const bool scaled = weight.defined(), shifted = bias.defined();
  const Tensor gain = scaled ? weight : ones({n}), shift = shifted ? bias : zeros({n});
  Tensor y = Tensor::empty(x.shape()), mean = Tensor::empty({rows}), rstd = Tensor::empty({rows});
  kernels::layer_norm(x.data(), gain.data(), shift.data(), eps, rows, n, y.mutable_data(),
                      mean.mutable_data(), rstd.mutable_data());
  return record_fused(
      "layer_norm", "composite::layer_norm", defined_of({x, weight, bias}), y, Keep::inputs,
      [rows, n, scaled, shifted, mean, rstd](RawPull& r) {
        const Tensor grad = r.grad(), x = r.in(0), gain = scaled ? Tensor(r.in(1)) : ones({n});
        Tensor dx = room_for(r, 0), dweight, dbias;
        if (scaled) dweight = room_for(r, 1);
        if (shifted) dbias = room_for(r, 1 + scaled);
        kernels::layer_norm_vjp(grad.data(), x.data(), gain.data(), mean.data(), rstd.data(), rows,
                                n, {numbers_of(dx), numbers_of(dweight), numbers_of(dbias)});
        r.to(0, dx);
        if (scaled) r.to(1, dweight);
        if (shifted) r.to(1 + scaled, dbias);
      });
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, real eps) {
  check_norm("rms_norm", x, weight, {}, eps);
  const std::size_t rows = row_count(x), n = x.size(-1);
  const bool scaled = weight.defined();
  const Tensor gain = scaled ? weight : ones({n});
  Tensor y = Tensor::empty(x.shape()), rstd = Tensor::empty({rows});
  kernels::rms_norm(x.data(), gain.data(), eps, rows, n, y.mutable_data(), rstd.mutable_data());
  return record_fused("rms_norm", "composite::rms_norm", defined_of({x, weight}), y, Keep::inputs,
                      [rows, n, scaled, rstd](RawPull& r) {
                        const Tensor grad = r.grad(), x = r.in(0),
                                     gain = scaled ? Tensor(r.in(1)) : ones({n});
                        Tensor dx = room_for(r, 0), dweight;
                        if (scaled) dweight = room_for(r, 1);
                        kernels::rms_norm_vjp(grad.data(), x.data(), gain.data(), rstd.data(), rows,
                                              n, {numbers_of(dx), numbers_of(dweight), nullptr});
                        r.to(0, dx);
                        if (scaled) r.to(1, dweight);
                      });
}

Tensor composite::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps) {
  check_norm("layer_norm", x, weight, bias, eps);
  const Tensor deviation = x - mean(x, -1, keepdims);
  Tensor y = deviation * rsqrt(mean(square(deviation), -1, keepdims) + eps);
  if (weight.defined()) y = y * weight;
  return bias.defined() ? y + bias : y;
}

Tensor composite::rms_norm(const Tensor& x, const Tensor& weight, real eps) {
  check_norm("rms_norm", x, weight, {}, eps);
  const Tensor y = x * rsqrt(mean(square(x), -1, keepdims) + eps);
  return weight.defined() ? y * weight : y;
}

}  // namespace xgrad::inline XGRAD_PRECISION
