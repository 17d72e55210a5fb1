// VectorQuantizer; see vector_quantizer.hpp.
#include <xgrad/nn/vq/vector_quantizer.hpp>

#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

VectorQuantizerOptions checked(VectorQuantizerOptions o) {
  require(o.codebook != nullptr, "VectorQuantizer: needs a codebook");
  if (!o.estimator) o.estimator = std::make_shared<StraightThrough>();
  return o;
}

}  // namespace

VectorQuantizer::VectorQuantizer(Module* owner, std::string name, VectorQuantizerOptions o)
    : Quantizer(owner, std::move(name)), options(checked(std::move(o))) {
  adopt("codebook", *options.codebook);
}

Indices VectorQuantizer::encode(const Tensor& z) const {
  const Scope here = enter();
  detail::check_vectors("VectorQuantizer", z, dim());
  const Pause pause;
  return nearest(options.assignment.map(z), options.assignment.map(options.codebook->table()));
}

Quantized VectorQuantizer::operator()(const Tensor& z) {
  const Scope here = enter();
  detail::check_vectors("VectorQuantizer", z, dim());
  if (!is_training()) {
    const Pause pause;
    const Indices codes = encode(z);
    const Tensor q = decode(codes);
    return {
        q, codes, scalar(0), {}, measure_usage(options.assignment.map(z), q, codes, this->codes())};
  }
  const Tensor x = options.assignment.map(z);
  options.codebook->initialise(x.detach(), options.assignment);
  const Tensor table = options.codebook->table();
  Indices codes;
  {
    const Pause pause;
    codes = nearest(x, options.assignment.map(table));
  }
  const Tensor q = options.assignment.map(embedding(table, codes));
  const auto distance = [&](const Tensor& a, const Tensor& b) {
    const real d = options.reduction == VqReduction::mean ? 1 : static_cast<real>(dim());
    return mean(square(a - stop_gradient(b))) * d;
  };
  Quantized result{
      (*options.estimator)(x, q), codes, scalar(0), {distance(q, x), distance(x, q)}, {}};
  result.loss = result.parts.codebook * static_cast<real>(options.codebook_weight) +
                result.parts.commitment * static_cast<real>(options.commitment_weight);
  result.usage = measure_usage(x, q, codes, this->codes());
  options.codebook->update(x.detach(), codes);
  return result;
}

Tensor VectorQuantizer::decode(const Indices& codes) const {
  const Scope here = enter();
  return options.assignment.map(embedding(options.codebook->table(), codes));
}

}  // namespace xgrad::inline XGRAD_PRECISION
