// The metrics of a run as JSON lines in a file that other programs can follow while it grows.
// It draws nothing (chart.hpp does), and knows no key but "step".
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace examples {

/// One JSON object per line, each with an integer "step", and on disk as soon as `write` returns.
/// All failures are std::runtime_error with the path and the reason.
class MetricsLog {
 public:
  using Record = nlohmann::ordered_json;  // keys stay in the order in which they were given

  /// A new run empties the file. A run resumed at step s keeps the lines up to s and drops what
  /// came after (and a last line cut short: the earlier run may have been killed while writing it).
  explicit MetricsLog(std::string path, std::optional<std::int64_t> resumed_step = {});

  /// Appends one line, or throws and leaves no part of it in the file. NaN and infinity become
  /// null.
  void write(const Record& record);

  /// All lines of the file, in order: what a picture of the whole run is drawn from.
  const std::vector<Record>& records() const { return records_; }

 private:
  std::string path_;
  std::vector<Record> records_;
};

}  // namespace examples
