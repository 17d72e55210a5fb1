// Rows of a study and tables of them; see results.hpp.
#include "results.hpp"

#include <algorithm>
#include <cstdio>

namespace examples {
namespace {

using Lines = std::vector<std::vector<std::string>>;

/// Columns of cells, the first to the left, all others to the right, below a line of titles.
std::string aligned(const Lines& lines) {
  std::vector<std::size_t> widths(lines.front().size());
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  std::string text;
  for (const auto& line : lines) {
    text += "  ";
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string gap(widths[i] - line[i].size(), ' ');
      text += i == 0 ? line[i] + gap : "  " + gap + line[i];
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
    if (&line == &lines.front()) {
      std::size_t width = 0;
      for (const std::size_t w : widths) width += w + 2;
      text += "  " + std::string(width - 2, '-') + '\n';
    }
  }
  return text;
}

std::string title(std::string column) {
  std::replace(column.begin(), column.end(), '_', ' ');
  return column;
}

std::string cell(const Row& row, const std::string& column) {
  return row.contains(column) ? shown(row[column]) : "";
}

/// The different values of a column, in order of appearance.
std::vector<std::string> values(const Rows& rows, const std::string& column) {
  std::vector<std::string> found;
  for (const Row& row : rows)
    if (const std::string value = cell(row, column);
        std::find(found.begin(), found.end(), value) == found.end())
      found.push_back(value);
  return found;
}

}  // namespace

Rows Results::where(const Row& columns) const {
  Rows found;
  for (const Row& row : rows_) {
    const bool agrees =
        std::all_of(columns.items().begin(), columns.items().end(), [&](const auto& item) {
          return row.contains(item.key()) && row[item.key()] == item.value();
        });
    if (agrees) found.push_back(row);
  }
  return found;
}

std::string Results::json(const Row& settings) const {
  return Row{{"settings", settings}, {"rows", rows_}}.dump(2) + '\n';
}

std::string shown(const Row& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number_float()) return value.dump();
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value.get<double>());
  return text;
}

std::string table(const Rows& rows, const std::vector<std::string>& columns) {
  Lines lines(1);
  for (const std::string& column : columns) lines[0].push_back(title(column));
  for (const Row& row : rows) {
    lines.emplace_back();
    for (const std::string& column : columns) lines.back().push_back(cell(row, column));
  }
  return aligned(lines);
}

std::string cross_table(const Rows& rows, const std::string& down, const std::string& across,
                        const std::string& value) {
  const std::vector<std::string> names = values(rows, down), columns = values(rows, across);
  Lines lines(1 + names.size(), std::vector<std::string>(1 + columns.size()));
  lines[0][0] = title(value) + " by " + title(across);
  const auto index = [](const std::vector<std::string>& list, const std::string& name) {
    return static_cast<std::size_t>(std::find(list.begin(), list.end(), name) - list.begin());
  };
  for (std::size_t i = 0; i < columns.size(); ++i) lines[0][1 + i] = columns[i];
  for (std::size_t i = 0; i < names.size(); ++i) lines[1 + i][0] = names[i];
  for (const Row& row : rows)
    lines[1 + index(names, cell(row, down))][1 + index(columns, cell(row, across))] =
        cell(row, value);
  return aligned(lines);
}

}  // namespace examples
