// Pictures of a run as SVG text: line charts, scatter plots, decision boundaries.
// No plotting library, and it writes no files (the library has write_file).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// Points (xs[i], ys[i]). Those that are NaN or infinite, or not positive on a logarithmic axis,
/// are left out.
struct Series {
  std::string name;  ///< in the legend; series without a name are not listed
  std::vector<double> xs, ys;
  std::string colour = "";  ///< any SVG colour; empty: the next of six that all eyes can tell
                            ///< apart, with dashed lines from the seventh on
};

struct ChartOptions {
  int width = 720, height = 440;  ///< pixels
  bool log_x = false, log_y = false;
  bool points = false;  ///< a scatter plot: dots instead of lines
};

/// Title, labels and names are UTF-8. Throws std::invalid_argument for more xs than ys, or fewer.
std::string line_chart(std::string_view title, std::string_view x_label, std::string_view y_label,
                       const std::vector<Series>& series, ChartOptions options = {});

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

}  // namespace examples
