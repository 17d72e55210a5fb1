// Metrics on disk: what is in the file after each call, after a resume, and after a failure.
// Full disks are played by /dev/full and by a limit on file sizes: no disk is filled.
#include "support/metrics.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include "catch.hpp"

using namespace examples;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("metrics_test_" + std::to_string(getpid()));
  std::string file = path / "metrics.jsonl";

  Folder() { fs::create_directory(path); }
  ~Folder() { fs::remove_all(path); }

  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(file).rdbuf();
    return all.str();
  }
};

}  // namespace

TEST_CASE("each metrics line is on disk when write returns, with its keys in order", "[metrics]") {
  const Folder folder;
  MetricsLog log(folder.file);
  log.write({{"step", 100}, {"loss", 2.5}, {"at", "a"}});
  CHECK(folder.text() == "{\"step\":100,\"loss\":2.5,\"at\":\"a\"}\n");
  log.write({{"step", 200}, {"loss", std::nan("")}});
  CHECK(folder.text() ==
        "{\"step\":100,\"loss\":2.5,\"at\":\"a\"}\n{\"step\":200,\"loss\":null}\n");
  CHECK(log.records().size() == 2);
}

TEST_CASE("a new run starts with an empty metrics file", "[metrics]") {
  const Folder folder;
  std::ofstream(folder.file) << "anything\n";
  const MetricsLog log(folder.file);
  CHECK(folder.text().empty());
}

TEST_CASE("a resumed run keeps the lines up to its step and drops the others", "[metrics]") {
  const Folder folder;
  std::ofstream(folder.file) << "{\"step\":0,\"b\":1.5,\"a\":2}\n{\"step\":100}\n{\"step\":200}\n";
  MetricsLog log(folder.file, 100);
  CHECK(folder.text() == "{\"step\":0,\"b\":1.5,\"a\":2}\n{\"step\":100}\n");
  log.write({{"step", 150}});
  CHECK(log.records().size() == 3);
  CHECK(log.records().at(0).at("b") == 1.5);
  CHECK(fs::directory_iterator(folder.path) != fs::directory_iterator());
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);  // no temporary file is left
}

TEST_CASE("a resumed run whose metrics are gone starts a new file", "[metrics]") {
  const Folder folder;
  const MetricsLog log(folder.file, 100);
  CHECK(log.records().empty());
  CHECK(fs::exists(folder.file));
}

TEST_CASE("a last metrics line that was cut short is dropped when resuming", "[metrics]") {
  const Folder folder;
  std::ofstream(folder.file) << "{\"step\":50}\n{\"step\":1";
  MetricsLog log(folder.file, 100);
  CHECK(folder.text() == "{\"step\":50}\n");
}

TEST_CASE("a damaged metrics line is an error that names file and line, and nothing is lost",
          "[metrics]") {
  const Folder folder;
  const std::string before = "{\"step\":50}\n{\"loss\":1}\n{\"step\":150}\n";
  std::ofstream(folder.file) << before;
  CHECK_THROWS_WITH(
      MetricsLog(folder.file, 100),
      "metrics: \"" + folder.file + "\" line 2 is not an object with an integer \"step\"");
  CHECK(folder.text() == before);
}

TEST_CASE("a metrics file that cannot be written is an error with path and reason", "[metrics]") {
  const Folder folder;
  CHECK_THROWS_AS(MetricsLog(folder.path / "missing" / "metrics.jsonl"), std::runtime_error);
  MetricsLog log(folder.file);
  fs::remove_all(folder.path);
  CHECK_THROWS_WITH(log.write({{"step", 1}}),
                    "metrics: cannot write \"" + folder.file + "\": No such file or directory");
  CHECK(log.records().empty());
}

TEST_CASE("a full disk is reported when a metrics line is written", "[metrics]") {
  const Folder folder;
  MetricsLog log(folder.file);
  fs::remove(folder.file);
  fs::create_symlink("/dev/full", folder.file);  // a device that is always full
  CHECK_THROWS_WITH(log.write({{"step", 1}}),
                    "metrics: cannot write \"" + folder.file + "\": No space left on device");
}

TEST_CASE("a metrics line that only fits in part is taken back", "[metrics]") {
  const Folder folder;
  MetricsLog log(folder.file);
  log.write({{"step", 1}});
  // A limit on the size of files stands for a disk with a few bytes left.
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto old_action = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit few = {20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &few);
  CHECK_THROWS_WITH(log.write({{"step", 2}, {"loss", 2.5}}),
                    "metrics: cannot write \"" + folder.file + "\": File too large");
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_action);
  CHECK(folder.text() == "{\"step\":1}\n");
  log.write({{"step", 2}});
  CHECK(folder.text() == "{\"step\":1}\n{\"step\":2}\n");
}
