// The table of operations that drives their tests: one row per operation and setting.
// How a row is checked is in op_table_test.cpp.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {

/// A size in a row's shapes that the tests vary: 3 in the gradient check; 0, 1 and 5 after it.
inline constexpr std::size_t N = 1'000'003;

struct OpRow {
  std::string name;
  std::function<Tensor(const std::vector<Tensor>&)> fn;
  std::vector<std::vector<std::size_t>> shapes;  // of the inputs
  double low = -2, high = 2;  // inputs are uniform on this range; keep it off kinks
  bool fused = false;         // has no second derivative
  std::vector<std::size_t> sizes = {0, 1, 5};  // what N stands for in the size check
  std::size_t large = 0;  // … and in the check of threads; 0: chosen by how the row grows
};

/// A call that must fail, and what its error says, to the word.
struct ErrorRow {
  std::function<void()> call;
  std::string text;
};

struct OpFamily {
  std::vector<OpRow> rows;
  std::vector<ErrorRow> errors;
};

// One file each in tests/op_table/.
OpFamily arrange();
OpFamily attention_rows();
OpFamily basics();
OpFamily conv();
OpFamily layers();
OpFamily math();
OpFamily topk_rows();

const OpFamily& op_table();

/// The inputs of a row, the same for both precisions up to rounding.
std::vector<Tensor> make_inputs(const OpRow& row, std::size_t n);

}  // namespace xgrad::inline XGRAD_PRECISION::testing
