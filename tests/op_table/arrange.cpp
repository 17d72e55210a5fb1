// Rows of what arranges numbers: shapes, look-up by ids, order, search.
#include "op_table.hpp"

#include <algorithm>
#include <limits>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

constexpr real none = std::numeric_limits<real>::quiet_NaN(),
               infinite = std::numeric_limits<real>::infinity();

/// Ids in `rows` rows; nested braces around single numbers are ambiguous to xtensor.
Indices matrix(const std::vector<std::int64_t>& ids, std::size_t rows) {
  Indices array = Indices::from_shape({rows, ids.size() / rows});
  std::copy(ids.begin(), ids.end(), array.begin());
  return array;
}

// Inputs whose order no small step changes: distinct numbers, 0.37 k mod 1 apart.
Tensor spread_out(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape());
  for (std::size_t i = 0; i < y.size(); ++i)
    y.mutable_data()[i] = static_cast<real>((i * 37 + 11) % 101) / 10;
  return x * real(0.01) + y;
}

std::vector<ErrorRow> errors() {
  return {
      {[] { triu(ones(3)); }, "triu: needs at least 2 axes, got shape (3,)"},
      {[] {
         diag(ones({2, 2, 2}));
       },
       "diag: needs 1 or 2 axes, got shape (2, 2, 2)"},
      {[] { diag(scalar(1)); }, "diag: needs 1 or 2 axes, got shape ()"},
      {[] { trace(ones(3)); }, "trace: needs 2 axes, got shape (3,)"},
      {[] {
         trace(ones({2, 2, 2}));
       },
       "trace: needs 2 axes, got shape (2, 2, 2)"},
      {[] {
         squeeze(ones({2, 1}), 0);
       },
       "squeeze: axis 0 of shape (2, 1) is 2, not 1"},
      {[] {
         squeeze(ones({2, 1}), 2);
       },
       "squeeze: axis 2 is out of range for 2 axes"},
      {[] { unsqueeze(ones(2), 3); }, "unsqueeze: axis 3 is out of range for 2 axes"},
      {[] {
         flatten(ones({2, 3}), 1, 0);
       },
       "flatten: first axis 1 comes after last axis 0"},
      {[] {
         flatten(ones({2, 3}), 0, 2);
       },
       "flatten: axis 2 is out of range for 2 axes"},
      {[] {
         flip(ones({2, 3}), 2);
       },
       "flip: axis 2 is out of range for 2 axes"},
      {[] {
         flip(ones({2, 3}), {0, 0});
       },
       "flip: repeated axis in (0, 0)"},
      {[] {
         roll(ones({2, 3}), 1, -3);
       },
       "roll: axis -3 is out of range for 2 axes"},
      {[] {
         repeat(ones({2, 3}), {2});
       },
       "repeat: needs at least 2 counts for shape (2, 3), got 1"},
      {[] {
         repeat(ones({2, 3}), {2, -1});
       },
       "repeat: negative count in (2, -1)"},
      {[] {
         pad(ones({2, 3}), {{1, 1}});
       },
       "pad: needs 2 paddings for shape (2, 3), got 1"},
      {[] {
         pad(ones({2, 3}), {{0, 2}, {}}, Pad::reflect);
       },
       "pad: cannot add 2 elements to axis 0 of shape (2, 3): at most 1 can be mirrored"},
      {[] {
         pad(ones({2, 3}), {{3, 0}, {}}, Pad::circular);
       },
       "pad: cannot add 3 elements to axis 0 of shape (2, 3): at most 2 can be taken from its "
       "other end"},
      {[] {
         pad(ones({0, 3}), {{1, 0}, {}}, Pad::replicate);
       },
       "pad: axis 0 of shape (0, 3) is empty, so only a constant can be added"},
      {[] {
         pad(ones({2, 0}), {{}, {0, 1}}, Pad::reflect);
       },
       "pad: axis 1 of shape (2, 0) is empty, so only a constant can be added"},
      {[] { embedding(ones(3), Indices{0}); }, "embedding: needs a table (V, D), got shape (3,)"},
      {[] {
         embedding(ones({3, 2}), Indices{0, 3});
       },
       "embedding: id 3 at position 1 is outside [0, 3)"},
      {[] {
         index_select(ones({2, 3}), 1, Indices{-1});
       },
       "index_select: id -1 at position 0 is outside [0, 3)"},
      {[] {
         index_select(ones({2, 3}), 2, Indices{0});
       },
       "index_select: axis 2 is out of range for 2 axes"},
      {[] {
         index_select(ones({2, 0}), 1, Indices{0});
       },
       "index_select: id 0 at position 0 is outside [0, 0)"},
      {[] {
         index_select(ones({2, 3}), 1, matrix({0}, 1));
       },
       "index_select: needs ids (n,), got shape (1, 1)"},
      {[] {
         gather(ones({2, 3}), 1, Indices{0});
       },
       "gather: ids (1,) and the tensor (2, 3) have different numbers of axes"},
      {[] {
         gather(ones({2, 3}), 1, matrix({0, 1, 2}, 3));
       },
       "gather: ids (3, 1) reach beyond shape (2, 3): axis 0 is 3 and 2"},
      {[] {
         gather(ones({2, 3}), 1, Indices{{0, 3}});
       },
       "gather: id 3 at position 1 is outside [0, 3)"},
      {[] {
         gather(ones({2, 3}), 1, Indices{{0, 1}, {-1, 0}});
       },
       "gather: id -1 at position 2 is outside [0, 3)"},
      {[] {
         gather(ones({2, 3}), 2, matrix({0}, 1));
       },
       "gather: axis 2 is out of range for 2 axes"},
      {[] { gather(scalar(1), 0, Indices{0}); }, "gather: axis 0 is out of range for 0 axes"},
      {[] {
         scatter_add(ones({2, 3}), 1, Indices{{0, 1}}, ones({2, 2}));
       },
       "scatter_add: the source has shape (2, 2), ids (1, 2)"},
      {[] {
         scatter_add(ones({2, 3}), 0, matrix({2}, 1), ones({1, 1}));
       },
       "scatter_add: id 2 at position 0 is outside [0, 2)"},
      {[] {
         scatter_add(ones({2, 3}), 1, Indices{0}, ones(1));
       },
       "scatter_add: ids (1,) and the tensor (2, 3) have different numbers of axes"},
      {[] {
         scatter_add(ones({2, 3}), 0, Indices{{0, 0, 0, 0}}, ones({1, 4}));
       },
       "scatter_add: ids (1, 4) reach beyond shape (2, 3): axis 1 is 4 and 3"},
      {[] {
         scatter_add(ones({2, 3}), -3, matrix({0}, 1), ones({1, 1}));
       },
       "scatter_add: axis -3 is out of range for 2 axes"},
      {[] {
         take_along_axis(ones({2, 3}), matrix({0, 0, 0}, 3), 1);
       },
       "take_along_axis, other axes: shapes (2, 1) and (3, 1) do not broadcast: axis 0 is 2 and "
       "3"},
      {[] {
         take_along_axis(ones({2, 3}), Indices{0}, 1);
       },
       "take_along_axis: ids (1,) and the tensor (2, 3) have different numbers of axes"},
      {[] {
         take_along_axis(ones({2, 3}), Indices{{0, 3}}, 1);
       },
       "take_along_axis: id 3 at position 1 is outside [0, 3)"},
      {[] {
         take_along_axis(ones({2, 3}), matrix({0}, 1), 2);
       },
       "take_along_axis: axis 2 is out of range for 2 axes"},
      {[] {
         one_hot(Indices{0, 3}, 3);
       },
       "one_hot: id 3 at position 1 is outside [0, 3)"},
      {[] { one_hot(Indices{-1}, 3); }, "one_hot: id -1 at position 0 is outside [0, 3)"},
      {[] {
         sort(ones({2, 3}), 2);
       },
       "sort: axis 2 is out of range for 2 axes"},
      {[] { sort(scalar(1)); }, "sort: axis -1 is out of range for 0 axes"},
      {[] {
         argsort(ones({2, 3}), -3);
       },
       "argsort: axis -3 is out of range for 2 axes"},
      {[] {
         topk(ones({2, 3}), 4);
       },
       "topk: k = 4 exceeds axis 1 of shape (2, 3)"},
      {[] {
         topk(ones({2, 3}), 1, 2);
       },
       "topk: axis 2 is out of range for 2 axes"},
      {[] {
         nearest(ones({2, 5}), ones({4, 3}));
       },
       "nearest: last axis of z (2, 5) does not fit codebook (4, 3): 5 != 3"},
      {[] {
         nearest(scalar(1), ones({4, 3}));
       },
       "nearest: z () has no last axis to fit codebook (4, 3)"},
      {[] {
         nearest(ones({2, 3}), ones({0, 3}));
       },
       "nearest: needs a codebook (K, d) of at least 1 row, got shape (0, 3)"},
      {[] { nearest(ones(3), ones(3)); },
       "nearest: needs a codebook (K, d) of at least 1 row, got shape (3,)"},
      {[] {
         nearest(tensor({1, 2, 3, 4, none, 6}, {2, 3}), ones({4, 3}));
       },
       "nearest: NaN or Inf in row 1 of z"},
      {[] {
         nearest(ones(3), tensor({1, 2, 3, 4, 5, 6, -infinite, 8, 9}, {3, 3}));
       },
       "nearest: NaN or Inf in row 2 of the codebook"},
  };
}

}  // namespace

