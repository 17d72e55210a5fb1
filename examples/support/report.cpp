// Printing and saving for studies; see report.hpp.
#include "report.hpp"

#include <cstdio>
#include <iostream>
#include <sstream>

#include <xgrad/core/files.hpp>

namespace examples {

void Report::show(const std::string& heading, const std::string& table) const {
  std::cout << '\n' << heading << "\n\n" << table << std::flush;
}

void Report::read(const std::string& text) const {
  constexpr std::size_t width = 100;
  std::istringstream words(text);
  std::string line;
  std::cout << '\n';
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      std::cout << line << '\n';
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  std::cout << line << std::endl;
}

void Report::draw(const std::string& file, const std::string& svg) const {
  xgrad::write_file(out / file, svg);
}

std::string number(double value) { return shown(value); }

std::string percent(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.1f %%", 100 * ratio);
  return text;
}

std::string listed(const std::vector<std::string>& names) {
  if (names.empty()) return "none";
  std::string text = names.front();
  for (std::size_t i = 1; i < names.size(); ++i)
    text += (i + 1 == names.size() ? " and " : ", ") + names[i];
  return text;
}

}  // namespace examples
