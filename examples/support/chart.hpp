// Pictures of a run as SVG text: line charts, scatter plots, planes with arrows, decision
// boundaries, sheets of images.
// No plotting library, and it writes no files (the library has write_file).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "image.hpp"

namespace examples {

/// Points (xs[i], ys[i]). Those that are NaN or infinite, or not positive on a logarithmic axis,
/// are left out.
struct Series {
  std::string name;  ///< in the legend; series without a name are not listed
  std::vector<double> xs, ys;
  std::string colour = "";  ///< any SVG colour; empty: the next of six that all eyes can tell
                            ///< apart, with dashed lines from the seventh on
  double radius = 3.5;      ///< of a dot, in pixels
};

struct ChartOptions {
  int width = 720, height = 440;  ///< pixels
  bool log_x = false, log_y = false;
  bool points = false;  ///< a scatter plot: dots instead of lines
};

/// Title, labels and names are UTF-8. Throws std::invalid_argument for more xs than ys, or fewer.
std::string line_chart(std::string_view title, std::string_view x_label, std::string_view y_label,
                       const std::vector<Series>& series, ChartOptions options = {});

/// Arrows from (xs[i], ys[i]) to (xs[i] + us[i], ys[i] + vs[i]). Those with a number that is NaN or
/// infinite are left out.
struct Arrows {
  std::vector<double> xs = {}, ys = {}, us = {}, vs = {};
  std::string colour = "#555";
};

/// What lies in a plane, whose x and y have the same scale: first the lines, then dots, then
/// arrows.
struct Plane {
  std::vector<Series> dots = {}, lines = {};
  std::vector<Arrows> arrows = {};
};

/// The legend has the dots' names. Throws std::invalid_argument for lists of different lengths.
std::string plane_chart(std::string_view title, std::string_view x_label, std::string_view y_label,
                        const Plane& plane, int width = 560);

/// Class probabilities over a rectangle cut into equal cells, each given at the centre of its cell.
struct ClassGrid {
  double x_min = 0, x_max = 1, y_min = 0, y_max = 1;
  std::size_t columns = 80, rows = 80;
  std::vector<double> probabilities = {};  ///< (rows, columns, classes); row 0 lies at y_min

  double x(std::size_t column) const { return centre(x_min, x_max, column, columns); }
  double y(std::size_t row) const { return centre(y_min, y_max, row, rows); }

 private:
  static double centre(double lo, double hi, std::size_t i, std::size_t n) {
    return lo + (hi - lo) * (static_cast<double>(i) + 0.5) / static_cast<double>(n);
  }
};

/// A decision boundary: every cell in the mixture of the classes' colours, and on top the points,
/// one series per class. x and y have the same scale, so the height follows from the width; the
/// colours are the palette's. Throws std::invalid_argument if the number of probabilities is not
/// rows * columns * classes, or the rectangle is empty.
std::string scatter_over_grid(std::string_view title, std::string_view x_label,
                              std::string_view y_label, const ClassGrid& grid,
                              const std::vector<Series>& classes, int width = 560);

/// Images of one kind: a row of a sheet.
struct ImageRow {
  std::string name;
  std::vector<Image> images;
};

/// Rows of images below each other, each behind its name; a pixel becomes a square of `scale`
/// pixels. Throws what png() throws.
std::string image_sheet(std::string_view title, const std::vector<ImageRow>& rows, int scale = 3);

/// Pictures that these functions made as one, `columns` in a row.
std::string side_by_side(const std::vector<std::string>& pictures, std::size_t columns);

}  // namespace examples
