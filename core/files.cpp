// Files by the system's own calls: the standard streams cannot fsync, nor say why they fail.
// POSIX only; every descriptor is closed on every path.
#include <xgrad/core/files.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <xgrad/core/error.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

std::string reason_text(int reason) { return std::generic_category().message(reason); }

[[noreturn]] void fail_read(const char* step, const std::string& path, int reason) {
  throw std::runtime_error(
      concat_text("read: cannot ", step, " \"", path, "\": ", reason_text(reason)));
}

// With a slash at its end.
std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "./" : path.substr(0, slash + 1);
}

}  // namespace

std::string read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) fail_read("open", path, errno);
  struct Closer {
    int descriptor;
    ~Closer() { ::close(descriptor); }
  } closer{descriptor};

  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_read("read", path, errno);
  if (S_ISDIR(status.st_mode)) fail_read("read", path, EISDIR);
  // The size is a hint: pipes and /proc report none, and a file may grow. One byte more than the
  // size lets an ordinary file reach its end without growing the buffer.
  std::string bytes(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t filled = 0;
  while (true) {
    const ssize_t count = ::read(descriptor, bytes.data() + filled, bytes.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_read("read", path, errno);
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
    if (filled == bytes.size()) bytes.resize(2 * bytes.size() + 4096);
  }
  bytes.resize(filled);
  return bytes;
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists && S_ISDIR(old.st_mode)) fail(EISDIR);
  require<std::runtime_error>(!exists || S_ISREG(old.st_mode), "write: \"", path,
                              "\" is not a regular file");
  // O_EXCL makes the name ours, whatever other threads, processes or earlier crashes left there.
  static std::atomic<unsigned> serial{0};
  std::string candidate;
  do {
    candidate = concat_text(folder_of(path), ".xgrad-", ::getpid(), '-', serial++, ".tmp");
    descriptor_ = ::open(candidate.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail(errno);
  temporary_ = std::move(candidate);
  if (exists && ::fchmod(descriptor_, old.st_mode & 07777) != 0) fail(errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::write(std::span<const std::byte> bytes) {
  require<std::logic_error>(descriptor_ >= 0, "write: \"", path_,
                            "\" is already committed or failed");
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  require<std::logic_error>(descriptor_ >= 0, "write: \"", path_,
                            "\" is already committed or failed");
  // Contents first, then the name: in the other order a power cut could leave an empty file. Some
  // file systems report a full disk or an exceeded quota only here, and not by `write`.
  if (::fsync(descriptor_) != 0) fail(errno);
  if (::close(std::exchange(descriptor_, -1)) != 0) fail(errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(errno);
  temporary_.clear();
  // The new name survives a power cut once its folder is flushed too. A file system that cannot
  // flush folders has done its best: the file is whole and in place, so that is no failure.
  const int folder = ::open(folder_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
}

void AtomicFile::discard() {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(int reason) {
  discard();
  throw std::runtime_error(
      concat_text("write: cannot write \"", path_, "\": ", reason_text(reason)));
}

void write_file(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace xgrad::inline XGRAD_PRECISION
