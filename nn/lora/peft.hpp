// Adapters in files, in the layout of the PEFT library.
#pragma once

#include <string>

#include <xgrad/nn/lora/adapter.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Writes the adapter of this name as `folder`, or `folder/name` if it is not "default":
/// adapter_model.safetensors with its factors, and the biases and modules_to_save that are trained
/// beside it, and adapter_config.json. PeftModel.from_pretrained reads both.
///
/// Factors that start_from set are relative to what they started from. They are written as plain
/// ones, of twice the rank, for the original weights: A' = [A; A0], B' = [B, -B0], and alpha and
/// ranks such that the scale stays. Throws std::invalid_argument if there is no such adapter, and
/// std::runtime_error if writing fails: the files that were there are then still there.
void save(Module& model, const std::string& folder, const std::string& name = "default");

/// Attaches what save(), or PEFT, wrote, as the adapter of this name, from the folder that save()
/// would write to; a model's first becomes active. Unlike PEFT it insists that the file has the
/// factors of exactly the layers that its settings mean in this model: std::runtime_error names the
/// file and the layer that is missing, left over or of another shape. Settings of PEFT that are
/// not implemented are errors too. The model is then unchanged.
std::vector<Adapter*> load(Module& model, const std::string& folder,
                           const std::string& name = "default");

}  // namespace xgrad::inline XGRAD_PRECISION::lora
