// Which layers the options mean, by PEFT's rules on dotted names. Text only: no layer is touched.
#pragma once

#include <string>
#include <string_view>

#include <xgrad/nn/lora/options.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Whether targets are "all-linear", in any case: not a regular expression then.
bool all_linear(const Names& targets);

/// Whether the module `name` is a target: not excluded, neither in modules_to_save nor below, and
/// named by `targets`. A name that stands in the list as a whole counts whatever its number.
bool is_target(const Options& options, const std::string& name);
/// Whether `part`, dots and all, is a part of the dotted name: "h.1" of "model.h.1.mlp".
bool named_or_below(const std::string& name, const std::string& part);
/// Whether the module is one of modules_to_save or below one.
bool is_saved(const Options& options, const std::string& name);
/// exclude or modules_to_save.
bool is_excluded(const Options& options, const std::string& name);

/// Rank and alpha of this layer, after the patterns.
std::size_t rank_of(const Options& options, const std::string& name);
double alpha_of(const Options& options, const std::string& name);

/// Throws std::invalid_argument for options that contradict each other.
void check(const Options& options);

}  // namespace xgrad::inline XGRAD_PRECISION::lora
