// Adapters on the layers of a model; see attach.hpp.
#include <xgrad/nn/lora/attach.hpp>

#include <algorithm>
#include <iomanip>
#include <set>
#include <sstream>

#include <xgrad/nn/lora/slot.hpp>
#include <xgrad/nn/lora/targets.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

std::string quoted(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "\"" : ", \"") + name + '"';
  return text;
}

std::string in_words(const Names& targets) {
  return targets.pattern.empty() ? quoted(targets.list) : quoted({targets.pattern});
}

/// Asks for gradients of what the active adapters train, and of nothing else.
void choose_trainable(Module& model) {
  std::set<const Options*> all;
  for (Tensor& parameter : model.parameters()) parameter.requires_grad_(false);
  for (const Slot* slot : slots(model))
    for (const auto& [adapter, weight] : slot->active) {
      for (Tensor& parameter : adapter->parameters()) parameter.requires_grad_();
      if (adapter->options->bias == Bias::lora_only && slot->base.stored_bias().defined())
        slot->base.stored_bias().requires_grad_();
      all.insert(adapter->options.get());
    }
  for (auto& [name, parameter] : model.named_parameters())
    for (const Options* options : all)
      if (is_saved(*options, name) ||
          (options->bias == Bias::all && (name == "bias" || name.ends_with(".bias"))))
        parameter.requires_grad_();
}

std::vector<std::string> adapter_names(Module& model) {
  std::vector<std::string> names;
  for (const Adapter* adapter : adapters(model))
    if (std::find(names.begin(), names.end(), adapter->name) == names.end())
      names.push_back(adapter->name);
  return names;
}

std::string with_commas(std::size_t number) {
  std::string text = std::to_string(number);
  for (std::size_t i = text.size(); i > 3;) text.insert(i -= 3, 1, ',');
  return text;
}

}  // namespace

std::vector<Target> adaptable(Module& model) {
  std::vector<Target> result;
  for (const auto& [name, module] : model.named_modules())
    if (auto* layer = dynamic_cast<Adaptable*>(module)) result.push_back({name, layer});
  return result;
}

std::vector<Target> find_targets(Module& model, const Options& options) {
  std::vector<Target> result;
  if (all_linear(options.targets)) {
    for (const Target& target : adaptable(model))
      if (!target.layer->looks_up() && !is_excluded(options, target.name)) result.push_back(target);
  } else {
    const Slot* inside = nullptr;  // what stands below an adapter belongs to it
    std::string below;
    for (const auto& [name, module] : model.named_modules()) {
      if (auto* slot = dynamic_cast<Slot*>(module)) inside = slot, below = name;
      if (inside && (name == below || name.starts_with(below + '.'))) continue;
      if (!is_target(options, name)) continue;
      auto* layer = dynamic_cast<Adaptable*>(module);
      require(layer, "lora: target \"", name, "\" is no Linear or Embedding");
      result.push_back({name, layer});
    }
  }
  std::vector<std::string> names;
  for (const Target& target : adaptable(model)) names.push_back(target.name);
  require(!result.empty(), "lora: no layer matches ", in_words(options.targets), "; there are ",
          quoted(names));
  return result;
}

void check_unmerged(Module& model) {
  for (const Slot* slot : slots(model))
    require<std::logic_error>(!slot->merged(), "lora: \"", slot->adapters.front()->layer,
                              "\": adapters are merged; unmerge() first");
}

void require_known(Module& model, const std::vector<Weighted>& names) {
  const std::vector<std::string> known = adapter_names(model);
  for (const auto& [name, weight] : names)
    require(std::find(known.begin(), known.end(), name) != known.end(), "lora: no adapter \"", name,
            "\"; there are ", known.empty() ? "none" : quoted(known));
}

