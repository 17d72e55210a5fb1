// What a part of a study is given, and leaves its numbers and pictures in; and the words and
// figures that its sentences are made of. What is measured is the study's own business.
#pragma once

#include <string>
#include <vector>

#include "output_folder.hpp"
#include "results.hpp"

namespace examples {

struct Report {
  OutputFolder& out;
  Results results{};

  /// Prints a table under a heading.
  void show(const std::string& heading, const std::string& table) const;
  /// Prints a paragraph that says what the tables above show.
  void read(const std::string& text) const;
  /// Writes an SVG into the folder.
  void draw(const std::string& file, const std::string& svg) const;
};

/// As the tables show it.
std::string number(double value);
/// A ratio as a signed percentage.
std::string percent(double ratio);
/// "a, b and c", or "none".
std::string listed(const std::vector<std::string>& names);

}  // namespace examples
