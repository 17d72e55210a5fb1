// Names and regular expressions; see targets.hpp.
#include <xgrad/nn/lora/targets.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>
#include <regex>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

std::regex compile(const std::string& pattern) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& error) {
    throw std::invalid_argument(
        concat_text("lora: \"", pattern, "\" is no regular expression: ", error.what()));
  }
}

bool matches(const std::string& pattern, const std::string& name) {
  return std::regex_match(name, compile(pattern));
}

bool ends_in(const std::string& name, const std::string& part) {
  return name.ends_with('.' + part);
}

bool named(const std::string& name, const std::string& part) {
  return name == part || ends_in(name, part);
}

/// The number of the layer that a module stands in: the first one behind a container. The dot in
/// front belongs to the rule, so `model.layers.3.q` has one and `layers.3.q` has none.
std::optional<std::size_t> number_of(const Options& options, const std::string& name) {
  std::vector<std::string> containers = options.layers_pattern;
  if (containers.empty()) containers = {"[^.]*"};
  std::smatch match;
  for (const std::string& container : containers)
    if (std::regex_search(name, match, compile(".*?\\." + container + "\\.(\\d+)\\."),
                          std::regex_constants::match_continuous))
      return std::stoul(match[match.size() - 1]);
  return {};
}

template <class T>
T by_pattern(const Patterns<T>& patterns, const std::string& name, T otherwise) {
  for (const auto& [pattern, value] : patterns)
    if (matches("(.*\\.)?(" + pattern + ")", name)) return value;
  return otherwise;
}

}  // namespace

bool all_linear(const Names& targets) {
  constexpr std::string_view keyword = "all-linear";
  return std::equal(
      targets.pattern.begin(), targets.pattern.end(), keyword.begin(), keyword.end(),
      [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
}

bool named_or_below(const std::string& name, const std::string& part) {
  return ('.' + name + '.').find('.' + part + '.') != std::string::npos;
}

bool is_saved(const Options& options, const std::string& name) {
  return std::any_of(options.modules_to_save.begin(), options.modules_to_save.end(),
                     [&](const std::string& part) { return named_or_below(name, part); });
}

bool is_excluded(const Options& options, const std::string& name) {
  const Names& exclude = options.exclude;
  const auto is = [&](const std::string& part) { return named(name, part); };
  return (!exclude.pattern.empty() && matches(exclude.pattern, name)) ||
         std::any_of(exclude.list.begin(), exclude.list.end(), is) || is_saved(options, name);
}

bool is_target(const Options& options, const std::string& name) {
  if (is_excluded(options, name)) return false;
  if (!options.targets.pattern.empty()) return matches(options.targets.pattern, name);
  const auto& list = options.targets.list;
  if (std::find(list.begin(), list.end(), name) != list.end()) return true;
  if (std::none_of(list.begin(), list.end(),
                   [&](const std::string& part) { return ends_in(name, part); }))
    return false;
  const auto& wanted = options.layers_to_transform;
  if (wanted.empty()) return true;
  const auto number = number_of(options, name);
  return number && std::find(wanted.begin(), wanted.end(), *number) != wanted.end();
}

std::size_t rank_of(const Options& options, const std::string& name) {
  return by_pattern(options.rank_pattern, name, options.rank);
}

double alpha_of(const Options& options, const std::string& name) {
  return by_pattern(options.alpha_pattern, name, options.alpha);
}

void check(const Options& options) {
  require(!options.name.empty() && options.name.find_first_of("./\\") == std::string::npos,
          "lora: \"", options.name,
          "\" is no name for an adapter: it must not be empty or contain a dot or a slash");
  require(!options.targets.empty(), "lora: no targets");
  require(options.layers_to_transform.empty() || options.targets.pattern.empty(),
          "lora: layers_to_transform needs a list of targets, not the pattern \"",
          options.targets.pattern, "\"");
  require(options.layers_pattern.empty() || !options.layers_to_transform.empty(),
          "lora: layers_pattern without layers_to_transform");
  require(std::isfinite(options.alpha), "lora: alpha is ", options.alpha);
  require(options.dropout >= 0 && options.dropout < 1, "lora: dropout must be in [0, 1), got ",
          options.dropout);
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
