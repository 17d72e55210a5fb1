// Losses; see loss.hpp.
#include <xgrad/nn/loss.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

// Broadcasting here is nearly always (N, 1) against (N,), which would silently average an N x N
// table.
void check_same(const char* op, const char* a_has, const Tensor& a, const char* b_name,
                const Tensor& b) {
  require<ShapeError>(a.shape() == b.shape(), op, ": ", a_has, " shape ", a.shape(), ", ", b_name,
                      " ", b.shape());
}

Tensor difference(const char* op, const Tensor& prediction, const Tensor& target) {
  check_same(op, "prediction has", prediction, "target", target);
  return prediction - target;
}

/// Integers, one for each row of x along the last axis.
void check_rows(const char* op, const char* x_name, const Tensor& x, const char* ids_name,
                const Indices& ids) {
  require<ShapeError>(x.ndim() >= 1, op, ": ", x_name, " needs at least 1 axis, got shape ()");
  const Shape expected = reduced_shape(x.shape(), {x.ndim() - 1}, false);
  const Shape shape(ids.shape().begin(), ids.shape().end());
  require<ShapeError>(shape == expected, op, ": ", x_name, " ", x.shape(), " needs ", ids_name,
                      " of shape ", expected, ", got ", shape);
}

}  // namespace

Tensor mse_loss(const Tensor& prediction, const Tensor& target) {
  return mean(square(difference("mse_loss", prediction, target)));
}

Tensor l1_loss(const Tensor& prediction, const Tensor& target) {
  return mean(abs(difference("l1_loss", prediction, target)));
}

Tensor huber_loss(const Tensor& prediction, const Tensor& target, real delta) {
  require(delta > 0, "huber_loss: needs delta > 0, got ", delta);
  const Tensor d = difference("huber_loss", prediction, target), c = clamp(d, -delta, delta);
  return mean(c * (d - c / 2));  // c = d within delta, and ±delta beyond
}

Tensor bce_with_logits(const Tensor& logits, const Tensor& target) {
  check_same("bce_with_logits", "logits have", logits, "target", target);
  // -log p = softplus(-x) and -log(1 - p) = softplus(x). Neither overflows, nothing cancels, and
  // the derivative p - t is smooth, which max(x, 0) - x t + log1p(exp(-|x|)) has not at 0.
  return mean(target * softplus(-logits) + (real(1) - target) * softplus(logits));
}

Tensor nll_loss(const Tensor& log_probs, const Indices& targets, std::int64_t ignore_index) {
  check_rows("nll_loss", "log_probs", log_probs, "targets", targets);
  const auto classes = static_cast<std::int64_t>(log_probs.size(-1));
  std::vector<std::int64_t> places;  // of the targets, all rows laid end to end
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const std::int64_t target = targets.data()[i];
    if (target == ignore_index) continue;
    require(target >= 0 && target < classes, "nll_loss: target ", i, " is ", target,
            ", outside [0, ", classes, ")");
    places.push_back(static_cast<std::int64_t>(i) * classes + target);
  }
  return -mean(index_select(reshape(log_probs, log_probs.size()), 0, xt::adapt(places)));
}

Tensor kl_div(const Tensor& log_prediction, const Tensor& target) {
  check_same("kl_div", "log_prediction has", log_prediction, "target", target);
  // Where t = 0 either logarithm may be -inf: others stand in for them, so that the term and its
  // gradients are 0.
  const Tensor none = equal(target, real(0));
  const Tensor ratio = log(where(none, real(1), target)) - where(none, real(0), log_prediction);
  const std::size_t samples = target.ndim() == 0 ? 1 : target.size(0);
  return sum(target * ratio) / static_cast<real>(samples);
}

Tensor cosine_embedding_loss(const Tensor& a, const Tensor& b, const Indices& labels, real margin) {
  check_same("cosine_embedding_loss", "a has", a, "b", b);
  check_rows("cosine_embedding_loss", "a", a, "labels", labels);
  for (std::size_t i = 0; i < labels.size(); ++i)
    require(labels.data()[i] == 1 || labels.data()[i] == -1, "cosine_embedding_loss: label ", i,
            " is ", labels.data()[i], ", neither 1 nor -1");
  const Tensor cosine = cosine_similarity(a, b);
  return mean(where(Tensor(xt::cast<real>(labels > 0)), real(1) - cosine, relu(cosine - margin)));
}

Tensor triplet_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                    const TripletOptions& options) {
  check_same("triplet_loss", "anchor has", anchor, "positive", positive);
  check_same("triplet_loss", "anchor has", anchor, "negative", negative);
  require<ShapeError>(anchor.ndim() >= 1,
                      "triplet_loss: anchor needs at least 1 axis, got shape ()");
  require(options.p > 0, "triplet_loss: needs p > 0, got ", options.p);
  const auto distance = [&](const Tensor& other) {
    return norm(anchor - other + options.eps, options.p, -1);
  };
  return mean(relu(distance(positive) - distance(negative) + options.margin));
}

}  // namespace xgrad::inline XGRAD_PRECISION
