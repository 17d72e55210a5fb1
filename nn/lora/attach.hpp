// Adapters on the layers of a model: attach, choose, count, detach.
// What one adapter computes is adapter.hpp; merging into the weights is merge.hpp.
#pragma once

#include <xgrad/nn/lora/adapter.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Puts an adapter on every layer that the options name, Linear or Embedding, and returns them in
/// the model's order. A model's first adapters become active: everything else is frozen then, but
/// for modules_to_save and `bias`. Adapters of another name wait for activate(). The model's code
/// does not change: train `model.trainable_parameters()`.
///
/// A layer whose weight is used without its own operator() has no adapter there: the head of Gpt
/// reads wte.weight, so an adapter on wte changes the embedding alone, and MultiheadAttention
/// offers out_proj only.
///
/// Throws std::invalid_argument, before anything is changed, if nothing matches (the error lists
/// the layers that there are), if a match is no such layer, if rank is out of range, or if a layer
/// has an adapter of this name; std::logic_error while merged.
std::vector<Adapter*> attach(Module& model, const Options& options = {});

/// An adapter's name and the factor before its update.
struct Weighted {
  Weighted(const char* name, double weight = 1) : name(name), weight(weight) {}
  Weighted(std::string name, double weight = 1) : name(std::move(name)), weight(weight) {}
  std::string name;
  double weight;
};

/// Makes these the active adapters, everywhere: their updates are added, in this order, and they
/// are what is trained. With none the model computes what it did without any adapter (but for
/// biases and modules_to_save, which stay as trained). Throws std::invalid_argument for a name that
/// no adapter has; std::logic_error while merged.
void activate(Module& model, const std::vector<Weighted>& names);

/// The adapters of this name, in the model's order; of all names without one.
std::vector<Adapter*> adapters(Module& model, const std::string& name);
std::vector<Adapter*> adapters(Module& model);

/// Removes the adapters of this name; base weights are as before (after Reference::fold, to
/// rounding). Without any left the parameters stay frozen: `model.freeze("", false)`. Throws
/// std::invalid_argument if there are none; std::logic_error while merged.
void detach(Module& model, const std::string& name = "default");

/// Per adapter its layers, rank and scale; then how many parameters are trained, and of how many.
std::string summary(Module& model);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
