// Command-line flags that are also the settings of a run: read by CLI11, explained by --help,
// echoed, stored as JSON and read back. What a setting means is the program's business.
#pragma once

#include <charconv>
#include <concepts>
#include <functional>
#include <iosfwd>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace examples {

/// A wrong command line. The text is one line and names the flag.
struct UsageError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// One declaration per setting says its flag, its default (the variable's value), its limits and
/// its help; the variable must outlive this object.
///
///     Flags flags("Trains a model.");
///     flags.group("Model");
///     flags.number("--dim", dim, {1, 4096}, "Width of the model");
///     flags.parse(argc, argv);
class Flags {
 public:
  using Json = nlohmann::ordered_json;  // settings stay in the order in which they are declared

  template <class Number>
  struct Range {
    Number low, high;  // both allowed
  };

  explicit Flags(std::string description) : description_(std::move(description)) {}

  /// The heading in --help of the flags that follow.
  void group(std::string title) { group_ = std::move(title); }

  /// Any text but an empty one.
  void text(const std::string& name, std::string& value, std::string help,
            std::string standard = "");
  /// A name of a file or folder. `standard` says what the default means, where its value does not.
  void path(const std::string& name, std::string& value, std::string kind, std::string help,
            std::string standard = "");
  /// The same, but for this call only: it is not among the settings.
  void command(const std::string& name, std::string& value, std::string kind, std::string help);
  /// A flag without a value, which makes `value` true.
  void toggle(const std::string& name, bool& value, std::string help);
  void choice(const std::string& name, std::string& value, std::vector<std::string> choices,
              std::string help);
  template <class Number>
  void number(const std::string& name, Number& value, Range<std::type_identity_t<Number>> range,
              std::string help, std::string standard = "") {
    add({.name = name,
         .kind = std::integral<Number> ? "N" : "X",
         .help = std::move(help),
         .standard = std::move(standard),
         .expected = std::string(std::integral<Number> ? "a whole number" : "a number") + " from " +
                     Json(range.low).dump() + " to " + Json(range.high).dump(),
         .set =
             [&value, range](const std::string& text) {
               Number read{};
               const auto [end, error] =
                   std::from_chars(text.data(), text.data() + text.size(), read);
               const bool whole = error == std::errc() && end == text.data() + text.size();
               // Not (read < low || ...): NaN must fail.
               if (!whole || !(range.low <= read && read <= range.high)) return false;
               value = read;
               return true;
             },
         .get = [&value] { return Json(value); }});
  }

  /// Sets the variables. --help prints and ends the program. Throws UsageError.
  void parse(int argc, char** argv);
  bool given(const std::string& name) const { return given_.contains(name); }

  Json settings() const;
  /// Sets the variables from what `settings` gave in an earlier run, except where `changeable` ones
  /// were given on the command line; UsageError if another one was, with a different value.
  /// Throws std::runtime_error if a setting is missing, of a wrong type or out of range; `source`
  /// is where they come from.
  void restore(const Json& saved, const std::set<std::string>& changeable,
               const std::string& source);

  std::string help() const;

 private:
  struct Flag {
    std::string name, kind, help, standard, expected;
    std::function<bool(const std::string&)> set;  // false: not what was expected
    std::function<Json()> get;
    bool is_setting = true;
    std::string group = "", text = "";
    std::string key() const;  // "--eval-every" is "eval_every" in JSON
  };
  void add(Flag flag);

  std::string description_, group_, program_;
  std::vector<Flag> flags_;
  std::set<std::string> given_;
};

/// One line per setting, values below each other.
void print_settings(std::ostream& out, const Flags::Json& settings);

}  // namespace examples
