// Runs the built examples as a user does, in a folder of their own: command, output, status, files.
// POSIX only.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"

namespace program {

#if __has_include(<catch2/catch_test_macros.hpp>)  // version 3 gave the name to ranges
inline auto Contains(const std::string& text) { return Catch::Matchers::ContainsSubstring(text); }
#else
using Catch::Matchers::Contains;
#endif

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

inline std::string contents(const fs::path& path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  return all.str();
}

/// A new folder, gone at the end of the test.
struct Folder {
  fs::path path;

  Folder() {
    std::string name = fs::temp_directory_path() / "xgrad_program_XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string operator/(const std::string& name) const { return path / name; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }
  /// Every file below `name` with its contents; empty if there is no such folder.
  std::map<std::string, std::string> files(const std::string& name) const {
    std::map<std::string, std::string> all;
    if (!fs::is_directory(path / name)) return all;
    for (const auto& entry : fs::recursive_directory_iterator(path / name))
      all[entry.path()] = entry.is_regular_file() ? contents(entry.path()) : "";
    return all;
  }
};

struct Result {
  int status;
  std::string out, err;
};

/// Runs a shell command in `folder`, in which $BIN is where the programs are.
inline Result run(const Folder& folder, const std::string& command) {
  const std::string script = "cd '" + folder.path.string() + "' && BIN='" XGRAD_BIN_DIR "' && { " +
                             command + "\n} >.out 2>.err </dev/null";
  const int status = std::system(script.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          contents(folder.path / ".out"), contents(folder.path / ".err")};
}

inline std::vector<Json> json_lines(const fs::path& path) {
  std::istringstream in(contents(path));
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}

/// Every tag of the XML closes in the order in which tags open; attributes are not looked at.
inline bool is_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const std::size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag.starts_with('?') || tag.starts_with('!') || tag.ends_with('/')) continue;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (!name.starts_with('/')) {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != name.substr(1)) return false;
      open.pop_back();
    }
  }
  return open.empty() && xml.find("</svg>") != std::string::npos;
}

}  // namespace program
