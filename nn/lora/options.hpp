// What an adapter is like and which layers get one. How it is attached is attach.hpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

/// Modules by their dotted name: a list, of which a name must be one or end in one behind a dot
/// (`{"c_attn"}` means h.0.attn.c_attn, but not h.0.attn.my_c_attn); or one string, a regular
/// expression (ECMAScript) for the whole name.
struct Names {
  Names() = default;
  Names(std::initializer_list<std::string> names) : list(names) {}
  Names(std::vector<std::string> names) : list(std::move(names)) {}
  Names(std::string regex) : pattern(std::move(regex)) {}
  Names(const char* regex) : pattern(regex) {}

  bool empty() const { return list.empty() && pattern.empty(); }

  std::vector<std::string> list;
  std::string pattern;
};

/// A value for the layers whose whole name matches a regular expression, or ends in a match behind
/// a dot. The first that matches counts.
template <class T>
using Patterns = std::vector<std::pair<std::string, T>>;

/// How A and B start. For an Embedding all but `random` mean A = 0 and B standard normal.
enum class Init {
  uniform,   ///< A uniform in ±1/sqrt(in), B = 0: PEFT's default
  gaussian,  ///< A normal with standard deviation 1/rank, B = 0
  random,    ///< both uniform, B in ±1/sqrt(rank): changes the model; for tests
};

/// Which biases are trained beside the adapters.
enum class Bias {
  none,
  all,        ///< every parameter named bias
  lora_only,  ///< those of the adapted layers
};

/// Hu et al. 2021 (2106.09685), with PEFT's names and rules.
struct Options {
  std::size_t rank = 8;          ///< in [1, min(in, out)]
  double alpha = 8;              ///< the update is scaled by alpha / rank, …
  bool rank_stabilized = false;  ///< … or by alpha / sqrt(rank): Kalajdzievski 2023 (2312.03732)
  double dropout = 0;  ///< of the adapter's input, while training; the layer's own is whole
  bool dora = false;   ///< train the length of each row of W apart: Liu et al. 2024 (2402.09353)
  Init init = Init::uniform;
  Names targets = "all-linear";  ///< layers to adapt; "all-linear": every Linear, also an output
                                 ///< head that is one (exclude it)
  Names exclude{};               ///< … but not these
  std::vector<std::string> modules_to_save{};  ///< no adapters in these and below: trained in full
  std::vector<std::size_t> layers_to_transform{};  ///< of targets found by the end of their name
                                                   ///< only those with these numbers. Needs a list
  std::vector<std::string> layers_pattern{};  ///< regex of what stands before the number; none: any
  Patterns<std::size_t> rank_pattern{};
  Patterns<double> alpha_pattern{};
  Bias bias = Bias::none;
  std::string name = "default";  ///< of the adapter; a model may have several
};

}  // namespace xgrad::inline XGRAD_PRECISION::lora
