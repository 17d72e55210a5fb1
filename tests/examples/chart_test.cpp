// Charts: that the SVG is well formed and holds the points it was given, whatever the numbers are.
// Not whether a picture is beautiful: that takes eyes.
#include "support/chart.hpp"

#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"

using namespace examples;

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();
constexpr double inf = std::numeric_limits<double>::infinity();

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++n;
  return n;
}

bool has(const std::string& text, const std::string& part) { return count(text, part) > 0; }

// Enough of XML for what we write: every tag is closed in order, no stray '<' or '&'.
bool well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t i = 0; i < svg.size(); ++i) {
    if (svg[i] == '&') {
      const std::string entity = svg.substr(i, svg.find(';', i) - i);
      if (entity != "&amp" && entity != "&lt" && entity != "&gt" && entity != "&quot") return false;
    }
    if (svg[i] != '<') continue;
    const auto end = svg.find('>', i);
    if (end == std::string::npos) return false;
    const std::string tag = svg.substr(i + 1, end - i - 1);
    const std::string name =
        tag.substr(tag[0] == '/', tag.find_first_of(" /", 1) - (tag[0] == '/'));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    i = end;
  }
  return open.empty();
}

bool drawable(const std::string& svg) {
  return well_formed(svg) && svg.starts_with("<svg ") && svg.ends_with("</svg>\n") &&
         !has(svg, "nan") && !has(svg, "inf");
}

const std::vector<Series> two = {{"train", {0, 100, 200}, {4, 2, 1.5}},
                                 {"val", {0, 200}, {4.1, 1.8}}};

}  // namespace

TEST_CASE("a line chart shows its title, its axis labels and the name of every series", "[chart]") {
  const std::string svg = line_chart("Loss", "step", "nats", two);
  CHECK(drawable(svg));
  for (const char* text : {">Loss<", ">step<", ">nats<", ">train<", ">val<"}) CHECK(has(svg, text));
  CHECK(count(svg, "stroke-width=\"2\"") == 2);
}

TEST_CASE("lines that share a colour differ in their dashes", "[chart]") {
  const std::vector<Series> eight(8, {"a", {0, 1}, {0, 1}});
  CHECK(count(line_chart("", "", "", eight), "stroke-dasharray=\"7 4\"") == 4);  // with the legend
  CHECK(count(line_chart("", "", "", two), "dasharray") == 0);
}

TEST_CASE("ticks are multiples of 1, 2 or 5 times a power of ten", "[chart]") {
  const std::string svg = line_chart("", "", "", {{"", {0, 2000}, {0, 1}}});
  for (const char* label : {">0<", ">500<", ">1000<", ">1500<", ">2000<", ">0.2<", ">0.8<"})
    CHECK(has(svg, label));
  const std::string large = line_chart("", "", "", {{"", {0, 1}, {0, 8e6}}});
  for (const char* label : {">2M<", ">4M<", ">8M<"}) CHECK(has(large, label));
}

TEST_CASE("a logarithmic axis places equal ratios at equal distances", "[chart]") {
  const std::string svg =
      line_chart("", "", "", {{"", {1, 10, 100}, {1, 1, 1}}}, {.log_x = true, .points = true});
  std::vector<double> xs;
  for (auto at = svg.find("cx=\""); at != std::string::npos; at = svg.find("cx=\"", at + 1)) {
    xs.push_back(std::stod(svg.substr(at + 4)));
  }
  REQUIRE(xs.size() == 3);
  CHECK(std::abs((xs[1] - xs[0]) - (xs[2] - xs[1])) <= 0.21);  // coordinates have one decimal
}

TEST_CASE("points that are NaN or infinite are left out of a chart", "[chart]") {
  const std::vector<Series> series = {{"", {0, 1, none, 3, inf, 5}, {1, none, 2, 3, 4, -inf}}};
  CHECK(drawable(line_chart("", "", "", series)));
  CHECK(count(line_chart("", "", "", series, {.points = true}), "<circle") == 2);
}

TEST_CASE("values that are not positive are left out of a logarithmic axis", "[chart]") {
  const std::string svg =
      line_chart("", "", "", {{"", {0, 1, 2}, {-1, 0, 10}}}, {.log_y = true, .points = true});
  CHECK(drawable(svg));
  CHECK(count(svg, "<circle") == 1);
}

TEST_CASE("a chart is a valid picture whatever its numbers are", "[chart]") {
  const double values[] = {0,    1,        -1,   1e-300,   1e300, -1e299,
                           1e-7, 12345678, 1e15, 1e15 + 1, inf,   none};
  for (const double a : values) {
    for (const double b : values) {
      for (const bool log : {false, true}) {
        CAPTURE(a, b, log);
        const std::string svg =
            line_chart("", "", "", {{"", {a, b}, {b, a}}}, {.log_x = log, .log_y = log});
        CHECK(drawable(svg));
        CHECK(svg.size() < 6000);  // a bounded number of ticks
      }
    }
  }
}

TEST_CASE("a chart without data or series still is a valid picture", "[chart]") {
  CHECK(drawable(line_chart("Nothing yet", "step", "loss", {})));
  CHECK(drawable(line_chart("Nothing yet", "step", "loss", {{"train", {}, {}}},
                            {.log_x = true, .log_y = true})));
  CHECK(drawable(line_chart("Too small for its frame", "", "", two, {.width = 1, .height = 1})));
}

TEST_CASE("a line of a single point shows as a dot", "[chart]") {
  CHECK(count(line_chart("", "", "", {{"", {3}, {2}}}), "<circle") == 1);
}

