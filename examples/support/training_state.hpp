// What a training run must remember to go on as if it had never stopped, in one safetensors file.
// Random numbers need no place in it where each step makes its stream from the seed and its number.
#pragma once

#include <cstdint>
#include <string>
#include <xgrad/nn/module.hpp>
#include <xgrad/optim/optimizer.hpp>

namespace examples {

/// Where a run stands, besides its model and optimizer.
struct Tally {
  double loss_sum = 0;  // of the training steps since the last evaluation
  std::int64_t loss_count = 0;
  double seconds = 0;  // of all sittings
};

/// Replaces or creates the file in one step.
void save_training(const std::string& path, const xgrad::Module& model,
                   const xgrad::Optimizer& optimizer, const Tally& tally);

/// Throws std::runtime_error, in one line, if the file cannot be read, is damaged, or belongs to
/// another model or optimizer.
Tally load_training(const std::string& path, xgrad::Module& model, xgrad::Optimizer& optimizer);

}  // namespace examples
