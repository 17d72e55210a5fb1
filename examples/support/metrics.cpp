// Reading back, cutting and appending to a file of JSON lines.
// No file is kept open: what was written must be on disk, not in a buffer.
#include "metrics.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <xgrad/core/files.hpp>

namespace examples {
namespace {

namespace fs = std::filesystem;

std::vector<MetricsLog::Record> read_up_to(std::int64_t last_step, const std::string& path) {
  std::vector<MetricsLog::Record> records;
  if (!fs::exists(path)) return records;
  std::istringstream lines(xgrad::read_file(path));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    auto record = MetricsLog::Record::parse(line, nullptr, /*allow_exceptions=*/false);
    const auto step = record.is_object() ? record.find("step") : record.end();
    if (step == record.end() || !step->is_number_integer()) {
      if (lines.eof()) break;  // cut short: no newline at its end
      throw std::runtime_error("metrics: \"" + path + "\" line " + std::to_string(number) +
                               " is not an object with an integer \"step\"");
    }
    if (step->get<std::int64_t>() <= last_step) records.push_back(std::move(record));
  }
  return records;
}

std::string to_line(const MetricsLog::Record& record) { return record.dump() + '\n'; }

// Returns the reason of a failure, or 0. Streams do not keep it, the system call beneath does.
int append(const std::string& path, const std::string& text) {
  errno = 0;
  std::ofstream out(path, std::ios::app | std::ios::binary);
  if (out) out << text << std::flush;
  if (out) return 0;
  return errno != 0 ? errno : EIO;
}

}  // namespace

MetricsLog::MetricsLog(std::string path, std::optional<std::int64_t> resumed_step)
    : path_(std::move(path)) {
  if (resumed_step) records_ = read_up_to(*resumed_step, path_);
  std::string text;
  for (const Record& record : records_) text += to_line(record);
  xgrad::write_file(path_, text);  // at once or not at all: earlier lines are never at risk
}

void MetricsLog::write(const Record& record) {
  std::error_code unknown_size;
  const auto size = fs::file_size(path_, unknown_size);
  if (const int reason = append(path_, to_line(record)); reason != 0) {
    std::error_code ignored;  // the first failure is the one to report
    if (!unknown_size) fs::resize_file(path_, size, ignored);
    throw std::runtime_error("metrics: cannot write \"" + path_ +
                             "\": " + std::generic_category().message(reason));
  }
  records_.push_back(record);
}

}  // namespace examples
