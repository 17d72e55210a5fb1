// The table of operations evaluated in this build's precision, for precision_test.cpp to compare.
// Compiled once per precision; checks nothing itself.
#include <xgrad/core/tape.hpp>

#include "op_table.hpp"
#include "precision_values.hpp"

namespace xgrad::inline XGRAD_PRECISION {

TableRow table_row(std::size_t index) {
  using namespace testing;
  if (index >= op_table().rows.size()) return {};
  const OpRow& row = op_table().rows[index];
  std::vector<Tensor> inputs = make_inputs(row, row.sizes.back());
  for (Tensor& x : inputs) x.requires_grad_();
  Tape tape;
  const Tensor y = row.fn(inputs);
  Rng rng(3);
  std::vector<Tensor> results = tape.gradient(y, inputs, {}, randn(y.shape(), rng));
  results.push_back(y);
  TableRow result{row.name, {}};
  for (const Tensor& x : results)
    result.values.insert(result.values.end(), x.data(), x.data() + x.size());
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION

#ifdef XGRAD_DOUBLE
TableRow table_row_double(std::size_t index) { return xgrad::table_row(index); }
#else
TableRow table_row_float(std::size_t index) { return xgrad::table_row(index); }
#endif
