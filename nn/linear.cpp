// Linear; see linear.hpp.
#include <xgrad/nn/linear.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Tensor uniform_init(const Ints& shape, std::size_t in, Rng rng) {
  const auto bound = static_cast<real>(1 / std::sqrt(static_cast<double>(in)));
  return init::uniform(zeros(shape), -bound, bound, rng);
}

class NumberRows final : public InputRows {
 public:
  explicit NumberRows(Tensor x) : x_(std::move(x)) {}
  Tensor times(const Tensor& matrix) const override { return linear(x_, matrix); }
  std::unique_ptr<InputRows> dropped(const Dropout& dropout) const override {
    return std::make_unique<NumberRows>(dropout(x_));
  }

 private:
  const Tensor x_;
};

}  // namespace

Linear::Linear(Module* owner, std::string name, LinearOptions o)
    : Adaptable(owner, std::move(name)),
      options((require(o.in > 0 && o.out > 0, "Linear(", o.in, " -> ", o.out,
                       "): sizes must be positive"),
               o)),
      weight(this, "weight", uniform_init({o.out, o.in}, o.in, init_rng("weight"))),
      bias(this, "bias", o.bias ? uniform_init({o.out}, o.in, init_rng("bias")) : Tensor()) {}

Tensor Linear::operator()(const Tensor& x) const {
  const Scope here = enter();
  require<ShapeError>(x.ndim() >= 1, "Linear(", options.in, " -> ", options.out,
                      "): input is 0-d, expected last axis ", options.in);
  require<ShapeError>(x.size(-1) == options.in, "Linear(", options.in, " -> ", options.out,
                      "): last axis of input ", x.shape(), " is ", x.size(-1), ", expected ",
                      options.in,
                      x.size() > 0 && x.size() / x.size(0) == options.in ? "; flatten first?" : "");
  const Tensor y = linear(x, weight, bias);
  return attachment ? (*attachment)(y, NumberRows(x)) : y;
}

std::string Linear::describe() const { return concat_text(options.in, " -> ", options.out); }

}  // namespace xgrad::inline XGRAD_PRECISION
