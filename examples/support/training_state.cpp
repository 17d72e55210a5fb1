// The model's tensors as "model.…", the optimizer's as "optimizer.…", the tally as metadata.
// The format is the library's; only the names are made here.
#include "training_state.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <xgrad/core/safetensors.hpp>
#include <xgrad/nn/checkpoint.hpp>

namespace examples {
namespace {

using nlohmann::json;

xgrad::StateDict part(const std::string& prefix, const xgrad::StateDict& state) {
  xgrad::StateDict result;
  for (const auto& [name, value] : state) {
    if (name.starts_with(prefix)) result.emplace_back(name.substr(prefix.size()), value);
  }
  return result;
}

Tally read_tally(const std::string& path) {
  const auto metadata = xgrad::load_safetensors(path).metadata;
  const auto found = metadata.find("tally");
  const json tally = found == metadata.end() ? json() : json::parse(found->second, nullptr, false);
  for (const char* key : {"loss_sum", "loss_count", "seconds"}) {
    if (!tally.is_object() || !tally.contains(key) || !tally[key].is_number())
      throw std::runtime_error("\"" + path + "\" is not the checkpoint of a training run");
  }
  return {tally["loss_sum"], tally["loss_count"], tally["seconds"]};
}

}  // namespace

void save_training(const std::string& path, const xgrad::Module& model,
                   const xgrad::Optimizer& optimizer, const Tally& tally) {
  xgrad::StateDict state;
  for (const auto& [name, value] : model.state_dict()) state.emplace_back("model." + name, value);
  for (const auto& [name, value] : optimizer.state_dict())
    state.emplace_back("optimizer." + name, value);
  const json metadata = {
      {"loss_sum", tally.loss_sum}, {"loss_count", tally.loss_count}, {"seconds", tally.seconds}};
  xgrad::save_state(path, state, {{"tally", metadata.dump()}});
}

Tally load_training(const std::string& path, xgrad::Module& model, xgrad::Optimizer& optimizer) {
  const Tally tally = read_tally(path);
  const xgrad::StateDict state = xgrad::load_state(path);
  try {
    model.load_state_dict(part("model.", state));
    optimizer.load_state_dict(part("optimizer.", state));
  } catch (const std::invalid_argument& error) {
    throw std::runtime_error("\"" + path + "\" does not fit the settings: " + error.what());
  }
  return tally;
}

}  // namespace examples
