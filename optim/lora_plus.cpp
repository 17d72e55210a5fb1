// LoRA+; see lora_plus.hpp.
#include <xgrad/optim/lora_plus.hpp>

#include <cmath>
#include <unordered_map>

#include <xgrad/nn/lora/attach.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

ParameterGroups plus_groups(Module& model, PlusOptions options) {
  require(options.ratio >= 1 && std::isfinite(options.ratio),
          "plus_groups: ratio must be finite and at least 1, got ", options.ratio);
  enum Kind { plain, bias, fast, embedding };
  std::vector<ParameterGroup> groups(4);
  groups[plain] = {.lr = options.lr, .weight_decay = options.weight_decay};
  groups[bias] = {.lr = options.lr, .weight_decay = 0};
  groups[fast] = {.lr = options.ratio * options.lr, .weight_decay = options.weight_decay};
  groups[embedding] = {.lr = options.embedding_lr, .weight_decay = options.weight_decay};

  std::unordered_map<const real*, Kind> kinds;  // by storage; others are plain, or biases
  for (const Adapter* adapter : adapters(model)) {
    const bool looks_up = adapter->base.looks_up();
    kinds[adapter->A.data()] = looks_up ? embedding : plain;
    kinds[adapter->B.data()] = looks_up ? embedding : fast;
    if (adapter->magnitude.defined()) kinds[adapter->magnitude.data()] = fast;
  }
  require(!kinds.empty(), "plus_groups: the model has no adapters; attach() them first");
  for (const auto& [name, parameter] : model.named_parameters()) {
    if (!parameter.requires_grad()) continue;
    const auto known = kinds.find(parameter.data());
    const bool is_bias = name == "bias" || name.ends_with(".bias");
    groups[known != kinds.end() ? known->second
           : is_bias            ? bias
                                : plain]
        .parameters.push_back(parameter);
  }
  std::erase_if(groups, [](const ParameterGroup& group) { return group.parameters.empty(); });
  return groups;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
