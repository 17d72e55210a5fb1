// What a run shows while it runs: one live line on a terminal, one line per evaluation in a file.
// It measures speed and time left; it knows nothing of models, and keeps no record (metrics.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <string>
#include <string_view>

namespace examples {

bool stdout_is_terminal();
int terminal_width();     ///< columns of the terminal behind stdout, 80 if it does not say
double steady_seconds();  ///< a clock that never jumps

/// The defaults are stdout and the real clock; tests put others in their place.
struct ProgressOptions {
  std::int64_t first_step = 0;  ///< steps done before this run: a resumed run starts there
  std::ostream* out = nullptr;  ///< std::cout
  bool live = stdout_is_terminal();
  std::function<int()> width = terminal_width;  // asked at every redraw: windows change their size
  std::function<double()> now = steady_seconds;
};

/// Progress progress(steps);
/// for (...) { progress.step(done, loss, tokens);  if (...) progress.evaluation(loss, val_loss); }
class Progress {
 public:
  explicit Progress(std::int64_t total_steps, ProgressOptions options = {});
  ~Progress() { finish(); }  // so that an error message starts on a line of its own
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// After each training step: `done` counts them all, `tokens` are those of this step.
  void step(std::int64_t done, double train_loss, std::int64_t tokens);

  /// After each evaluation. The time since the last step counts as evaluation, not as training.
  void evaluation(double train_loss, double val_loss);

  /// A line of text that stays, above the live line.
  void print(std::string_view text);

  /// Leaves the live line as it stands now and moves below it. A further step starts a new one.
  void finish();

  double tokens_per_second() const;  ///< in recent steps, without evaluations; 0 before the first
  double elapsed() const;            ///< seconds since construction

 private:
  std::string line() const;
  void draw();
  void draw_now();

  std::int64_t total_, first_, done_;
  ProgressOptions options_;
  double train_loss_ = std::numeric_limits<double>::quiet_NaN();
  double val_loss_ = std::numeric_limits<double>::quiet_NaN();  // NaN: none yet
  double start_, mark_;  // mark_: end of the last step or evaluation
  double recent_steps_ = 0, recent_tokens_ = 0,
         recent_seconds_ = 0;  // each sum fades by the same factor
  double evaluation_seconds_ = 0;
  double drawn_at_ = -std::numeric_limits<double>::infinity();
  bool open_ = false;  // the cursor stands on the live line
};

}  // namespace examples
