// VectorQuantizer; see vector_quantizer.hpp.
#include <xgrad/nn/vq/vector_quantizer.hpp>

#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

VectorQuantizerOptions checked(VectorQuantizerOptions o) {
  require(o.codebook != nullptr, "VectorQuantizer: needs a codebook");
  if (!o.estimator) o.estimator = std::make_shared<StraightThrough>();
  require(o.codebook_weight >= 0 && o.commitment_weight >= 0,
          "VectorQuantizer: weights of losses must not be negative, got codebook_weight ",
          o.codebook_weight, " and commitment_weight ", o.commitment_weight);
  const bool learns = !o.codebook->trainable_parameters().empty();
  const bool by_task = o.estimator->trains_codebook();
  require(learns || o.codebook_weight == 0, "VectorQuantizer: codebook_weight is ",
          o.codebook_weight,
          ", but no gradient reaches this codebook (averages move it, or nothing): set "
          "codebook_weight to 0, or take a Codebook");
  require(learns || !by_task,
          "VectorQuantizer: this estimator trains the codebook by the task's gradient, which does "
          "not reach this codebook (averages move it, or nothing): take a Codebook or another "
          "estimator");
  require(!by_task || o.forced || (o.codebook_weight == 0 && o.commitment_weight == 0),
          "VectorQuantizer: this estimator trains the codebook by the task's gradient and needs no "
          "losses, got codebook_weight ",
          o.codebook_weight, " and commitment_weight ", o.commitment_weight,
          ": set both to 0, or forced to true");
  require(!learns || by_task || o.codebook_weight > 0,
          "VectorQuantizer: codebook_weight is 0, so nothing would move the codebook: set it to "
          "more than 0, or take an EmaCodebook, a FixedCodebook or an estimator that trains "
          "codebooks");
  return o;
}

}  // namespace

VectorQuantizer::VectorQuantizer(Module* owner, std::string name, VectorQuantizerOptions o)
    : Quantizer(owner, std::move(name)), options(checked(std::move(o))) {
  adopt("codebook", *options.codebook);
}

Indices VectorQuantizer::nearest_codes(const Tensor& x, const Tensor& table) const {
  const Pause pause;
  return nearest(x, options.assignment.map(table));
}

// The map comes after the look-up, which is the same and need not keep the table for backward.
Tensor VectorQuantizer::look_up(const Tensor& table, const Indices& codes) const {
  return options.assignment.map(embedding(table, codes));
}

Quantized VectorQuantizer::operator()(const Tensor& z) {
  const Scope here = enter();
  detail::check_vectors("VectorQuantizer", z, dim());
  if (!is_training()) {
    const Pause pause;
    const Tensor x = options.assignment.map(z), table = options.codebook->table();
    const Indices codes = nearest_codes(x, table);
    const Tensor q = look_up(table, codes);
    return {.quantized = q,
            .codes = codes,
            .loss = scalar(0),
            .usage = measure_usage(x, q, codes, this->codes())};
  }
  const Tensor x = options.assignment.map(z), x_fixed = stop_gradient(x);
  options.codebook->initialise(x_fixed, options.assignment);
  const Tensor table = options.codebook->table();
  const Indices codes = nearest_codes(x_fixed, table);
  const Tensor q = look_up(table, codes), q_fixed = stop_gradient(q);

  // Both losses are of q as it was looked up: the estimator's result would pass the codebook's
  // loss on to the encoder, and nothing to the codebook.
  const real size = options.reduction == VqReduction::mean ? 1 : static_cast<real>(dim());
  Quantized result{.quantized = (*options.estimator)(x, q),
                   .codes = codes,
                   .loss = scalar(0),
                   .parts = {.codebook = mean(square(q - x_fixed)) * size,
                             .commitment = mean(square(x - q_fixed)) * size},
                   .usage = measure_usage(x_fixed, q_fixed, codes, this->codes())};
  result.loss = static_cast<real>(options.codebook_weight) * result.parts.codebook +
                static_cast<real>(options.commitment_weight) * result.parts.commitment;
  options.codebook->update(x_fixed, codes);
  return result;
}

Indices VectorQuantizer::encode(const Tensor& z) const {
  const Scope here = enter();
  detail::check_vectors("VectorQuantizer", z, dim());
  const Pause pause;
  return nearest_codes(options.assignment.map(z), options.codebook->table());
}

Tensor VectorQuantizer::decode(const Indices& codes) const {
  const Scope here = enter();
  detail::check_codes("VectorQuantizer", codes, this->codes());
  return look_up(options.codebook->table(), codes);
}

}  // namespace xgrad::inline XGRAD_PRECISION
