// Norms: numbers brought to mean 0 and size 1, then scaled and shifted by learned weights; layer
// norm and RMS norm by rows, group norm and batch norm by channels. The loops, and how the gradient
// comes about, are in kernels/norm.cpp.
#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include <xgrad/core/kernels/norm.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/recompute.hpp>
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
const real* numbers_or_null(const Tensor& x) { return x.defined() ? x.data() : nullptr; }

/// For x (N, C, ...) and what there is one of per channel.
void check_channels(const char* op, const Tensor& x, real eps,
                    std::initializer_list<std::pair<const char*, const Tensor&>> per_channel) {
  require<ShapeError>(x.ndim() >= 2, op, ": needs x (N, C, ...), got shape ", x.shape());
  for (const auto& [name, t] : per_channel)
    require<ShapeError>(!t.defined() || (t.ndim() == 1 && t.size() == x.shape()[1]), op, ": ", name,
                        " has shape ", t.defined() ? t.shape() : Shape(), ", input ", x.shape(),
                        " has ", x.shape()[1], " channels");
  require(eps >= 0, op, ": eps must not be negative, got ", eps);
}

void check_group_norm(const Tensor& x, std::size_t groups, const Tensor& weight, const Tensor& bias,
                      real eps) {
  check_channels("group_norm", x, eps, {{"weight", weight}, {"bias", bias}});
  require(groups >= 1 && x.shape()[1] % groups == 0, "group_norm: the channels of ", x.shape(),
          " do not fall into groups: ", groups, " does not divide ", x.shape()[1]);
}

/// How many numbers a channel has in x.
std::size_t channel_size(const Tensor& x) {
  return x.size() / std::max<std::size_t>(1, x.shape()[1]);
}

void check_batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                      const Tensor& weight, const Tensor& bias, const BatchNormOptions& options) {
  check_channels("batch_norm", x, options.eps,
                 {{"running_mean", running_mean},
                  {"running_var", running_var},
                  {"weight", weight},
                  {"bias", bias}});
  if (options.training)
    require<ShapeError>(channel_size(x) != 1,
                        "batch_norm: training needs more than 1 value per channel, got input ",
                        x.shape());
  else
    require(running_mean.defined() && running_var.defined(),
            "batch_norm: needs running_mean and running_var unless training");
}

/// Moves the running statistics towards those of the batch, of n numbers each, if there was one.
void update_running(Tensor& running_mean, Tensor& running_var, const Tensor& mean,
                    const Tensor& var, std::size_t n, real momentum) {
  if (n == 0 || is_recomputing()) return;
  const auto move = [momentum](Tensor& running, const Tensor& batch, real factor) {
    if (!running.defined()) return;
    Array& r = running.mutable_array();
    xt::noalias(r) = (1 - momentum) * r + (momentum * factor) * batch.array();
  };
  move(running_mean, mean, 1);
  move(running_var, var, static_cast<real>(n) / static_cast<real>(n - 1));  // unbiased
}

/// `planes` says which planes of x share a mean; mean and var are measured or given.
Tensor plane_norm(const char* op, const char* composite, const Tensor& x, const Tensor& weight,
                  const Tensor& bias, real eps, kernels::Planes planes, bool measure, Tensor mean,
                  Tensor var) {
  Tensor y = Tensor::empty(x.shape());
  kernels::plane_norm(x.data(), numbers_or_null(weight), numbers_or_null(bias), eps, planes,
                      measure, y.mutable_data(), mean.mutable_data(), var.mutable_data());
  const bool scaled = weight.defined(), shifted = bias.defined();
  return record_fused(
      op, composite, defined_of({x, weight, bias}), y, Keep::inputs,
      [planes, eps, measure, scaled, shifted, mean, var](RawPull& r) {
        const Tensor grad = r.grad(), x = r.in(0), gain = scaled ? Tensor(r.in(1)) : Tensor();
        Tensor dx = room_for(r, 0), dweight, dbias;
        if (scaled) dweight = room_for(r, 1);
        if (shifted) dbias = room_for(r, 1 + scaled);
        kernels::plane_norm_vjp(grad.data(), x.data(), numbers_or_null(gain), mean.data(),
                                var.data(), eps, planes, measure,
                                {numbers_of(dx), numbers_of(dweight), numbers_of(dbias)});
        r.to(0, std::move(dx));
        if (scaled) r.to(1, std::move(dweight));
        if (shifted) r.to(1 + scaled, std::move(dbias));
      });
}

/// One number per channel, so shaped that it broadcasts to x (N, C, ...).
Tensor along_channels(const Tensor& t, const Tensor& x) {
  Shape shape(x.ndim() - 1, 1);
  shape[0] = t.size();
  return reshape(t, shape);
}

