// Slot: all adapters of one layer, and which of them count. Internal to nn/lora; users see Adapter.
#pragma once

#include <xgrad/core/saved.hpp>
#include <xgrad/nn/lora/attach.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// What stands between a layer and its output: y + sum_i w_i gain_i over the active adapters.
class Slot final : public Module, public Adaptable::Attachment {
 public:
  explicit Slot(Adaptable& base) : Module(&base, "lora"), base(base) {}
  Tensor operator()(const Tensor& plain, const InputRows& x) const override;

  Adapter* find(const std::string& name) const;
  bool merged() const { return !merged_.empty(); }
  /// W + sum_i w_i update_i, as stored. Throws std::runtime_error if that is not finite.
  Tensor merged_weight() const;
  /// Puts it in W's place.
  void merge(bool keep_base);
  void unmerge();
  /// Throws std::logic_error if merged and the weight, or an adapter's factor, is another since.
  void check_merged() const;

  struct Active {
    Adapter* adapter;
    double weight;
  };
  Adaptable& base;
  std::vector<std::unique_ptr<Adapter>> adapters;
  std::vector<Active> active;

 private:
  std::vector<Saved> merged_;  // what the merged weight was made of, and itself
  Tensor kept_;                // W before
};

/// All slots below, in the model's order.
std::vector<Slot*> slots(Module& model);
/// Throws std::logic_error, naming the layer, if any is merged.
void check_unmerged(Module& model);
/// Throws std::invalid_argument for a name that no adapter has.
void require_known(Module& model, const std::vector<Weighted>& names);

/// A layer that gets an adapter.
struct Target {
  std::string name;
  Adaptable* layer;
};
/// All layers that could have one.
std::vector<Target> adaptable(Module& model);
/// Those that the options mean; the errors of attach() for names.
std::vector<Target> find_targets(Module& model, const Options& options);
/// attach() to these, with any rank from 1 on.
std::vector<Adapter*> place(Module& model, const Options& options,
                            const std::vector<Target>& targets);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
