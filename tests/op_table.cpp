// The rows. An operation's gradient check is one line here.
#include "op_table.hpp"

#include <algorithm>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

std::vector<OpRow> make_table() {
  std::vector<OpRow> rows;
  const auto add = [&](std::vector<OpRow> family) {
    std::move(family.begin(), family.end(), std::back_inserter(rows));
  };

  add({
      // arithmetic
      {"a + b", [](List x) { return x[0] + x[1]; }, {{2, N}, {2, N}}},
      {"a + row", [](List x) { return x[0] + x[1]; }, {{2, N}, {N}}},
      {"a + column", [](List x) { return x[0] + x[1]; }, {{2, N}, {2, 1}}},
      {"a + scalar", [](List x) { return x[0] + real(1.5); }, {{2, N}}},
      {"scalar + a", [](List x) { return real(1.5) + x[0]; }, {{N}}},
      {"a - b", [](List x) { return x[0] - x[1]; }, {{2, N}, {2, N}}},
      {"row - a", [](List x) { return x[0] - x[1]; }, {{N}, {4, 2, N}}},
      {"a - scalar", [](List x) { return x[0] - real(1.5); }, {{2, N}}},
      {"scalar - a", [](List x) { return real(1.5) - x[0]; }, {{2, N}}},
      {"a * b", [](List x) { return x[0] * x[1]; }, {{2, N}, {2, N}}},
      {"column * row", [](List x) { return x[0] * x[1]; }, {{2, 1}, {N}}},
      {"0-d * a", [](List x) { return x[0] * x[1]; }, {{}, {2, N}}},
      {"a * scalar", [](List x) { return x[0] * real(1.5); }, {{2, N}}},
      {"a / b", [](List x) { return x[0] / x[1]; }, {{2, N}, {2, N}}, 0.5, 2},
      {"a / column", [](List x) { return x[0] / x[1]; }, {{2, N}, {2, 1}}, 0.5, 2},
      {"a / scalar", [](List x) { return x[0] / real(1.5); }, {{2, N}}},
      {"scalar / a", [](List x) { return real(1.5) / x[0]; }, {{2, N}}, 0.5, 2},
      {"-a", [](List x) { return -x[0]; }, {{2, N}}},
      {"pow constant", [](List x) { return pow(x[0], real(2.5)); }, {{2, N}}, 0.5, 2},
      {"pow cube", [](List x) { return pow(x[0], real(3)); }, {{2, N}}, -2, -0.5},
      {"pow(a, b)", [](List x) { return pow(x[0], x[1]); }, {{2, N}, {2, N}}, 0.5, 2},
      {"square", [](List x) { return square(x[0]); }, {{2, N}}},
  });
  return rows;
}

}  // namespace

const std::vector<OpRow>& op_table() {
  static const std::vector<OpRow> table = make_table();
  return table;
}

std::vector<Tensor> make_inputs(const OpRow& row, std::size_t n) {
  std::vector<Tensor> inputs;
  for (std::size_t i = 0; i < row.shapes.size(); ++i) {
    Shape shape(row.shapes[i].begin(), row.shapes[i].end());
    std::replace(shape.begin(), shape.end(), N, n);
    Tensor x = Tensor::empty(shape);
    Rng(i + 1).fill_uniform({x.mutable_data(), x.size()}, static_cast<real>(row.low), static_cast<real>(row.high));
    inputs.push_back(x);
  }
  return inputs;
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
