// Flags by CLI11, which splits the command line; the values, the help and the errors are ours.
// Nothing here knows a setting by name.
#include "flags.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <utility>

#include "progress.hpp"

namespace examples {
namespace {

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string in_quotes(const std::string& text) { return '"' + text + '"'; }

std::string plain(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Appends words to `text`, whose last line has `column` characters, in lines of `width` that begin
// at `indent`.
void wrap(std::string& text, const std::string& words, std::size_t column, std::size_t indent,
          std::size_t width) {
  std::istringstream in(words);
  bool first = true;
  for (std::string word; in >> word; first = false) {
    if (!first && column + 1 + word.size() > width) {
      text += '\n' + std::string(indent, ' ');
      column = indent;
      first = true;
    }
    text += (first ? "" : " ") + word;
    column += (first ? 0 : 1) + word.size();
  }
  text += '\n';
}

}  // namespace

std::string Flags::Flag::key() const {
  std::string key = name.substr(2);
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

void Flags::add(Flag flag) {
  flag.group = group_;
  if (flag.standard.empty()) flag.standard = plain(flag.get());
  flags_.push_back(std::move(flag));
}

void Flags::text(const std::string& name, std::string& value, std::string help,
                 std::string standard) {
  add({.name = name,
       .kind = "TEXT",
       .help = std::move(help),
       .standard = std::move(standard),
       .expected = "a text",
       .set = [&value](const std::string& text) { return value = text, true; },
       .get = [&value] { return Json(value); }});
}

void Flags::path(const std::string& name, std::string& value, std::string kind, std::string help,
                 std::string standard) {
  text(name, value, std::move(help), std::move(standard));
  flags_.back().kind = std::move(kind);
  flags_.back().expected = "a path";
}

void Flags::command(const std::string& name, std::string& value, std::string kind,
                    std::string help) {
  path(name, value, std::move(kind), std::move(help));
  flags_.back().is_setting = false;
}

void Flags::toggle(const std::string& name, bool& value, std::string help) {
  add({.name = name,
       .kind = "",
       .help = std::move(help),
       .standard = "",
       .expected = "true or false",
       .set =
           [&value](const std::string& text) {
             value = text == "true";
             return value || text == "false";
           },
       .get = [&value] { return Json(value); }});
}

void Flags::choice(const std::string& name, std::string& value, std::vector<std::string> choices,
                   std::string help) {
  const std::string list = join(choices);
  add({.name = name,
       .kind = "NAME",
       .help = std::move(help) + ": " + list,
       .standard = "",
       .expected = "one of " + list,
       .set =
           [&value, choices = std::move(choices)](const std::string& text) {
             const auto found = std::find(choices.begin(), choices.end(), text);
             if (found != choices.end()) value = *found;
             return found != choices.end();
           },
       .get = [&value] { return Json(value); }});
}

void Flags::parse(int argc, char** argv) {
  program_ = std::string(argv[0]).substr(std::string(argv[0]).rfind('/') + 1);
  CLI::App app;
  app.allow_extras();  // so that the error for them can be ours
  for (Flag& flag : flags_) {
    if (flag.kind.empty())
      app.add_flag(flag.name)->each([&flag](const std::string& text) { flag.text = text; });
    else
      app.add_option(flag.name, flag.text)
          ->type_name(flag.kind)
          ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << help();
    std::exit(EXIT_SUCCESS);
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  if (const auto extras = app.remaining(); !extras.empty()) {
    std::vector<std::string> names;
    for (const Flag& flag : flags_) names.push_back(flag.name);
    throw UsageError("unknown " + std::string(extras[0].starts_with('-') ? "flag " : "argument ") +
                     in_quotes(extras[0]) + ": the flags are " + join(names));
  }
  for (Flag& flag : flags_) {
    if (app.count(flag.name) == 0) continue;
    given_.insert(flag.name);
    if (flag.text.empty() || !flag.set(flag.text))
      throw UsageError(flag.name + ": expected " + flag.expected + ", got " + in_quotes(flag.text));
  }
}

Flags::Json Flags::settings() const {
  Json settings = Json::object();
  for (const Flag& flag : flags_) {
    if (flag.is_setting) settings[flag.key()] = flag.get();
  }
  return settings;
}

void Flags::restore(const Json& saved, const std::set<std::string>& changeable,
                    const std::string& source) {
  for (const Flag& flag : flags_) {
    if (!flag.is_setting || (given(flag.name) && changeable.contains(flag.name))) continue;
    const auto found = saved.find(flag.key());
    if (found == saved.end())
      throw std::runtime_error(source + ": the setting " + in_quotes(flag.key()) + " is missing");
    const Json wanted = flag.get();
    if (found->is_string() != wanted.is_string() || found->is_boolean() != wanted.is_boolean() ||
        !flag.set(plain(*found)))
      throw std::runtime_error(source + ": the setting " + in_quotes(flag.key()) + ": expected " +
                               flag.expected + ", got " + found->dump());
    if (given(flag.name) && flag.get() != wanted)
      throw UsageError(flag.name + " was " + plain(flag.get()) + " in that run and cannot become " +
                       plain(wanted));
  }
}

std::string Flags::help() const {
  const auto width = static_cast<std::size_t>(std::clamp(terminal_width(), 60, 100));
  std::size_t indent = 0;
  for (const Flag& flag : flags_)
    indent = std::max(indent, 2 + flag.name.size() + 1 + flag.kind.size() + 2);
  std::string text;
  wrap(text, description_, 0, 0, width);
  text += "\nusage: " + program_ + " [flags]\n";
  std::string group;
  const auto line = [&](const std::string& left, const std::string& words) {
    text += left + std::string(indent - left.size(), ' ');
    wrap(text, words, indent, indent, width);
  };
  for (const Flag& flag : flags_) {
    if (flag.group != group) text += '\n' + (group = flag.group) + '\n';
    line("  " + flag.name + ' ' + flag.kind,
         flag.help + (flag.kind.empty() || flag.standard.empty()
                          ? ""
                          : " (default: " + flag.standard + ')'));
  }
  text += '\n';
  line("  --help", "Show this and end");
  return text;
}

void print_settings(std::ostream& out, const Flags::Json& settings) {
  std::size_t width = 0;
  for (const auto& item : settings.items()) width = std::max(width, item.key().size());
  for (const auto& item : settings.items()) {
    const std::string value = plain(item.value());
    out << item.key() << std::string(width + 2 - item.key().size(), ' ')
        << (value.empty() ? "(default)" : value) << '\n';
  }
}

}  // namespace examples
