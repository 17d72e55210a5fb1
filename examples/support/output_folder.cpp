// See output_folder.hpp.
#include "output_folder.hpp"

#include <stdexcept>
#include <system_error>
#include <utility>

namespace examples {
namespace fs = std::filesystem;

OutputFolder::OutputFolder(std::string path) : path_(std::move(path)) {
  const fs::path folder = fs::absolute(path_);
  std::error_code ignored, reason;
  for (fs::path p = folder; !fs::exists(fs::symlink_status(p, ignored)) && p.has_relative_path();
       p = p.parent_path()) {
    made_ = p;
  }
  fs::create_directories(folder, reason);
  if (!reason && !fs::is_directory(folder, ignored))
    reason = std::make_error_code(std::errc::not_a_directory);
  if (!reason) return;
  if (!made_.empty()) fs::remove_all(made_, ignored);  // parents may have been made
  throw std::runtime_error("cannot make the folder \"" + path_ + "\": " + reason.message());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!made_.empty()) fs::remove_all(made_, ignored);
}

}  // namespace examples
