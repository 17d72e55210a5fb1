// Dropout; see dropout.hpp.
#include <xgrad/nn/dropout.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Dropout::Dropout(Module* owner, std::string name, double probability)
    : Module(owner, std::move(name)), p(probability), rng_(init_rng("dropout")) {
  require(p >= 0 && p <= 1, "Dropout: p must be in [0, 1], got ", p);
}

Tensor Dropout::operator()(const Tensor& x) const {
  const Scope here = enter();
  return is_training() && p > 0 ? dropout(x, static_cast<real>(p), rng_) : x;
}

}  // namespace xgrad::inline XGRAD_PRECISION
