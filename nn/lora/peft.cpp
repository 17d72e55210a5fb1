// PEFT's files; see peft.hpp.
#include <xgrad/nn/lora/peft.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include <xgrad/core/files.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/nn/checkpoint.hpp>
#include <xgrad/nn/lora/attach.hpp>
#include <xgrad/nn/lora/peft_config.hpp>
#include <xgrad/nn/lora/slot.hpp>
#include <xgrad/nn/lora/targets.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

constexpr const char* weights_file = "/adapter_model.safetensors";
constexpr const char* config_file = "/adapter_config.json";
constexpr const char* model_prefix = "base_model.model.";

std::string folder_of(const std::string& folder, const std::string& name) {
  return name == "default" ? folder : folder + '/' + name;
}

/// "lora_A.weight", but "lora_embedding_A" and "lora_magnitude_vector".
std::string file_name(const std::string& parameter) {
  return parameter == "lora_A" || parameter == "lora_B" ? parameter + ".weight" : parameter;
}

std::string key_of(const std::string& layer, const std::string& part) {
  return model_prefix + (layer.empty() ? part : layer + '.' + part);
}

/// What is trained beside the adapters of these options, by its key. PEFT wraps adapted layers,
/// whose biases go by the name base_layer.
StateDict others(Module& model, const Options& options, const std::set<std::string>& adapted) {
  StateDict result;
  for (const auto& [name, parameter] : model.state_dict()) {
    const std::size_t dot = name.rfind('.');
    const std::string layer = dot == name.npos ? "" : name.substr(0, dot),
                      own = name.substr(dot + 1);  // npos + 1 is 0
    const bool is_adapted = adapted.contains(layer);
    if (own == "bias" &&
        (options.bias == Bias::all || (options.bias == Bias::lora_only && is_adapted)))
      result.emplace_back(key_of(layer, is_adapted ? "base_layer.bias" : own), parameter);
    else if (is_saved(options, name))
      result.emplace_back(key_of(layer, own), parameter);
  }
  return result;
}

/// The same update from twice the rank, on the original weight: s' = s throughout.
Options converted(Options o) {
  const double by = o.rank_stabilized ? std::sqrt(2.0) : 2.0;  // s = alpha/sqrt(r) or alpha/r
  o.rank *= 2;
  o.alpha *= by;
  for (auto& [pattern, rank] : o.rank_pattern) rank *= 2;
  for (auto& [pattern, alpha] : o.alpha_pattern) alpha *= by;
  return o;
}

/// [A; A0] and [B, -B0], or [A; 0] and [B, 0] of an adapter that has none.
StateDict converted(const Adapter& adapter) {
  Tensor A0 = zeros(adapter.A.shape()), B0 = zeros(adapter.B.shape());
  if (adapter.reference()) {
    A0 = adapter.reference()->A;
    B0 = adapter.reference()->B;
  }
  StateDict result;
  for (auto& [name, parameter] : adapter.named_parameters()) {
    if (name.ends_with("_A")) parameter = concat({parameter, A0}, 0);
    if (name.ends_with("_B")) parameter = concat({parameter, -B0}, 1);
    result.emplace_back(name, parameter);
  }
  return result;
}

/// A key as it stands in a file: without the adapter's name, which a state dict in memory has.
std::string in_file(const std::string& key) {
  static const std::regex linear("(.*\\.lora_[AB])\\.[^.]+(\\.weight)"),
      other("(.*\\.(lora_embedding_[AB]|lora_magnitude_vector))\\.[^.]+");
  std::smatch match;
  if (std::regex_match(key, match, linear)) return match[1].str() + match[2].str();
  if (std::regex_match(key, match, other)) return match[1];
  return key;
}

}  // namespace

void save(Module& model, const std::string& folder, const std::string& name) {
  const Pause pause;
  const std::vector<Adapter*> list = adapters(model, name);
  require(!list.empty(), "lora: no adapter \"", name, "\" to save");
  Options options = *list.front()->options;
  std::set<std::string> layers;
  for (const Adapter* adapter : list) layers.insert(adapter->layer);
  if (all_linear(options.targets))  // PEFT knows what that means for its own models only
    options.targets = std::vector<std::string>(layers.begin(), layers.end());
  const bool convert =
      std::any_of(list.begin(), list.end(), [](const auto* a) { return a->reference(); });
  StateDict state = others(model, options, layers);
  for (const Adapter* adapter : list)
    for (auto& [own, factor] : convert ? converted(*adapter) : adapter->named_parameters())
      state.emplace_back(key_of(adapter->layer, file_name(own)), factor);

  const std::string target = folder_of(folder, name);
  std::error_code error;
  std::filesystem::create_directories(target, error);
  require<std::runtime_error>(!error, "save \"", target, "\": ", error.message());
  AtomicFile config(target + config_file);
  config.write(to_json(convert ? converted(options) : options));
  save_state(target + weights_file, state);
  config.commit();
}

std::vector<Adapter*> load(Module& model, const std::string& folder, const std::string& name) {
  const std::string source = folder_of(folder, name), path = source + weights_file,
                    config = source + config_file;
  Options options = from_json(read_file(config), config);
  options.name = name;
  const auto refuse = [&](bool holds, const auto&... parts) {
    require<std::runtime_error>(holds, "load \"", path, "\": ", parts...);
  };
  std::map<std::string, Tensor> file;
  for (const auto& [key, values] : load_state(path))
    refuse(file.emplace(in_file(key), values).second, "\"", in_file(key), "\" is there twice");

  // Checked against the layers as they are, before any of them gets an adapter.
  const std::vector<Target> targets = find_targets(model, options);
  std::set<std::string> known;
  const auto expect = [&](const std::string& layer, const std::string& key, const Shape& shape) {
    const auto found = file.find(key);
    refuse(found != file.end(), "layer \"", layer, "\": \"", key, "\" ", shape,
           " is missing from the file");
    refuse(found->second.shape() == shape, "layer \"", layer, "\": \"", key, "\": file has ",
           found->second.shape(), ", model needs ", shape);
    known.insert(key);
  };
  std::set<std::string> layers;
  for (const auto& [layer, base] : targets) {
    const std::size_t rank = rank_of(options, layer);
    const std::string kind = base->looks_up() ? "lora_embedding_" : "lora_";
    expect(layer, key_of(layer, file_name(kind + 'A')), {rank, base->inputs()});
    expect(layer, key_of(layer, file_name(kind + 'B')), {base->outputs(), rank});
    if (options.dora) expect(layer, key_of(layer, "lora_magnitude_vector"), {base->outputs()});
    layers.insert(layer);
  }
  StateDict beside = others(model, options, layers);
  for (const auto& [key, parameter] : beside)
    expect(key.substr(std::string(model_prefix).size()), key, parameter.shape());
  for (const auto& [key, values] : file)
    refuse(known.contains(key), "\"", key, "\" ", values.shape(),
           " belongs to no layer that the settings name");

  const std::vector<Adapter*> result = place(model, options, targets);
  const auto fill = [&](Tensor target, const std::string& key) {
    std::copy_n(file.at(key).data(), target.size(), target.mutable_data());
  };
  for (const Adapter* adapter : result)
    for (const auto& [own, factor] : adapter->named_parameters())
      fill(factor, key_of(adapter->layer, file_name(own)));
  for (const auto& [key, parameter] : beside) fill(parameter, key);
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
