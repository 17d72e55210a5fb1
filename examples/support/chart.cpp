// From numbers to SVG: scales and their ticks, the frame around a plot, then what is drawn inside.
// Everything is laid out from estimated text widths: there is no font to ask.
#include "chart.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <utility>

namespace examples {
namespace {

constexpr double font = 13, line_height = 20, right_margin = 24, bottom_margin = 52;

// Okabe & Ito 2008, "Color universal design", in an order whose first two are far apart.
struct Rgb {
  double red, green, blue;
};
constexpr std::array<Rgb, 6> palette = {
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}}};

// Streams and printf follow the locale, to_chars writes the decimal point that SVG wants.
std::string fixed(double value, int decimals = 1) {
  std::array<char, 400> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value,
                                 std::chars_format::fixed, decimals);
  std::string result(text.data(), end.ptr);
  if (result.find('.') != std::string::npos) result.erase(result.find_last_not_of('0') + 1);
  if (result.back() == '.') result.pop_back();
  return result == "-0" ? "0" : result;
}

std::string hex(const Rgb& colour) {
  std::string text = "#";
  for (const double part : {colour.red, colour.green, colour.blue}) {
    const auto byte = std::lround(std::clamp(part, 0.0, 255.0));
    text += "0123456789abcdef"[byte / 16];
    text += "0123456789abcdef"[byte % 16];
  }
  return text;
}

std::string escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    // clang-format off
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      // XML has no control characters.
      default: result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    // clang-format on
  }
  return result;
}

// The pattern with each {} replaced by the next value: numbers as SVG wants them, text as it is.
struct Piece {
  std::string text;
  Piece(double value) : text(fixed(value)) {}
  Piece(std::string_view value) : text(value) {}
  Piece(const std::string& value) : text(value) {}
  Piece(const char* value) : text(value) {}
};

std::string fill(std::string_view pattern, std::initializer_list<Piece> pieces) {
  std::string result;
  for (const Piece& piece : pieces) {
    const auto hole = pattern.find("{}");
    result.append(pattern.substr(0, hole)).append(piece.text);
    pattern.remove_prefix(hole + 2);
  }
  return result.append(pattern);
}

// How a series is drawn. Those that must share a colour of the palette differ in their dashes.
struct Pen {
  std::string colour, dashes;  // dashes: an attribute of a line, or nothing

  Pen(const Series& series, std::size_t index)
      : colour(series.colour.empty() ? hex(palette[index % palette.size()])
                                     : escape(series.colour)) {
    constexpr std::array dashed = {"", R"(stroke-dasharray="7 4")", R"(stroke-dasharray="2 4")"};
    if (series.colour.empty()) dashes = dashed[index / palette.size() % dashed.size()];
  }
};

double text_width(std::string_view text) {
  const auto starts_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  };
  const auto characters = std::count_if(text.begin(), text.end(), starts_character);  // of UTF-8
  return 0.58 * font * static_cast<double>(characters);
}

// ---- scales -------------------------------------------------------------------------------------

struct Tick {
  double value;
  std::string label;
};

// Labels of one axis share a unit that spares the reader the counting of zeros: k, M, G, and beyond
// these, or far below 1, a power of ten.
struct Unit {
  double size = 1;
  std::string sign = "";

  explicit Unit(double largest) {
    const int exponent = static_cast<int>(std::floor(std::log10(largest)));
    if (exponent >= 12 || exponent < -3) {
      size = std::pow(10, exponent), sign = "e" + std::to_string(exponent);
    } else if (exponent >= 9) {
      size = 1e9, sign = "G";
    } else if (exponent >= 6) {
      size = 1e6, sign = "M";
    } else if (exponent >= 4) {
      size = 1e3, sign = "k";
    }
  }
};

// About `wanted` multiples in [lo, hi] of a step that is 1, 2 or 5 times a power of ten.
std::vector<Tick> linear_ticks(double lo, double hi, int wanted) {
  const double rough = 0.75 * (hi - lo) / wanted,
               power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5, 2, 1}) {
    if (factor * power >= rough) step = factor * power;
  }
  const Unit unit(std::max(std::abs(lo), std::abs(hi)));
  const double digits = std::ceil(-std::log10(step / unit.size) - 1e-9);
  const int decimals = static_cast<int>(std::clamp(digits, 0.0, 12.0));
  const double first = std::ceil(lo / step - 1e-9), last = std::floor(hi / step + 1e-9);
  std::vector<Tick> ticks;
  // Counted in whole numbers: far from zero, adding a step may change nothing, and never reach hi.
  for (int i = 0; i <= std::min(last - first, 2.0 * wanted); ++i) {
    const double value = (first + i) * step;
    const std::string label = fixed(value / unit.size, decimals);
    ticks.push_back({value, label == "0" ? label : label + unit.sign});
  }
  return ticks;
}

