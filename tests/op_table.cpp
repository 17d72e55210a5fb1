// The families of the table, joined. An operation's gradient check is one line in tests/op_table/.
#include "op_table.hpp"

#include <algorithm>

namespace xgrad::inline XGRAD_PRECISION::testing {

const OpFamily& op_table() {
  static const OpFamily table = [] {
    OpFamily all;
    for (OpFamily family : {arrange(), attention_rows(), basics(), conv(), layers(), math(), topk_rows()}) {
      std::move(family.rows.begin(), family.rows.end(), std::back_inserter(all.rows));
      std::move(family.errors.begin(), family.errors.end(), std::back_inserter(all.errors));
    }
    return all;
  }();
  return table;
}

std::vector<Tensor> make_inputs(const OpRow& row, std::size_t n) {
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < row.shapes.size(); ++i) {
    Shape shape(row.shapes[i].begin(), row.shapes[i].end());
    std::replace(shape.begin(), shape.end(), N, n);
    Tensor x = Tensor::empty(shape);
    Rng(i + 1).fill_uniform({x.mutable_data(), x.size()}, static_cast<real>(row.low),
                            static_cast<real>(row.high));
    inputs.push_back(x);
  }
  return inputs;
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
