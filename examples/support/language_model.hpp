// The language model of a run: the flags that shape it, and the one that a run has left behind.
// How it is trained is train_lm's business.
#pragma once

#include <string>
#include <xgrad/models/gpt.hpp>

#include "corpus.hpp"
#include "flags.hpp"

namespace examples {

/// What a run must be told to build its model, besides the vocabulary.
struct ModelSettings {
  std::string position = "rope", attention = "fused";
  std::size_t layers = 4, heads = 4, dim = 128, context = 64;
  double dropout = 0;
};

/// Declares a flag for each, under the heading "Model".
void declare_model(Flags& flags, ModelSettings& settings);

/// With its initial values, in training mode.
xgrad::Gpt make_model(const ModelSettings& settings, std::size_t vocabulary, std::uint64_t seed);

/// The config.json in the folder of a run, with settings that are younger than the run at what they
/// were before one could choose. Throws std::runtime_error if there is none.
Flags::Json read_config(const std::string& folder);

/// What train_lm has left in a folder, ready for use: in evaluation mode. Throws, in one line, if
/// it holds no model, or a damaged one.
class TrainedModel {
 public:
  explicit TrainedModel(const std::string& folder) : TrainedModel(folder, config_of(folder)) {}

  const ModelSettings settings;
  const CharVocabulary vocabulary;
  xgrad::Gpt gpt;

 private:
  static Flags::Json config_of(const std::string& folder);
  TrainedModel(const std::string& folder, const Flags::Json& config);
};

}  // namespace examples