std::vector<Adapter*> place(Module& model, const Options& options,
                            const std::vector<Target>& targets) {
  check(options);
  check_unmerged(model);
  for (const auto& [name, layer] : targets) {
    require(rank_of(options, name) >= 1, "lora: \"", name, "\": rank is 0");
    require(!options.dora || !layer->looks_up(), "lora: \"", name,
            "\" is an Embedding; DoRA is for Linear layers");
    const auto* slot = dynamic_cast<const Slot*>(layer->attachment.get());
    require(slot || !layer->attachment, "lora: \"", name, "\" has something else attached");
    require(!slot || !slot->find(options.name), "lora: \"", name, "\" has an adapter \"",
            options.name, "\" already");
  }
  for (const std::string& part : options.modules_to_save) {
    const auto modules = model.named_modules();
    require(std::any_of(modules.begin(), modules.end(),
                        [&](const auto& item) { return named_or_below(item.first, part); }),
            "lora: modules_to_save: no module is named \"", part, "\"");
  }
  const bool first = slots(model).empty();
  const auto shared = std::make_shared<const Options>(options);
  std::vector<Adapter*> result;
  for (const auto& [name, layer] : targets) {
    if (!layer->attachment) layer->attachment = std::make_unique<Slot>(*layer);
    auto& slot = dynamic_cast<Slot&>(*layer->attachment);
    slot.adapters.push_back(std::make_unique<Adapter>(
        slot, *layer, name, shared, rank_of(options, name), alpha_of(options, name)));
    Adapter& adapter = *slot.adapters.back();
    result.push_back(&adapter);
    for (Tensor& parameter : adapter.parameters()) parameter.requires_grad_(false);
    if (first) slot.active.push_back({&adapter, 1});
  }
  if (first) choose_trainable(model);
  return result;
}

std::vector<Adapter*> attach(Module& model, const Options& options) {
  check(options);
  const std::vector<Target> targets = find_targets(model, options);
  for (const auto& [name, layer] : targets) {
    const std::size_t rank = rank_of(options, name),
                      most = std::min(layer->inputs(), layer->outputs());
    require(rank >= 1 && rank <= most, "lora: \"", name, "\" (", layer->inputs(), " -> ",
            layer->outputs(), "): rank must be in [1, ", most, "], got ", rank);
  }
  return place(model, options, targets);
}

void activate(Module& model, const std::vector<Weighted>& names) {
  check_unmerged(model);
  require_known(model, names);
  for (Slot* slot : slots(model)) {
    slot->active.clear();
    for (const auto& [name, weight] : names)
      if (Adapter* adapter = slot->find(name)) slot->active.push_back({adapter, weight});
  }
  choose_trainable(model);
}

std::vector<Adapter*> adapters(Module& model, const std::string& name) {
  std::vector<Adapter*> result = adapters(model);
  std::erase_if(result, [&](const Adapter* adapter) { return adapter->name != name; });
  return result;
}

std::vector<Adapter*> adapters(Module& model) {
  std::vector<Adapter*> result;
  for (const Slot* slot : slots(model))
    for (const auto& adapter : slot->adapters) result.push_back(adapter.get());
  return result;
}

void detach(Module& model, const std::string& name) {
  check_unmerged(model);
  require_known(model, {name});
  for (Slot* slot : slots(model)) {
    if (Adapter* adapter = slot->find(name)) adapter->drop_reference();
    std::erase_if(slot->active, [&](const auto& item) { return item.adapter->name == name; });
    std::erase_if(slot->adapters, [&](const auto& adapter) { return adapter->name == name; });
    if (slot->adapters.empty()) slot->base.attachment.reset();
  }
  choose_trainable(model);
}

std::string summary(Module& model) {
  std::ostringstream text;
  for (const std::string& name : adapter_names(model)) {
    const std::vector<Adapter*> list = adapters(model, name);
    const auto put_range = [&](const char* what, const auto& of) {
      const auto [low, high] = std::minmax_element(
          list.begin(), list.end(), [&](const auto* a, const auto* b) { return of(*a) < of(*b); });
      text << ", " << what << ' ' << of(**low);
      if (of(**low) < of(**high)) text << " to " << of(**high);
    };
    bool active = false;
    for (const Slot* slot : slots(model))
      for (const auto& item : slot->active) active |= item.adapter->name == name;
    text << name << ": " << list.size() << (list.size() == 1 ? " layer" : " layers");
    put_range("rank", [](const Adapter& adapter) { return adapter.rank; });
    put_range("scale", [](const Adapter& adapter) { return adapter.scale(); });
    text << (active ? ", active" : "") << '\n';
  }
  std::size_t trained = 0, total = 0;
  for (const Tensor& parameter : model.parameters()) {
    total += parameter.size();
    if (parameter.requires_grad()) trained += parameter.size();
  }
  text << "trainable: " << with_commas(trained) << " of " << with_commas(total) << " parameters ("
       << std::fixed << std::setprecision(2)
       << 100 * static_cast<double>(trained) / static_cast<double>(std::max<std::size_t>(1, total))
       << " %)\n";
  return text.str();
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
