// Dropout as a layer, with a stream of random numbers of its own.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Zeroes elements with probability p and scales the rest by 1/(1 - p) while training; the identity
/// in evaluation. The stream depends on the root's seed and the layer's name; Module::reseed
/// restarts it.
struct Dropout : Module {
  explicit Dropout(double p) : Dropout(nullptr, "", p) {}
  Dropout(Module* owner, std::string name, double p);
  Tensor operator()(const Tensor& x) const;

  const double p;

 protected:
  void on_reseed(Rng rng) override { rng_ = rng; }
  std::string describe() const override { return concat_text("p = ", p); }

 private:
  mutable Rng rng_;  // advances with every call
};

}  // namespace xgrad::inline XGRAD_PRECISION
