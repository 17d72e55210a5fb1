// What every workload program shares, xgrad's and the peer's: numbers from the command line, and
// the loop that runs one sample per line of stdin. It knows no tensors; bench/run.py is at the
// other end.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// `--width 128 --threads 2`: names and integers, nothing else.
class Settings {
 public:
  Settings(int argc, char** argv) {
    for (int i = 1; i + 1 < argc; i += 2) numbers_[argv[i]] = std::stol(argv[i + 1]);
  }
  long operator[](const std::string& name) const {
    const auto found = numbers_.find("--" + name);
    if (found == numbers_.end()) throw std::invalid_argument("missing --" + name);
    return found->second;
  }

 private:
  std::map<std::string, long> numbers_;
};

/// What this process occupies, in bytes: "VmRSS" now, "VmHWM" at most so far.
inline long occupied(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name; status.ignore(256, '\n'))
    if (long kib; name == what + ":" && status >> kib) return kib * 1024;
  return 0;
}

/// Calls `step`, the workload once, as often as asked. `value` says what the last step computed:
/// the driver compares it with the peer's, so that nobody is timed doing something else.
///
///     const Session session({argc, argv});         // the library has started, the model is not
///     made Model model(session["width"]); session.serve([&] { … }, [&] { return loss; });
class Session {
 public:
  explicit Session(Settings settings) : settings_(std::move(settings)) {
    peak_before_ = occupied("VmHWM");
    std::ofstream("/proc/self/clear_refs") << 5;  // from here on, VmHWM is the peak of the workload
    start_ = occupied("VmRSS");
  }
  long operator[](const std::string& name) const { return settings_[name]; }

  void serve(const std::function<void()>& step, const std::function<double()>& value) const {
    std::printf("{\"values\": [");
    for (int i = 0; i < compared_steps; ++i) {
      step();
      std::printf("%s%.9g", i ? ", " : "", value());
    }
    const long peak = occupied("VmHWM");
    std::printf("], \"growth\": %ld, \"peak\": %ld", peak - start_, std::max(peak, peak_before_));
    if (settings_["sample-ms"] == 0) {  // asked for its memory only
      std::printf("}\n");
      return;
    }
    const double target = 1e-3 * static_cast<double>(settings_["sample-ms"]);
    double once = seconds(step, 1);
    for (double spent = once; spent < target;) {
      const double latest = seconds(step, 1);
      once = std::min(once, latest);
      spent += latest;
    }
    const int steps = std::max(1, static_cast<int>(std::lround(target / once)));
    std::printf(", \"steps\": %d}\n", steps);
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
      if (steps > 1) seconds(step, (steps + 9) / 10);  // others have used the caches since
      std::printf("{\"seconds\": %.9g}\n", seconds(step, steps) / steps);
      std::fflush(stdout);
    }
  }

 private:
  static constexpr int compared_steps = 3;

  static double seconds(const std::function<void()>& step, int times) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < times; ++i) step();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Settings settings_;
  long peak_before_, start_;
};

}  // namespace bench
