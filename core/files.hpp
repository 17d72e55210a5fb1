// Whole files: read at once, or written so that a crash leaves the old one or the new, never half.
// No formats here: see safetensors.hpp for tensors.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// The bytes of a file. Throws std::runtime_error that names the path and the system's reason.
std::string read_file(const std::string& path);

/// Replaces or creates a file in one step: pieces go to a temporary file in the same folder,
/// `commit` flushes it to the disk and renames it to `path`. If a call throws, or no `commit`
/// comes, the temporary is removed and `path` is as it was. Every failure is a std::runtime_error
/// with path and reason.
///
/// An existing file keeps its permissions. A symbolic link is replaced, not followed; folders and
/// devices are refused. A killed process may leave its `.xgrad-*.tmp` behind.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  /// Once, after the last `write`. Throws std::logic_error after a failure or a second time.
  void commit();

 private:
  void discard();
  [[noreturn]] void fail(int reason);

  std::string path_, temporary_;  // no temporary and no descriptor: committed or discarded
  int descriptor_ = -1;
};

/// An AtomicFile with one piece.
void write_file(const std::string& path, std::string_view text);

}  // namespace xgrad::inline XGRAD_PRECISION
