// How the progress line is measured, composed and redrawn.
// No terminal library: a carriage return and "erase to the end of the line" are all it sends.
#include "progress.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>

namespace examples {
namespace {

constexpr double memory_seconds =
    20;  // how far back "recent" reaches: steady enough to read, quick to notice a change
constexpr double redraw_seconds = 0.1;

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[96];  // every pattern below fits: the longest is two 64-bit integers
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string duration(double seconds) {
  // A run that would take over a century has a speed not worth a figure.
  const long long s = std::llround(std::clamp(seconds, 0.0, 3.2e9));
  if (s < 3600) return format("%lld:%02lld", s / 60, s % 60);
  return format("%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

std::string rate(double per_second) {
  if (per_second >= 1e6) return format("%.1fM", per_second / 1e6);
  if (per_second >= 1e3) return format("%.1fk", per_second / 1e3);
  return format("%.0f", per_second);
}

}  // namespace

bool stdout_is_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

int terminal_width() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(std::int64_t total_steps, ProgressOptions options)
    : total_(total_steps),
      first_(options.first_step),
      done_(options.first_step),
      options_(std::move(options)),
      start_(options_.now()),
      mark_(start_) {
  if (options_.out == nullptr) options_.out = &std::cout;
}

void Progress::step(std::int64_t done, double train_loss, std::int64_t tokens) {
  const double now = options_.now(), seconds = now - mark_;
  mark_ = now;
  const double fade = std::exp(-seconds / memory_seconds);
  recent_steps_ = recent_steps_ * fade + static_cast<double>(done - done_);
  recent_tokens_ = recent_tokens_ * fade + static_cast<double>(tokens);
  recent_seconds_ = recent_seconds_ * fade + seconds;
  done_ = done;
  train_loss_ = train_loss;
  draw();
}

void Progress::evaluation(double train_loss, double val_loss) {
  const double now = options_.now();
  // One before the first step does not recur with the steps: it says nothing of the time left.
  if (done_ > first_) evaluation_seconds_ += now - mark_;
  mark_ = now;
  train_loss_ = train_loss;
  val_loss_ = val_loss;
  if (options_.live) {
    draw();
  } else {
    *options_.out << line() << std::endl;  // flushed: someone may be following the file
  }
}

void Progress::print(std::string_view text) {
  if (!open_) {
    *options_.out << text << std::endl;
    return;
  }
  *options_.out << "\r\x1b[K" << text << '\n';
  draw_now();
}

void Progress::finish() {
  if (!open_) return;
  draw_now();
  *options_.out << std::endl;
  open_ = false;
}

double Progress::tokens_per_second() const {
  return recent_seconds_ > 0 ? recent_tokens_ / recent_seconds_ : 0;
}

double Progress::elapsed() const { return options_.now() - start_; }

std::string Progress::line() const {
  const std::string total = std::to_string(total_);
  std::string text = format("step %*lld/%s  train %.4f", static_cast<int>(total.size()),
                            static_cast<long long>(done_), total.c_str(), train_loss_);
  if (!std::isnan(val_loss_)) text += format("  val %.4f", val_loss_);
  if (tokens_per_second() > 0) text += "  " + rate(tokens_per_second()) + " tok/s";
  if (done_ >= total_) {
    text += "  " + duration(elapsed()) + " in all";
  } else if (done_ > first_ && recent_steps_ > 0) {
    // Steps at their recent speed, and for each the share of evaluation that steps have had so far.
    const double per_step =
        recent_seconds_ / recent_steps_ + evaluation_seconds_ / static_cast<double>(done_ - first_);
    text += "  " + duration(static_cast<double>(total_ - done_) * per_step) + " left";
  }
  return text;
}

void Progress::draw() {
  if (options_.live && options_.now() - drawn_at_ >= redraw_seconds) draw_now();
}

void Progress::draw_now() {
  // The last column stays free: some terminals wrap as soon as it is written.
  const auto room = static_cast<std::size_t>(std::max(options_.width() - 1, 0));
  *options_.out << '\r' << line().substr(0, room) << "\x1b[K" << std::flush;
  drawn_at_ = options_.now();
  open_ = true;
}

}  // namespace examples
