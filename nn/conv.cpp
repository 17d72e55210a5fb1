// Convolution layers; see conv.hpp.
#include <xgrad/nn/conv.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

template <class Options>
constexpr bool transposed = std::is_same_v<Options, ConvTransposeLayerOptions>;

template <class Options>
const Options& checked(const char* type, std::size_t rank, const Options& o) {
  const auto check = [&](bool condition, const auto&... what) {
    require(condition, type, "(", o.in, " -> ", o.out, "): ", what...);
  };
  check(o.in > 0 && o.out > 0, "sizes must be positive");
  check(o.groups > 0 && o.in % o.groups == 0 && o.out % o.groups == 0,
        "groups must divide both, got ", o.groups);
  check((o.kernel.size() == 1 || o.kernel.size() == rank) &&
            std::all_of(o.kernel.begin(), o.kernel.end(), [](auto size) { return size > 0; }),
        "kernel needs ", rank == 1 ? "1 number" : "1 or 2 numbers", " of at least 1, got ",
        o.kernel);
  return o;
}

template <class Options>
Shape weight_shape(std::size_t rank, const Options& o) {
  Shape shape{transposed<Options> ? o.in : o.out, (transposed<Options> ? o.out : o.in) / o.groups};
  for (std::size_t i = 0; i < rank; ++i)
    shape.push_back(static_cast<std::size_t>(o.kernel[std::min(i, o.kernel.size() - 1)]));
  return shape;
}

Tensor uniform_init(const Shape& shape, const Tensor& weight, Rng rng) {
  const double fan_in = static_cast<double>(weight.size() / weight.shape()[0]);
  const auto bound = static_cast<real>(1 / std::sqrt(fan_in));
  return init::uniform(Tensor::empty(shape), -bound, bound, rng);
}

}  // namespace

template <class Options>
ConvLayer<Options>::ConvLayer(Module* owner, std::string name, const char* type, std::size_t rank,
                              Options o)
    : Module(owner, std::move(name)),
      options(checked(type, rank, o)),
      weight(this, "weight",
             uniform_init(weight_shape(rank, o), Tensor::empty(weight_shape(rank, o)),
                          init_rng("weight"))),
      bias(this, "bias", o.bias ? uniform_init({o.out}, weight, init_rng("bias")) : Tensor()) {}

template <class Options>
std::string ConvLayer<Options>::describe() const {
  return concat_text(options.in, " -> ", options.out, ", kernel ", options.kernel);
}

template struct ConvLayer<ConvLayerOptions>;
template struct ConvLayer<ConvTransposeLayerOptions>;

Tensor Conv1d::operator()(const Tensor& x) const {
  const Scope here = enter();
  return conv1d(x, weight, bias,
                {options.stride, options.padding, options.dilation, options.groups});
}
Tensor Conv2d::operator()(const Tensor& x) const {
  const Scope here = enter();
  return conv2d(x, weight, bias,
                {options.stride, options.padding, options.dilation, options.groups});
}
Tensor ConvTranspose1d::operator()(const Tensor& x) const {
  const Scope here = enter();
  return conv_transpose1d(
      x, weight, bias,
      {options.stride, options.padding, options.output_padding, options.groups, options.dilation});
}
Tensor ConvTranspose2d::operator()(const Tensor& x) const {
  const Scope here = enter();
  return conv_transpose2d(
      x, weight, bias,
      {options.stride, options.padding, options.output_padding, options.groups, options.dilation});
}

}  // namespace xgrad::inline XGRAD_PRECISION
