// Clipping; see clip.hpp.
#include <xgrad/optim/clip.hpp>

#include <cmath>
#include <vector>

#include <xgrad/core/kernels/update.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// The gradients that are there, as handles through which they can be written.
std::vector<Tensor> gradients(std::span<const Tensor> parameters) {
  std::vector<Tensor> found;
  for (const Tensor& parameter : parameters)
    if (const Tensor& grad = parameter.grad(); grad.defined()) found.push_back(grad);
  return found;
}

}  // namespace

real clip_grad_norm(std::span<const Tensor> parameters, real max_norm) {
  require(max_norm >= 0, "clip_grad_norm: max_norm must be at least 0, got ", max_norm);
  std::vector<Tensor> grads = gradients(parameters);
  double squares = 0;
  for (const Tensor& grad : grads) squares += kernels::sum_of_squares(grad.size(), grad.data());
  const double norm = std::sqrt(squares);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor >= 1))  // so that a NaN, too, is passed on
    for (Tensor& grad : grads)
      kernels::scale(grad.size(), grad.mutable_data(), static_cast<real>(factor));
  return static_cast<real>(norm);
}

void clip_grad_value(std::span<const Tensor> parameters, real limit) {
  require(limit >= 0, "clip_grad_value: limit must be at least 0, got ", limit);
  for (Tensor& grad : gradients(parameters))
    kernels::limit_magnitude(grad.size(), grad.mutable_data(), limit);
}

}  // namespace xgrad::inline XGRAD_PRECISION