// Powers of ten, so many apart that there are at most `wanted`; over few decades, 2 and 5 between.
std::vector<Tick> log_ticks(double lo, double hi, int wanted) {
  const double decades = std::log10(hi / lo);
  if (decades < 1) return linear_ticks(lo, hi, wanted);  // too short for powers of ten
  const int stride = static_cast<int>(std::ceil(decades / wanted));
  const int first = static_cast<int>(std::floor(std::log10(lo)));
  const int last = static_cast<int>(std::floor(std::log10(hi)));
  std::vector<Tick> ticks;
  for (int exponent = first; exponent <= last; ++exponent) {
    if (exponent % stride != 0) continue;
    for (const double factor : {1, 2, 5}) {
      if (factor > 1 && decades > 3) continue;
      const double value = factor * std::pow(10, exponent);
      if (value < lo * (1 - 1e-9) || value > hi * (1 + 1e-9)) continue;
      const bool plain = std::abs(exponent) <= 3;
      ticks.push_back({value, plain ? fixed(value, std::max(0, -exponent))
                                    : fixed(factor) + "e" + std::to_string(exponent)});
    }
  }
  return ticks;
}

// Maps values to [0, 1].
class Scale {
 public:
  // Grows around the values that it is shown and stays usable when there are none, or only one.
  explicit Scale(bool log) : log_(log) {}

  // Beyond these limits, differences would overflow.
  bool shows(double value) const { return std::abs(value) < 1e300 && (!log_ || value > 1e-300); }

  void include(double value) {
    lo_ = std::min(lo_, transform(value));
    hi_ = std::max(hi_, transform(value));
  }

  void settle(double margin) {
    if (lo_ > hi_) lo_ = 0, hi_ = 1;
    const double size = std::max(std::abs(lo_), std::abs(hi_));
    if (hi_ - lo_ <= 1e-9 * size || hi_ == lo_) {  // flat, as far as a picture can tell
      const double room = log_ || size == 0 ? 0.5 : 0.1 * size;
      lo_ -= room, hi_ += room;
    }
    const double extra = margin * (hi_ - lo_);
    lo_ -= extra, hi_ += extra;
  }

  // At least this long, about the same middle.
  void widen(double length) {
    const double extra = std::max(0.0, length - (hi_ - lo_)) / 2;
    lo_ -= extra, hi_ += extra;
  }

  double operator()(double value) const { return (transform(value) - lo_) / (hi_ - lo_); }
  double length() const { return hi_ - lo_; }

  std::vector<Tick> ticks(int wanted) const {
    return log_ ? log_ticks(std::pow(10, lo_), std::pow(10, hi_), wanted)
                : linear_ticks(lo_, hi_, wanted);
  }

 private:
  double transform(double value) const { return log_ ? std::log10(value) : value; }

  bool log_;
  double lo_ = std::numeric_limits<double>::infinity(), hi_ = -lo_;
};

// ---- the frame ----------------------------------------------------------------------------------

// The picture under construction: the plot area in pixels, and the text of the SVG so far.
struct Plot {
  double left, top, width, height;
  Scale x, y;
  std::string svg = "";

  double right() const { return left + width; }
  double bottom() const { return top + height; }
  double px(double value) const { return left + width * x(value); }
  double py(double value) const { return bottom() - height * y(value); }

  void add(std::string_view pattern, std::initializer_list<Piece> pieces) {
    svg += fill(pattern, pieces) += '\n';
  }
};

// Entries from left to right, in as many lines as they need, above the plot to hide no data.
struct Legend {
  struct Entry {
    double x, y;
    std::string name;
    Pen pen;
  };
  std::vector<Entry> entries;
  double height = 0;

  Legend(const std::vector<Series>& series, double width) {
    double x = 0;
    for (std::size_t i = 0; i < series.size(); ++i) {
      if (series[i].name.empty()) continue;
      const double needs = 46 + text_width(series[i].name);
      if (entries.empty()) height = line_height;
      if (x > 0 && x + needs > width) x = 0, height += line_height;
      entries.push_back({x, height, escape(series[i].name), Pen(series[i], i)});
      x += needs;
    }
  }
};

