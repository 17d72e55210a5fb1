// Losses; see loss.hpp.
#include <xgrad/nn/loss.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// Broadcasting here is nearly always (N, 1) against (N,), which would silently average an N x N
// table.
Tensor difference(const char* op, const Tensor& prediction, const Tensor& target) {
  require<ShapeError>(prediction.shape() == target.shape(), op, ": prediction has shape ",
                      prediction.shape(), ", target ", target.shape());
  return prediction - target;
}

}  // namespace

Tensor mse_loss(const Tensor& prediction, const Tensor& target) {
  return mean(square(difference("mse_loss", prediction, target)));
}

Tensor l1_loss(const Tensor& prediction, const Tensor& target) {
  return mean(abs(difference("l1_loss", prediction, target)));
}

}  // namespace xgrad::inline XGRAD_PRECISION
