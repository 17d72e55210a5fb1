// The folder that takes a program's results: made when first needed, unmade if nothing came of it.
// Files inside it are written by others (write_file, MetricsLog, save).
#pragma once

#include <filesystem>
#include <string>

namespace examples {

/// Makes the folder, with its parents, unless it is there. Until `keep` is called, the destructor
/// removes again what was made: a program that fails at its first file leaves no empty folder.
/// Throws std::runtime_error with the path and the reason.
class OutputFolder {
 public:
  explicit OutputFolder(std::string path);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  void keep() { made_.clear(); }
  std::string operator/(const std::string& file) const { return path_ + '/' + file; }

 private:
  std::string path_;
  std::filesystem::path made_;  // the outermost folder that did not exist before
};

}  // namespace examples