double top_margin(const Legend& legend) { return legend.height > 0 ? 52 + legend.height : 44; }

double left_margin(const std::vector<Tick>& y_ticks) {
  double widest = 0;
  for (const Tick& tick : y_ticks) widest = std::max(widest, text_width(tick.label));
  return 44 + widest;
}

struct Frame {
  std::string_view title, x_label, y_label;
  std::vector<Tick> x_ticks, y_ticks;
  bool dots;        // in the legend, rather than lines
  bool grid_lines;  // rather than ticks outside of the plot
};

// The picture's size, its fonts, a white ground and the title.
std::string opening(double width, double height, double left, std::string_view title) {
  return fill(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {} {}" )"
      R"(role="img" font-size="{}" fill="#333" font-family="system-ui, -apple-system, )"
      R"('Segoe UI', Roboto, 'DejaVu Sans', Arial, sans-serif">)"
      "\n<title>{}</title>\n"
      R"(<rect width="{}" height="{}" fill="#fff"/>)"
      "\n"
      R"(<text x="{}" y="28" font-size="17" font-weight="600" fill="#111">{}</text>)"
      "\n",
      {width, height, width, height, font, escape(title), width, height, left, escape(title)});
}

// Everything around the data, and the grid lines under it: the data is drawn over this.
void draw_frame(Plot& plot, const Frame& frame, const Legend& legend) {
  const double left = plot.left, right = plot.right(), top = plot.top, bottom = plot.bottom();
  const double width = right + right_margin, height = bottom + bottom_margin;
  plot.svg += opening(width, height, left, frame.title);

  for (const auto& [x, y, name, pen] : legend.entries) {
    const double at_x = left + x, at_y = 36 + y;
    if (frame.dots) {
      plot.add(R"(<circle cx="{}" cy="{}" r="4.5" fill="{}"/>)",
               {at_x + 5, at_y - 4.5, pen.colour});
    } else {
      plot.add(R"(<path d="M{} {}h22" stroke-width="2.5" stroke-linecap="round" stroke="{}" {}/>)",
               {at_x, at_y - 4.5, pen.colour, pen.dashes});
    }
    plot.add(R"(<text x="{}" y="{}">{}</text>)", {at_x + (frame.dots ? 16 : 28), at_y, name});
  }

  std::string lines;
  for (const auto& [value, label] : frame.x_ticks) {
    const double x = plot.px(value);
    lines += frame.grid_lines ? fill("M{} {}V{}", {x, bottom, top}) : fill("M{} {}v5", {x, bottom});
    plot.add(R"(<text x="{}" y="{}" fill="#555" text-anchor="middle">{}</text>)",
             {x, bottom + 19, label});
  }
  for (const auto& [value, label] : frame.y_ticks) {
    const double y = plot.py(value);
    lines += frame.grid_lines ? fill("M{} {}H{}", {left, y, right}) : fill("M{} {}h-5", {left, y});
    plot.add(R"(<text x="{}" y="{}" dy="0.35em" fill="#555" text-anchor="end">{}</text>)",
             {left - 9, y, label});
  }
  plot.add(R"(<path d="{}" stroke="{}" fill="none"/>)",
           {lines, frame.grid_lines ? "#e4e4e4" : "#888"});
  plot.add(R"(<path d="M{} {}V{}H{}" stroke="#888" fill="none"/>)", {left, top, bottom, right});
  plot.add(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)",
           {left + plot.width / 2, bottom + 42, escape(frame.x_label)});
  plot.add(R"-(<text transform="translate(20 {}) rotate(-90)" text-anchor="middle">{}</text>)-",
           {top + plot.height / 2, escape(frame.y_label)});
}

// ---- the data -----------------------------------------------------------------------------------

void draw_dots(Plot& plot, const Series& series, const Pen& pen) {
  plot.add(R"(<g fill="{}" stroke="#fff" stroke-width="{}">)",
           {pen.colour, series.radius < 3 ? 0 : 0.8});  // small ones would vanish in it
  for (std::size_t i = 0; i < series.xs.size(); ++i) {
    if (!plot.x.shows(series.xs[i]) || !plot.y.shows(series.ys[i])) continue;
    plot.add(R"(<circle cx="{}" cy="{}" r="{}"/>)",
             {plot.px(series.xs[i]), plot.py(series.ys[i]), series.radius});
  }
  plot.add("</g>", {});
}