TEST_CASE("text in a chart is escaped", "[chart]") {
  const std::string svg =
      line_chart("a < b & \"c\"\x01", "<x>", "&", {{"</svg>", {0}, {0}, "\"/><script>"}});
  CHECK(drawable(svg));
  CHECK(has(svg, "a &lt; b &amp; &quot;c&quot; <"));
  CHECK_FALSE(has(svg, "<script>"));
}

TEST_CASE("a series with more xs than ys is an error that names it", "[chart]") {
  CHECK_THROWS_WITH(line_chart("", "", "", {{"train", {1, 2}, {1}}}),
                    "chart: series \"train\" has 2 xs and 1 ys");
}

TEST_CASE("a decision boundary merges equal cells and stays under a megabyte", "[chart]") {
  ClassGrid grid{-1, 1, -1, 1};
  for (std::size_t row = 0; row < grid.rows; ++row) {
    for (std::size_t column = 0; column < grid.columns; ++column) {
      const double p = grid.x(column) < 0 ? 1 : 0;
      grid.probabilities.insert(grid.probabilities.end(), {p, 1 - p});
    }
  }
  const std::vector<Series> classes = {{"left", {-0.5, -2}, {0, 0}},
                                       {"right", {0.5, none}, {0, 0}}};
  const std::string halves = scatter_over_grid("Halves", "x", "y", grid, classes);
  CHECK(drawable(halves));
  CHECK(count(halves, "width=\"40\" height=\"1\"") == 2 * 80);
  CHECK(count(halves, "r=\"3.5\"") ==
        2);  // the point outside of the rectangle and the NaN are left out

  std::uint32_t noise = 1;
  for (double& p : grid.probabilities)
    p = static_cast<double>((noise = noise * 1664525 + 1013904223) >> 8) / (1 << 24);
  CHECK(scatter_over_grid("Noise", "x", "y", grid, classes).size() < 1'000'000);
  for (double& p : grid.probabilities) p = none;
  CHECK(drawable(scatter_over_grid("A model that diverged", "x", "y", grid, classes)));
}

TEST_CASE("a decision boundary needs a probability per cell and class", "[chart]") {
  const ClassGrid grid{0, 1, 0, 1, 2, 3, std::vector<double>(6)};
  CHECK_THROWS_WITH(scatter_over_grid("", "", "", grid, {{"a", {}, {}}, {"b", {}, {}}}),
                    "chart: a grid of 3 rows, 2 columns and 2 classes got 6 probabilities");
}

TEST_CASE("a plane has one scale for both axes", "[chart]") {
  const std::string svg =
      plane_chart("", "", "", {.dots = {{"corners", {0, 3, 0}, {0, 0, 1}, "#000"}}});
  CHECK(drawable(svg));
  const auto number = [&svg](const std::string& name, int which) {
    std::size_t at = 0;
    for (int i = 0; i <= which; ++i) at = svg.find(name, at) + name.size();
    return std::stod(svg.substr(at));
  };
  // The first circle is the legend's.
  const double across = number("cx=\"", 2) - number("cx=\"", 1);
  const double up = number("cy=\"", 1) - number("cy=\"", 3);
  CHECK(std::abs(across - 3 * up) <= 0.5);
}

TEST_CASE("an arrow runs from its point to its tip, and has a head if there is room", "[chart]") {
  const Plane plane{.lines = {{"", {0, 1}, {0, 1}}}, .arrows = {{{0, 1}, {0, 1}, {1, 0}, {0, 0}}}};
  const std::string svg = plane_chart("Arrows", "x", "y", plane);
  CHECK(drawable(svg));
  const auto path = svg.substr(svg.rfind("<path d=\""));
  CHECK(count(path, "M") == 3);  // two shafts and one head
  Plane broken = plane;
  broken.arrows[0].us = {none, inf};
  const std::string without = plane_chart("", "", "", broken);
  CHECK(drawable(without));
  CHECK(count(without.substr(without.rfind("<path d=\"")), "M") == 0);
  broken.arrows[0].vs.pop_back();
  CHECK_THROWS_WITH(plane_chart("", "", "", broken), "chart: 2 arrows have 2 ys, 2 us and 1 vs");
}

TEST_CASE("a sheet shows every image behind its row's name", "[chart]") {
  const Image dot{.width = 1, .height = 2, .rgb = {1, 2, 3, 4, 5, 6}};
  const std::string svg = image_sheet("Sheet <1>", {{"a & b", {dot, dot}}, {"none", {}}}, 5);
  CHECK(drawable(svg));
  CHECK(has(svg, ">Sheet &lt;1&gt;<"));
  CHECK(has(svg, ">a &amp; b<"));
  CHECK(count(svg, "href=\"data:image/png;base64," + base64(png(dot)) + '"') == 2);
  CHECK(count(svg, "width=\"5\" height=\"10\"") == 2);
}

TEST_CASE("pictures side by side are one picture", "[chart]") {
  const std::string one = line_chart("One", "", "", two, {.width = 300, .height = 200});
  const std::string svg = side_by_side({one, one, one}, 2);
  CHECK(drawable(svg));
  CHECK(count(svg, ">One</text>") == 3);
  CHECK(has(svg, "width=\"600\" height=\"400\""));
  CHECK(has(svg, "<svg x=\"300\" y=\"0\""));
  CHECK(has(svg, "<svg x=\"0\" y=\"200\""));
}