Tensor scale_and_shift(Tensor y, const Tensor& weight, const Tensor& bias) {
  if (weight.defined()) y = y * along_channels(weight, y);
  return bias.defined() ? y + along_channels(bias, y) : y;
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, real eps) {
  check_norm("layer_norm", x, weight, bias, eps);
  const std::size_t rows = row_count(x), n = x.size(-1);
  const bool scaled = weight.defined(), shifted = bias.defined();
  const Tensor gain = scaled ? weight : ones({n}), shift = shifted ? bias : zeros({n});
  Tensor y = Tensor::empty(x.shape()), mean = Tensor::empty({rows}), rstd = Tensor::empty({rows});
  kernels::layer_norm(x.data(), gain.data(), shift.data(), eps, rows, n, y.mutable_data(),
                      mean.mutable_data(), rstd.mutable_data());
  y = record_fused(
      "layer_norm", "composite::layer_norm", defined_of({x, weight, bias}), y, Keep::inputs,
      [rows, n, scaled, shifted, mean, rstd](RawPull& r) {
        const Tensor grad = r.grad(), x = r.in(0), gain = scaled ? Tensor(r.in(1)) : ones({n});
        Tensor dx = room_for(r, 0), dweight, dbias;
        if (scaled) dweight = room_for(r, 1);
        if (shifted) dbias = room_for(r, 1 + scaled);
        kernels::layer_norm_vjp(grad.data(), x.data(), gain.data(), mean.data(), rstd.data(), rows,
                                n, {numbers_of(dx), numbers_of(dweight), numbers_of(dbias)});
        r.to(0, std::move(dx));
        if (scaled) r.to(1, std::move(dweight));
        if (shifted) r.to(1 + scaled, std::move(dbias));
      });
  return recomputable(y, [scaled, shifted, eps](const auto& in) {
    return layer_norm(in[0], scaled ? in[1] : Tensor(), shifted ? in[1 + scaled] : Tensor(), eps);
  });
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, real eps) {
  check_norm("rms_norm", x, weight, {}, eps);
  const std::size_t rows = row_count(x), n = x.size(-1);
  const bool scaled = weight.defined();
  const Tensor gain = scaled ? weight : ones({n});
  Tensor y = Tensor::empty(x.shape()), rstd = Tensor::empty({rows});
  kernels::rms_norm(x.data(), gain.data(), eps, rows, n, y.mutable_data(), rstd.mutable_data());
  y = record_fused("rms_norm", "composite::rms_norm", defined_of({x, weight}), y, Keep::inputs,
                   [rows, n, scaled, rstd](RawPull& r) {
                     const Tensor grad = r.grad(), x = r.in(0),
                                  gain = scaled ? Tensor(r.in(1)) : ones({n});
                     Tensor dx = room_for(r, 0), dweight;
                     if (scaled) dweight = room_for(r, 1);
                     kernels::rms_norm_vjp(grad.data(), x.data(), gain.data(), rstd.data(), rows, n,
                                           {numbers_of(dx), numbers_of(dweight), nullptr});
                     r.to(0, std::move(dx));
                     if (scaled) r.to(1, std::move(dweight));
                   });
  return recomputable(
      y, [scaled, eps](const auto& in) { return rms_norm(in[0], scaled ? in[1] : Tensor(), eps); });
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

Tensor group_norm(const Tensor& x, std::size_t groups, const Tensor& weight, const Tensor& bias,
                  real eps) {
  check_group_norm(x, groups, weight, bias, eps);
  const std::size_t samples = x.shape()[0], channels = x.shape()[1], count = channels / groups,
                    size = element_count(Shape(x.shape().begin() + 2, x.shape().end()));
  if (size == 1) {  // planes of one number: rows in fact
    const Tensor y = layer_norm(reshape(x, {samples * groups, count}), {}, {}, eps);
    return scale_and_shift(reshape(y, x.shape()), weight, bias);
  }
  return plane_norm("group_norm", "composite::group_norm", x, weight, bias, eps,
                    {samples, channels, size, samples * groups, count, count, 1}, true,
                    Tensor::empty({samples * groups}), Tensor::empty({samples * groups}));
}

Tensor composite::group_norm(const Tensor& x, std::size_t groups, const Tensor& weight,
                             const Tensor& bias, real eps) {
  check_group_norm(x, groups, weight, bias, eps);
  const std::size_t rows = x.shape()[0] * groups;
  const Tensor y = composite::layer_norm(
      reshape(x, {rows, x.size() / std::max<std::size_t>(1, rows)}), {}, {}, eps);
  return scale_and_shift(reshape(y, x.shape()), weight, bias);
}

Tensor batch_norm(const Tensor& x, Tensor running_mean, Tensor running_var, const Tensor& weight,
                  const Tensor& bias, const BatchNormOptions& options) {
  check_batch_norm(x, running_mean, running_var, weight, bias, options);
  const std::size_t samples = x.shape()[0], channels = x.shape()[1],
                    size = element_count(Shape(x.shape().begin() + 2, x.shape().end()));
  const bool training = options.training;
  Tensor mean = training ? Tensor::empty({channels}) : running_mean.clone();
  Tensor var = training ? Tensor::empty({channels}) : running_var.clone();
  const Tensor y =
      plane_norm("batch_norm", "composite::batch_norm", x, weight, bias, options.eps,
                 {samples, channels, size, channels, samples, 1, channels}, training, mean, var);
  if (training)
    update_running(running_mean, running_var, mean, var, channel_size(x), options.momentum);
  return y;
}

Tensor composite::batch_norm(const Tensor& x, Tensor running_mean, Tensor running_var,
                             const Tensor& weight, const Tensor& bias,
                             const BatchNormOptions& options) {
  check_batch_norm(x, running_mean, running_var, weight, bias, options);
  Tensor mean = running_mean, var = running_var;
  if (options.training) {
    std::vector<std::int64_t> axes(x.ndim() - 1, 0);  // all but the channels
    std::iota(axes.begin() + 1, axes.end(), 2);
    mean = xgrad::mean(x, axes);
    var = xgrad::mean(square(x - along_channels(mean, x)), axes);
    update_running(running_mean, running_var, mean, var, channel_size(x), options.momentum);
  }
  const Tensor y = (x - along_channels(mean, x)) * along_channels(rsqrt(var + options.eps), x);
  return scale_and_shift(y, weight, bias);
}

}  // namespace xgrad::inline XGRAD_PRECISION