void draw_line(Plot& plot, const Series& series, const Pen& pen) {
  std::string path, last;
  std::size_t corners = 0;
  for (std::size_t i = 0; i < series.xs.size(); ++i) {
    if (!plot.x.shows(series.xs[i]) || !plot.y.shows(series.ys[i])) continue;
    std::string point = fill("{} {}", {plot.px(series.xs[i]), plot.py(series.ys[i])});
    if (point == last) continue;  // long runs have many steps per pixel
    path += (corners++ == 0 ? "M" : "L") + point;
    last = std::move(point);
  }
  if (corners == 1) return draw_dots(plot, series, pen);  // as a line it would be invisible
  plot.add(R"(<path d="{}" stroke="{}" stroke-width="2" stroke-linejoin="round" )"
           R"(stroke-linecap="round" {} fill="none"/>)",
           {path, pen.colour, pen.dashes});
}

bool shows(const Plot& plot, double x, double y) { return plot.x.shows(x) && plot.y.shows(y); }

void draw_arrows(Plot& plot, const Arrows& arrows) {
  std::string path;
  for (std::size_t i = 0; i < arrows.xs.size(); ++i) {
    const double x = arrows.xs[i], y = arrows.ys[i], to_x = x + arrows.us[i],
                 to_y = y + arrows.vs[i];
    if (!shows(plot, x, y) || !shows(plot, to_x, to_y)) continue;
    const double px = plot.px(to_x), py = plot.py(to_y);
    const double dx = px - plot.px(x), dy = py - plot.py(y), length = std::hypot(dx, dy);
    path += fill("M{} {}L{} {}", {plot.px(x), plot.py(y), px, py});
    if (length < 1) continue;  // no room for a head
    const double head = std::min(6.0, 0.5 * length) / length;
    path +=
        fill("M{} {}L{} {}L{} {}", {px - head * (dx - 0.5 * dy), py - head * (dy + 0.5 * dx), px,
                                    py, px - head * (dx + 0.5 * dy), py - head * (dy - 0.5 * dx)});
  }
  plot.add(R"(<path d="{}" stroke="{}" stroke-width="1.3" stroke-linejoin="round" )"
           R"(stroke-linecap="round" fill="none"/>)",
           {path, escape(arrows.colour)});
}

// A cell's colour: the classes' colours mixed by their probabilities, paler than the points.
std::string cell_colour(const double* probabilities, std::size_t classes) {
  Rgb sum = {0, 0, 0};
  for (std::size_t k = 0; k < classes; ++k) {
    const double p = probabilities[k];
    const Rgb& colour = palette[k % palette.size()];
    sum = {sum.red + p * colour.red, sum.green + p * colour.green, sum.blue + p * colour.blue};
  }
  if (!std::isfinite(sum.red)) return "#ddd";  // the model says NaN: show that it says nothing
  // In steps of 4, so that neighbours are equal more often and share a rectangle.
  const auto pale = [](double part) { return 4 * std::round((255 + 0.45 * (part - 255)) / 4); };
  return hex({pale(sum.red), pale(sum.green), pale(sum.blue)});
}

// In a coordinate system with cells of size 1 that counts rows upwards, edges of neighbours are
// equal to the last bit. crispEdges, or a browser blends them with what is behind them, and lines
// appear.
void draw_grid(Plot& plot, const ClassGrid& grid, std::size_t classes) {
  plot.add(R"-(<g shape-rendering="crispEdges" transform="translate({} {}) scale({} {})">)-",
           {plot.left, plot.bottom(), fixed(plot.width / static_cast<double>(grid.columns), 6),
            fixed(-plot.height / static_cast<double>(grid.rows), 6)});
  const double* cell = grid.probabilities.data();
  for (std::size_t row = 0; row < grid.rows; ++row) {
    for (std::size_t column = 0; column < grid.columns;) {
      const std::size_t begin = column;
      const std::string colour = cell_colour(cell, classes);
      do {
        ++column, cell += classes;
      } while (column < grid.columns && cell_colour(cell, classes) == colour);
      plot.add(
          R"(<rect x="{}" y="{}" width="{}" height="1" fill="{}"/>)",
          {std::to_string(begin), std::to_string(row), std::to_string(column - begin), colour});
    }
  }
  plot.add("</g>", {});
}

