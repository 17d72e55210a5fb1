// Whole files: what is read, and that a write that fails at any step changes nothing.
// What needs a broken disk (fsync, close) is not provoked here: a limit of file size stands in.
#include <xgrad/core/files.hpp>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

// A folder of this test's own, removed with all that is in it.
struct Folder {
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "xgrad-files-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
    path = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path); }

  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::ptrdiff_t count() const {
    const std::filesystem::directory_iterator begin(path), end;
    return std::distance(begin, end);
  }

  std::string path;
};

// While it lives, files cannot grow beyond `size`: writes then fail as they do on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t size) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit lowered{size, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &lowered);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_;
  void (*handler_)(int);
};

}  // namespace

TEST_CASE("a file reads back as it was written", "[core][files]") {
  const Folder folder;
  for (const std::size_t size : {0, 1, 4096, 100'000}) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7);
    write_file(folder / "a", text);
    CHECK(read_file(folder / "a") == text);
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("files that do not know their size are read to the end", "[core][files]") {
  CHECK(read_file("/dev/null").empty());
  if (std::filesystem::exists("/proc/self/status")) {
    CHECK(read_file("/proc/self/status").find("Pid:") != std::string::npos);
  }
}

TEST_CASE("reading names the path and the reason", "[core][files]") {
  const Folder folder;
  CHECK(error_of<std::runtime_error>([&] { read_file(folder / "none"); }) ==
        "read: cannot open \"" + folder.path + "/none\": No such file or directory");
  CHECK(error_of<std::runtime_error>([&] { read_file(folder.path); }) ==
        "read: cannot read \"" + folder.path + "\": Is a directory");
  if (::geteuid() != 0) {  // root may read everything
    write_file(folder / "secret", "x");
    ::chmod((folder / "secret").c_str(), 0);
    CHECK(error_of<std::runtime_error>([&] { read_file(folder / "secret"); }) ==
          "read: cannot open \"" + folder.path + "/secret\": Permission denied");
  }
}

TEST_CASE("pieces become one file, and only at commit", "[core][files]") {
  const Folder folder;
  write_file(folder / "a", "old");
  AtomicFile file(folder / "a");
  file.write("one ");
  file.write(std::as_bytes(std::span("two", 3)));
  file.write("");
  CHECK(read_file(folder / "a") == "old");
  file.commit();
  CHECK(read_file(folder / "a") == "one two");
  CHECK(folder.count() == 1);
  CHECK_THROWS_AS(file.commit(), std::logic_error);
  CHECK_THROWS_AS(file.write("three"), std::logic_error);
}

TEST_CASE("without commit the old file stays and the temporary goes", "[core][files]") {
  const Folder folder;
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
    CHECK(folder.count() == 2);
  }
  CHECK(read_file(folder / "a") == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("two writers of one file do not disturb each other", "[core][files]") {
  const Folder folder;
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  CHECK(read_file(folder / "a") == "first");
  CHECK(folder.count() == 1);
}

TEST_CASE("a full disk leaves the old file and no temporary", "[core][files]") {
  const Folder folder;
  write_file(folder / "a", "old");
  std::string error, second_error;
  {
    const FileSizeLimit limit(1000);
    AtomicFile file(folder / "a");
    file.write(std::string(900, 'x'));
    error = error_of<std::runtime_error>(
        [&] { file.write(std::string(900, 'x')); });  // 100 bytes of it fit
    try {
      file.commit();
    } catch (const std::logic_error& logic_error) {
      second_error = logic_error.what();
    }
  }
  CHECK(error == "write: cannot write \"" + folder.path + "/a\": File too large");
  CHECK(second_error == "write: \"" + folder.path + "/a\" is already committed or failed");
  CHECK(read_file(folder / "a") == "old");
  CHECK(folder.count() == 1);
}

TEST_CASE("writing names the path and the reason", "[core][files]") {
  const Folder folder;
  CHECK(error_of<std::runtime_error>([&] { write_file(folder / "none/a", "x"); }) ==
        "write: cannot write \"" + folder.path + "/none/a\": No such file or directory");
  write_file(folder / "file", "x");
  CHECK(error_of<std::runtime_error>([&] { write_file(folder / "file/a", "x"); }) ==
        "write: cannot write \"" + folder.path + "/file/a\": Not a directory");
  CHECK(error_of<std::runtime_error>([&] { write_file(folder.path, "x"); }) ==
        "write: cannot write \"" + folder.path + "\": Is a directory");
  CHECK(error_of<std::runtime_error>([&] { write_file("/dev/null", "x"); }) ==
        "write: \"/dev/null\" is not a regular file");
  if (::geteuid() != 0) {  // root may write everywhere
    ::chmod(folder.path.c_str(), 0500);
    const std::string error = error_of<std::runtime_error>([&] { write_file(folder / "a", "x"); });
    ::chmod(folder.path.c_str(), 0700);
    CHECK(error == "write: cannot write \"" + folder.path + "/a\": Permission denied");
  }
  CHECK(folder.count() == 1);
}

TEST_CASE("a rename that fails leaves no temporary", "[core][files]") {
  const Folder folder;
  AtomicFile file(folder / "a");
  file.write("x");
  std::filesystem::create_directory(folder / "a");  // meanwhile, by somebody else
  CHECK(error_of<std::runtime_error>([&] { file.commit(); }) ==
        "write: cannot write \"" + folder.path + "/a\": Is a directory");
  CHECK(folder.count() == 1);
}

TEST_CASE("a replaced file keeps its permissions, a new one gets the usual", "[core][files]") {
  const Folder folder;
  const ::mode_t mask = ::umask(022);
  write_file(folder / "a", "old");
  ::umask(mask);
  struct stat status {};
  REQUIRE(::stat((folder / "a").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0644);
  ::chmod((folder / "a").c_str(), 0600);
  write_file(folder / "a", "new");
  REQUIRE(::stat((folder / "a").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("a symbolic link is replaced and its target untouched", "[core][files]") {
  const Folder folder;
  write_file(folder / "target", "old");
  std::filesystem::create_symlink(folder / "target", folder / "link");
  write_file(folder / "link", "new");
  CHECK(read_file(folder / "target") == "old");
  CHECK(read_file(folder / "link") == "new");
  CHECK_FALSE(std::filesystem::is_symlink(folder / "link"));
}

TEST_CASE("a name as long as the file system allows can be written", "[core][files]") {
  const Folder folder;
  const std::string name(255, 'n');
  write_file(folder / name, "x");
  CHECK(read_file(folder / name) == "x");
}
