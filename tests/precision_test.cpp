// Float against double: both builds of the library in one program, row by row of the table of
// operations.
#include "precision_values.hpp"

#include <algorithm>
#include <cmath>

#include "catch.hpp"

TEST_CASE("every operation's value and gradients in float agree with double", "[ops][precision]") {
  std::size_t rows = 0;
  for (;; ++rows) {
    const TableRow in_float = table_row_float(rows), in_double = table_row_double(rows);
    REQUIRE(in_float.name == in_double.name);
    if (in_float.name.empty()) break;
    REQUIRE(in_float.values.size() == in_double.values.size());
    double error = 0, scale = 1;
    for (std::size_t i = 0; i < in_float.values.size(); ++i) {
      error = std::max(error, std::abs(in_float.values[i] - in_double.values[i]));
      scale = std::max(scale, std::abs(in_double.values[i]));
    }
    INFO(in_float.name << ": largest error " << error << " beside values up to " << scale);
    CHECK(error <= 4e-6 * scale);
  }
  CHECK(rows > 100);
}