void require_pairs(const std::vector<Series>& series) {
  for (const Series& s : series) {
    if (s.xs.size() != s.ys.size()) {
      throw std::invalid_argument("chart: series \"" + s.name + "\" has " +
                                  std::to_string(s.xs.size()) + " xs and " +
                                  std::to_string(s.ys.size()) + " ys");
    }
  }
}

void require_whole(const std::vector<Arrows>& arrows) {
  for (const Arrows& a : arrows)
    for (const auto* list : {&a.ys, &a.us, &a.vs}) {
      if (list->size() == a.xs.size()) continue;
      throw std::invalid_argument(
          "chart: " + std::to_string(a.xs.size()) + " arrows have " + std::to_string(a.ys.size()) +
          " ys, " + std::to_string(a.us.size()) + " us and " + std::to_string(a.vs.size()) + " vs");
    }
}

/// An empty plot in its frame whose x and y have the same scale, so that its height follows.
Plot square_plot(std::string_view title, std::string_view x_label, std::string_view y_label,
                 const Scale& x, const Scale& y, const std::vector<Series>& legend_of, int width) {
  const Frame frame{title,
                    x_label,
                    y_label,
                    x.ticks(6),
                    y.ticks(6),
                    /*dots=*/true,
                    /*grid_lines=*/false};
  const double left = left_margin(frame.y_ticks);
  const double plot_width = std::max(40.0, width - left - right_margin);
  const Legend legend(legend_of, plot_width);
  Plot plot{left, top_margin(legend), plot_width, plot_width * y.length() / x.length(), x, y};
  draw_frame(plot, frame, legend);
  return plot;
}

}  // namespace

std::string line_chart(std::string_view title, std::string_view x_label, std::string_view y_label,
                       const std::vector<Series>& series, ChartOptions options) {
  require_pairs(series);
  Scale x(options.log_x), y(options.log_y);
  for (const Series& s : series) {
    for (std::size_t i = 0; i < s.xs.size(); ++i) {
      if (x.shows(s.xs[i]) && y.shows(s.ys[i])) x.include(s.xs[i]), y.include(s.ys[i]);
    }
  }
  x.settle(options.points ? 0.03 : 0);  // a line may touch the frame, a dot would be cut in halves
  y.settle(0.05);

  const Frame frame{title,
                    x_label,
                    y_label,
                    x.ticks(std::max(2, options.width / 110)),
                    y.ticks(std::max(2, options.height / 70)),
                    /*dots=*/options.points,
                    /*grid_lines=*/true};
  const double left = left_margin(frame.y_ticks);
  const double width = std::max(40.0, options.width - left - right_margin);
  const Legend legend(series, width);
  const double top = top_margin(legend);
  Plot plot{left, top, width, std::max(40.0, options.height - top - bottom_margin), x, y};
  draw_frame(plot, frame, legend);
  const auto draw = options.points ? draw_dots : draw_line;
  for (std::size_t i = 0; i < series.size(); ++i) draw(plot, series[i], Pen(series[i], i));
  return plot.svg + "</svg>\n";
}

std::string plane_chart(std::string_view title, std::string_view x_label, std::string_view y_label,
                        const Plane& plane, int width) {
  require_pairs(plane.dots);
  require_pairs(plane.lines);
  require_whole(plane.arrows);
  Scale x(false), y(false);
  const auto include = [&](const std::vector<double>& xs, const std::vector<double>& ys) {
    for (std::size_t i = 0; i < xs.size(); ++i)
      if (x.shows(xs[i]) && y.shows(ys[i])) x.include(xs[i]), y.include(ys[i]);
  };
  for (const auto* list : {&plane.lines, &plane.dots})
    for (const Series& s : *list) include(s.xs, s.ys);
  for (const Arrows& a : plane.arrows) {
    std::vector<double> tips_x, tips_y;
    for (std::size_t i = 0; i < a.xs.size(); ++i) {
      tips_x.push_back(a.xs[i] + a.us[i]);
      tips_y.push_back(a.ys[i] + a.vs[i]);
    }
    include(a.xs, a.ys);
    include(tips_x, tips_y);
  }
  x.settle(0.03), y.settle(0.03);
  x.widen(y.length()), y.widen(0.6 * x.length());  // a picture, not a strip

  Plot plot = square_plot(title, x_label, y_label, x, y, plane.dots, width);
  for (std::size_t i = 0; i < plane.lines.size(); ++i)
    draw_line(plot, plane.lines[i], Pen(plane.lines[i], i));
  for (std::size_t i = 0; i < plane.dots.size(); ++i)
    draw_dots(plot, plane.dots[i], Pen(plane.dots[i], i));
  for (const Arrows& a : plane.arrows) draw_arrows(plot, a);
  return plot.svg + "</svg>\n";
}

