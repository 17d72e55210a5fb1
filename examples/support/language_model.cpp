// Builds models from settings, and reads config.json and model.safetensors.
// The flags' own limits also judge what a config says.
#include "language_model.hpp"

#include <filesystem>
#include <xgrad/core/error.hpp>
#include <xgrad/core/files.hpp>
#include <xgrad/nn/checkpoint.hpp>
#include <xgrad/nn/position.hpp>

namespace examples {

using xgrad::require;
using Json = Flags::Json;

namespace {

std::string config_path(const std::string& folder) { return folder + "/config.json"; }

ModelSettings settings_of(const Json& config, const std::string& path) {
  ModelSettings settings;
  Flags flags("");
  declare_model(flags, settings);
  flags.restore(config["settings"], {}, path);
  return settings;
}

CharVocabulary vocabulary_of(const Json& config, const std::string& path) {
  const Json listed = config.value("vocabulary", Json());
  CharVocabulary vocabulary;
  bool fine = listed.is_array() && !listed.empty();
  for (int last = -1; const Json& byte : listed) {
    fine = fine && byte.is_number_integer() && byte > last && byte <= 255;
    if (!fine) break;
    vocabulary.bytes.push_back(byte.get<unsigned char>());
    last = vocabulary.bytes.back();
  }
  require<std::runtime_error>(fine, path, ": \"vocabulary\" is no ascending list of bytes");
  return vocabulary;
}

}  // namespace

void declare_model(Flags& flags, ModelSettings& s) {
  flags.group("Model");
  flags.choice("--position", s.position, xgrad::position_names(), "How the model knows positions");
  flags.choice("--attention", s.attention, {"fused", "composite"},
               "Its code: one fast operation, or the same put together from simple ones");
  flags.number("--layers", s.layers, {1, 1000}, "Transformer blocks");
  flags.number("--heads", s.heads, {1, 1000}, "Attention heads per block; must divide --dim");
  flags.number("--dim", s.dim, {1, 100'000}, "Width");
  flags.number("--context", s.context, {1, 1'000'000}, "Characters that the model sees at once");
  flags.number("--dropout", s.dropout, {0, 0.99}, "Share of activations dropped in training");
}

xgrad::Gpt make_model(const ModelSettings& s, std::size_t vocabulary, std::uint64_t seed) {
  using namespace xgrad;
  return Gpt(
      {.vocab = vocabulary,
       .layers = s.layers,
       .heads = s.heads,
       .dim = s.dim,
       .dropout = s.dropout,
       .bias = false,
       .position = make_position(s.position, {.length = s.context, .dim = s.dim, .heads = s.heads}),
       .attention = s.attention == "fused" ? AttentionImpl::fused : AttentionImpl::composite,
       .seed = seed});
}

Json read_config(const std::string& folder) {
  const std::string path = config_path(folder);
  Json config = Json::parse(xgrad::read_file(path), nullptr, /*allow_exceptions=*/false);
  require<std::runtime_error>(
      config.is_object() && config.contains("settings") && config["settings"].is_object(), '"',
      path, "\" is not the config of a run");
  config["settings"].emplace("attention", "fused");
  return config;
}

Json TrainedModel::config_of(const std::string& folder) {
  require<std::runtime_error>(std::filesystem::exists(config_path(folder)), '"', folder,
                              "\" holds no model: train one with train_lm --out ", folder);
  return read_config(folder);
}

TrainedModel::TrainedModel(const std::string& folder, const Json& config)
    : settings(settings_of(config, config_path(folder))),
      vocabulary(vocabulary_of(config, config_path(folder))),
      gpt(make_model(settings, vocabulary.size(), 0)) {
  xgrad::load(gpt, folder + "/model.safetensors");
  gpt.eval();
}

}  // namespace examples