OpFamily arrange() {
  const auto first_ids = [](const Tensor& x) {  // (2, n): 0 and the last of axis 0 in turn
    Indices ids = Indices::from_shape({2, x.size(1)});
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids.data()[i] = i % 3 == 1 ? static_cast<std::int64_t>(x.size(0)) - 1 : 0;
    return ids;
  };
  std::vector<OpRow> rows{
      {"triu", [](List x) { return triu(x[0]); }, {{2, 3, N}}},
      {"triu below", [](List x) { return triu(x[0], -1); }, {{3, N}}},
      {"diag of a vector", [](List x) { return diag(x[0]); }, {{N}}},
      {"diag of a vector, above", [](List x) { return diag(x[0], 2); }, {{N}}},
      {"diag of a vector, below", [](List x) { return diag(x[0], -1); }, {{N}}},
      {"diag of a matrix", [](List x) { return diag(x[0]); }, {{4, N}}},
      {"diag of a matrix, below", [](List x) { return diag(x[0], -2); }, {{4, N}}},
      {"trace", [](List x) { return trace(x[0]); }, {{4, N}}},
      {"squeeze", [](List x) { return squeeze(x[0], -2); }, {{2, 1, N}}},
      {"squeeze all", [](List x) { return squeeze(x[0]); }, {{1, 2, 1, N}}},
      {"unsqueeze", [](List x) { return unsqueeze(x[0], 1); }, {{2, N}}},
      {"unsqueeze at the end", [](List x) { return unsqueeze(x[0], -1); }, {{2, N}}},
      {"flatten", [](List x) { return flatten(x[0]); }, {{2, N, 2}}},
      {"flatten part", [](List x) { return flatten(x[0], 1, 2); }, {{2, N, 2, 3}}},
      {"flip", [](List x) { return flip(x[0], 1); }, {{2, N, 2}}},
      {"flip two axes",
       [](List x) {
         return flip(x[0], {0, -1});
       },
       {{2, N, 2}}},
      {"roll", [](List x) { return roll(x[0], 1, -1); }, {{2, N}}},
      {"roll back", [](List x) { return roll(x[0], -7, 0); }, {{N, 2}}},
      {"repeat",
       [](List x) {
         return repeat(x[0], {2, 1, 3});
       },
       {{2, N}}},
      {"pad",
       [](List x) {
         return pad(x[0], {{1, 0}, {2, 1}}, Pad::constant, real(7));
       },
       {{2, N}}},
      {"pad inside",
       [](List x) {
         return pad(x[0], {{}, {1, 2}, {}});
       },
       {{2, N, 3}}},
      {"pad reflect",
       [](List x) {
         return pad(x[0], {{2, 1}, {0, 0}}, Pad::reflect);
       },
       {{3, N}}},
      {"pad replicate",
       [](List x) {
         return pad(x[0], {{2, 1}, {1, 0}}, Pad::replicate);
       },
       {{2, N}},
       -2,
       2,
       false,
       {1, 5}},
      {"pad circular",
       [](List x) {
         return pad(x[0], {{2, 1}, {0, 0}}, Pad::circular);
       },
       {{3, N}}},
      {"index_select",
       [](List x) {
         return index_select(x[0], 1, Indices{2, 0, 2});
       },
       {{2, 3, N}}},
      {"index_select first axis",
       [](List x) {
         return index_select(x[0], 0, Indices{1, 1});
       },
       {{2, N}}},
      {"index_select last axis",
       [](List x) {
         return index_select(x[0], -1, Indices{1, 0, 1});
       },
       {{N, 2}}},
      {"gather", [=](List x) { return gather(x[0], 0, first_ids(x[0])); }, {{3, N}}},
      {"gather last axis, part",
       [](List x) {
         return gather(x[0], -1, Indices{{0, 2, 2, 1}});
       },
       {{2, 3}}},
      {"scatter_add",
       [=](List x) { return scatter_add(x[0], 0, first_ids(x[0]), x[1]); },
       {{3, N}, {2, N}}},
      {"gather middle axis, shorter ids",
       [](List x) {
         Indices ids = Indices::from_shape({1, 4, 1});
         std::copy_n(std::begin({1, 0, 1, 2}), 4, ids.begin());
         return gather(x[0], 1, ids);
       },
       {{2, 3, N}},
       -2,
       2,
       false,
       {1, 5}},
      {"scatter_add part",
       [](List x) {
         return scatter_add(x[0], 1, Indices{{0, 2, 2}}, x[1]);
       },
       {{N, 4}, {1, 3}},
       -2,
       2,
       false,
       {1, 5}},
      {"take_along_axis",
       [](List x) {
         return take_along_axis(x[0], matrix({2, 0, 2}, 3), 0);
       },
       {{3, N}}},
      {"take_along_axis, broadcast x",
       [](List x) {
         return take_along_axis(x[0], Indices{{2, 0}, {1, 2}}, 1);
       },
       {{1, 3}}},
      {"sort", [](List x) { return sort(spread_out(x[0])).values; }, {{2, N}}},
      {"sort descending, first axis",
       [](List x) { return sort(spread_out(x[0]), 0, true).values; },
       {{N, 2}}},
      {"topk", [](List x) { return topk(spread_out(x[0]), 2, 0).values; }, {{3, N}}},
      {"topk smallest",
       [](List x) { return topk(spread_out(x[0]), 1, -1, false).values; },
       {{2, N}},
       -2,
       2,
       false,
       {1, 5}},
  };
  for (OpRow& row : rows)
    if (row.name.starts_with("diag of a vector")) row.large = 300;  // the result is a square
  return {rows, errors()};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
