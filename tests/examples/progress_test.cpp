// The progress line, driven by a clock that stands still until told otherwise and a terminal made
// of a string. Nothing here needs a real terminal or takes real time.
#include "support/progress.hpp"

#include <sstream>
#include <string>

#include "catch.hpp"

using namespace examples;

namespace {

struct Screen {
  std::ostringstream out;
  double now = 100;
  int width = 80;

  ProgressOptions options(bool live, std::int64_t first_step = 0) {
    return {first_step, &out, live, [this] { return width; }, [this] { return now; }};
  }

  // What was written since the last look.
  std::string look() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

}  // namespace

TEST_CASE("without a terminal there is one plain line per evaluation and nothing else",
          "[progress]") {
  Screen screen;
  Progress progress(2000, screen.options(false));
  for (int step = 1; step <= 400; ++step) {
    screen.now += 0.025;
    progress.step(step, 2.0123, 855);
  }
  CHECK(screen.look().empty());
  progress.evaluation(2.0123, 2.0987);
  CHECK(screen.look() == "step  400/2000  train 2.0123  val 2.0987  34.2k tok/s  0:40 left\n");
  progress.print("saved");
  progress.finish();
  CHECK(screen.look() == "saved\n");
}

TEST_CASE("on a terminal one line is redrawn, at most ten times per second", "[progress]") {
  Screen screen;
  Progress progress(1000, screen.options(true));
  int redraws = 0;
  for (int step = 1; step <= 500; ++step) {  // two seconds
    screen.now += 0.004;
    progress.step(step, 1.5, 100);
    const std::string text = screen.look();
    CHECK(text.find('\n') == std::string::npos);
    redraws += !text.empty();
  }
  CHECK(redraws >= 15);
  CHECK(redraws <= 20);
}

TEST_CASE("the live line is cut to the width of the terminal", "[progress]") {
  Screen screen;
  screen.width = 20;
  Progress progress(2000, screen.options(true));
  screen.now += 1;
  progress.step(1, 2.5, 100);
  CHECK(screen.look() == "\rstep    1/2000  tra\x1b[K");
  screen.width = 0;
  screen.now += 1;
  progress.step(2, 2.5, 100);
  CHECK(screen.look() == "\r\x1b[K");
}

TEST_CASE("a printed line replaces the live line, which is drawn again below", "[progress]") {
  Screen screen;
  Progress progress(10, screen.options(true));
  progress.print("before");
  CHECK(screen.look() == "before\n");
  screen.now += 1;
  progress.step(1, 2.5, 100);
  screen.look();
  progress.print("a sample");
  CHECK(screen.look() ==
        "\r\x1b[Ka sample\n\rstep  1/10  train 2.5000  100 tok/s  0:09 left\x1b[K");
}

TEST_CASE("finishing leaves the last state on the screen, once", "[progress]") {
  Screen screen;
  {
    Progress progress(2, screen.options(true));
    screen.now += 61;
    progress.step(1, 2.5, 10);
    progress.step(2, 2.25, 10);  // at the same moment: not drawn
    screen.look();
    progress.finish();
    CHECK(screen.look() == "\rstep 2/2  train 2.2500  0 tok/s  1:01 in all\x1b[K\n");
  }
  CHECK(screen.look().empty());
}

TEST_CASE("the speed follows recent steps and leaves evaluations out", "[progress]") {
  Screen screen;
  Progress progress(10'000, screen.options(false));
  CHECK(progress.tokens_per_second() == 0);
  for (int step = 1; step <= 1000; ++step) {
    screen.now += 1;
    progress.step(step, 1, step <= 500 ? 1000 : 3000);
    if (step % 100 == 0) {
      screen.now += 50;
      progress.evaluation(1, 1);
    }
  }
  CHECK_THAT(progress.tokens_per_second(), WithinRel(3000.0, 1e-6));
  // 9000 steps of 1 s, and 50 s of evaluation for every hundred: 13500 s.
  screen.look();
  progress.evaluation(1, 1);
  CHECK(screen.look() == "step  1000/10000  train 1.0000  val 1.0000  3.0k tok/s  3:45:00 left\n");
  CHECK(progress.elapsed() == 1500);
}

TEST_CASE("a resumed run estimates the time left from its own steps", "[progress]") {
  Screen screen;
  Progress progress(200, screen.options(false, 100));
  screen.now += 10;
  progress.evaluation(1, 2);  // before the first step: nothing to estimate from
  CHECK(screen.look() == "step 100/200  train 1.0000  val 2.0000\n");
  screen.now += 2;
  progress.step(101, 1, 4'000'000);
  progress.evaluation(1, 2);
  CHECK(screen.look() == "step 101/200  train 1.0000  val 2.0000  2.0M tok/s  3:18 left\n");
}
