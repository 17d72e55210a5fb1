// One row of the table of operations, evaluated in either precision and handed over in double.
// Knows nothing of xgrad, so that a test may hold both builds of the library at once.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

struct TableRow {
  std::string name;            // empty: no such row
  std::vector<double> values;  // gradients of the inputs, then the value
};

TableRow table_row_float(std::size_t index);
TableRow table_row_double(std::size_t index);
