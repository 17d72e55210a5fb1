// Checkpoints: state dicts in safetensors files, under PyTorch's key names.
// The format itself is core/safetensors.hpp.
#pragma once

#include <map>

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Writes named tensors in one step: the file is whole or as it was before. Throws
/// std::runtime_error when it cannot be written.
void save_state(const std::string& path, const StateDict& state,
                const std::map<std::string, std::string>& metadata = {});

/// The tensors of a file, converted to `real`, in the order of their names. Throws
/// std::runtime_error `load "path": …` when the file is not a whole, valid safetensors file.
StateDict load_state(const std::string& path);

/// save_state of a model's parameters and buffers.
void save(const Module& model, const std::string& path);

/// Loads what `save`, or PyTorch, wrote. Throws std::invalid_argument that names the first name or
/// shape that does not agree; the model is then unchanged.
void load(Module& model, const std::string& path);

}  // namespace xgrad::inline XGRAD_PRECISION
