// adapter_config.json: Options in PEFT's words. Internal to peft.cpp.
#pragma once

#include <string>

#include <xgrad/nn/lora/options.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// The settings as a JSON object, keys in alphabetical order. `init` is not among them: what reads
/// the file is to load factors, not to make some.
std::string to_json(const Options& options);

/// The options in a file's text, but for their name. Keys that PEFT does not know are ignored.
/// Throws std::runtime_error `load "path": …` for what is missing or of the wrong kind, and for
/// settings that change the computation and are not implemented here, by their key.
Options from_json(const std::string& text, const std::string& path);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