std::string image_sheet(std::string_view title, const std::vector<ImageRow>& rows, int scale) {
  constexpr double gap = 4;
  double left = 24, right = 24 + 0.7 * text_width(title), bottom = 44;
  for (const ImageRow& row : rows) left = std::max(left, 36 + text_width(row.name));
  std::string body;
  for (const auto& [name, images] : rows) {
    double x = left, height = line_height;
    for (const Image& image : images) height = std::max(height, 1.0 * scale * image.height);
    body +=
        fill(R"(<text x="24" y="{}" dy="0.35em">{}</text>)", {bottom + height / 2, escape(name)});
    for (const Image& image : images) {
      const double width = 1.0 * scale * image.width;
      body += fill(
          "\n"
          R"(<image x="{}" y="{}" width="{}" height="{}" style="image-rendering:pixelated" )"
          R"(href="data:image/png;base64,{}"/>)",
          {x, bottom, width, 1.0 * scale * image.height, base64(png(image))});
      x += width + gap;
    }
    body += '\n';
    bottom += height + gap;
    right = std::max(right, x);
  }
  return opening(right + right_margin, bottom + right_margin, 24, title) + body + "</svg>\n";
}

std::string side_by_side(const std::vector<std::string>& pictures, std::size_t columns) {
  std::string body;
  double x = 0, y = 0, row_height = 0, width = 0;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::string& picture = pictures[i];
    const auto size = [&picture](std::string_view name) {
      return std::stod(picture.substr(picture.find(name) + name.size()));
    };
    if (i > 0 && i % columns == 0) x = 0, y += row_height, row_height = 0;
    body += fill(R"(<svg x="{}" y="{}" )", {x, y}) + picture.substr(picture.find(' ') + 1);
    x += size(" width=\"");
    row_height = std::max(row_height, size(" height=\""));
    width = std::max(width, x);
  }
  const double height = y + row_height;
  return fill(
             R"(<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" viewBox="0 0 {} {}">)"
             "\n"
             R"(<rect width="{}" height="{}" fill="#fff"/>)"
             "\n",
             {width, height, width, height, width, height}) +
         body + "</svg>\n";
}

std::string scatter_over_grid(std::string_view title, std::string_view x_label,
                              std::string_view y_label, const ClassGrid& grid,
                              const std::vector<Series>& classes, int width) {
  require_pairs(classes);
  if (grid.probabilities.size() != grid.rows * grid.columns * classes.size()) {
    throw std::invalid_argument("chart: a grid of " + std::to_string(grid.rows) + " rows, " +
                                std::to_string(grid.columns) + " columns and " +
                                std::to_string(classes.size()) + " classes got " +
                                std::to_string(grid.probabilities.size()) + " probabilities");
  }
  if (!(grid.x_min < grid.x_max && grid.y_min < grid.y_max)) {
    throw std::invalid_argument("chart: the grid's rectangle is empty");
  }
  std::vector<Series> inside;  // in the palette's colours, as the cells are
  for (const Series& s : classes) {
    Series& kept = inside.emplace_back(Series{s.name, {}, {}});
    for (std::size_t i = 0; i < s.xs.size(); ++i) {
      const double x = s.xs[i], y = s.ys[i];
      if (x < grid.x_min || x > grid.x_max || y < grid.y_min || y > grid.y_max) continue;
      kept.xs.push_back(x), kept.ys.push_back(y);
    }
  }

  Scale x(false), y(false);
  x.include(grid.x_min), x.include(grid.x_max), x.settle(0);
  y.include(grid.y_min), y.include(grid.y_max), y.settle(0);
  Plot plot = square_plot(title, x_label, y_label, x, y, inside, width);
  draw_grid(plot, grid, inside.size());
  for (std::size_t i = 0; i < inside.size(); ++i) draw_dots(plot, inside[i], Pen(inside[i], i));
  return plot.svg + "</svg>\n";
}

}  // namespace examples
