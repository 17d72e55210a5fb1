// What a study measured: rows of numbers, from which both its tables and its results.json are made,
// so that no number can stand in one and not in the other. It measures nothing itself.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace examples {

using Row = nlohmann::ordered_json;  ///< a JSON object; columns stay in the order they were given
using Rows = std::vector<Row>;

class Results {
 public:
  void add(Row row) { rows_.push_back(std::move(row)); }
  /// The rows that agree with all of these columns.
  Rows where(const Row& columns) const;
  /// {"settings": …, "rows": [ … ]}. NaN and infinity become null.
  std::string json(const Row& settings) const;

 private:
  Rows rows_;
};

/// The named columns of all rows, under their names with spaces for underscores. Numbers with four
/// digits; a column that a row lacks, or where it has null, stays empty.
std::string table(const Rows& rows, const std::vector<std::string>& columns);

/// A line for each value of the column `down`, a column for each value of `across`, both in order
/// of appearance, and the value of `cell` where they meet.
std::string cross_table(const Rows& rows, const std::string& down, const std::string& across,
                        const std::string& cell);

/// A value as the tables show it.
std::string shown(const Row& value);

}  // namespace examples
