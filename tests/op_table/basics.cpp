// Rows of the first operations: arithmetic, elementwise, products, reductions, softmax, shapes.
#include "op_table.hpp"

#include <algorithm>

#include <xgrad/core/recompute.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

Indices class_ids(const std::vector<std::int64_t>& ids) {
  Indices array = Indices::from_shape({ids.size()});
  std::copy(ids.begin(), ids.end(), array.begin());
  return array;
}

constexpr CrossEntropyOptions smoothed{.ignore_index = -1, .label_smoothing = real(0.1)};

// Rotation tables for positions 0, 1, …: any angles do.
Tensor angles(std::size_t length, std::size_t half) {
  return reshape(arange(0, static_cast<real>(length * half)), {length, half}) * real(0.3);
}
Tensor angles_cos(std::size_t length, std::size_t half) {
  return Tensor(xt::cos(angles(length, half).array()));
}
Tensor angles_sin(std::size_t length, std::size_t half) {
  return Tensor(xt::sin(angles(length, half).array()));
}

std::vector<ErrorRow> errors() {
  return {
      {[] {
         ones({2, 3}) + ones(2);
       },
       "add: shapes (2, 3) and (2,) do not broadcast: axis 1 is 3 and 2"},
      {[] {
         swiglu(ones({2, 3}), ones(3));
       },
       "swiglu: gate has shape (2, 3), up (3,)"},
      {[] {
         ones({2, 3}) - ones({3, 3});
       },
       "sub: shapes (2, 3) and (3, 3) do not broadcast: axis 0 is 2 and 3"},
      {[] {
         ones({2, 3}) * ones(4);
       },
       "mul: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[] {
         ones({2, 3}) / ones({2, 3, 2});
       },
       "div: shapes (2, 3) and (2, 3, 2) do not broadcast: axis 1 is 2 and 3"},
      {[] { ones(0) + ones(3); }, "add: shapes (0,) and (3,) do not broadcast: axis 0 is 0 and 3"},
      {[] { pow(ones(2), ones(3)); },
       "pow: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { maximum(ones(2), ones(3)); },
       "maximum: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { minimum(ones(2), ones(3)); },
       "minimum: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { (void)(ones(2) < ones(3)); },
       "less: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { equal(ones(2), ones(3)); },
       "equal: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { clamp(ones(2), 1, 0); }, "clamp: needs low <= high, got 1 and 0"},
      {[] { where(ones(2), ones(3), ones(3)); },
       "where: shapes (3,) and (2,) do not broadcast: axis 0 is 3 and 2"},
      {[] { masked_fill(ones(3), ones(2), 0); },
       "masked_fill: shapes (3,) and (2,) do not broadcast: axis 0 is 3 and 2"},
      {[] {
         masked_fill(ones(3), ones({2, 3}), 0);
       },
       "masked_fill: the mask (2, 3) has more elements than x (3,)"},
      {[] {
         matmul(ones({2, 3}), ones({4, 2}));
       },
       "matmul: inner dimensions differ: (2, 3) @ (4, 2): 3 != 4"},
      {[] {
         matmul(ones({2, 3}), ones({3, 2}), {.transpose_b = true});
       },
       "matmul: inner dimensions differ: (2, 3) @ (3, 2)^T: 3 != 2"},
      {[] {
         matmul(ones({2, 3, 4}), ones({3, 4, 2}));
       },
       "matmul, leading axes: shapes (2,) and (3,) do not broadcast: axis 0 is 2 and 3"},
      {[] { matmul(scalar(1), ones(3)); }, "matmul: needs at least 1 axis each, got () @ (3,)"},
      {[] { matmul(ones(3), ones(4)); }, "matmul: inner dimensions differ: (3,) @ (4,): 3 != 4"},
      {[] {
         linear(ones({2, 3}), ones({4, 2}));
       },
       "linear: last axis of input (2, 3) is 3, weight (4, 2) expects 2"},
      {[] {
         linear(ones({2, 3}), ones({4, 3}), ones(3));
       },
       "linear: bias has shape (3,), weight (4, 3) gives 4"},
      {[] {
         linear(ones({2, 3}), ones(3));
       },
       "linear: weight needs 2 axes, got shape (3,)"},
      {[] {
         linear(scalar(1), ones({4, 3}));
       },
       "linear: needs an input (..., 3), got shape ()"},
      {[] {
         sum(ones({2, 3}), 2);
       },
       "sum: axis 2 is out of range for 2 axes"},
      {[] {
         sum(ones({2, 3}), {0, -2});
       },
       "sum: repeated axis in (0, -2)"},
      {[] {
         mean(ones({2, 3}), -3);
       },
       "mean: axis -3 is out of range for 2 axes"},
      {[] {
         var(ones({2, 3}), 2);
       },
       "var: axis 2 is out of range for 2 axes"},
      {[] {
         max(ones({2, 0}), 1);
       },
       "max: axis 1 of shape (2, 0) is empty, so nothing is its max"},
      {[] { max(ones(0)); }, "max: axis 0 of shape (0,) is empty, so nothing is its max"},
      {[] {
         min(ones({2, 0}), -1);
       },
       "min: axis 1 of shape (2, 0) is empty, so nothing is its min"},
      {[] {
         min(ones({2, 3}), 5);
       },
       "min: axis 5 is out of range for 2 axes"},
      {[] {
         logsumexp(ones({2, 3}), 2);
       },
       "logsumexp: axis 2 is out of range for 2 axes"},
      {[] {
         sum_to(ones({2, 3}), {2});
       },
       "sum_to: a tensor of shape (2, 3) cannot be summed to (2,)"},
      {[] {
         sum_to(ones(3), {2, 3});
       },
       "sum_to: a tensor of shape (3,) cannot be summed to (2, 3)"},
      {[] {
         softmax(ones({2, 3}), 2);
       },
       "softmax: axis 2 is out of range for 2 axes"},
      {[] { softmax(scalar(1)); }, "softmax: axis -1 is out of range for 0 axes"},
      {[] {
         log_softmax(ones({2, 3}), -3);
       },
       "log_softmax: axis -3 is out of range for 2 axes"},
      {[] {
         cross_entropy(ones({2, 3}), Indices({0, 1, 2}));
       },
       "cross_entropy: logits (2, 3) need one target per row: targets have shape (3,), expected "
       "(2,)"},
      {[] {
         cross_entropy(ones({2, 3}), Indices({0, 3}));
       },
       "cross_entropy: target 1 is 3, outside [0, 3)"},
      {[] {
         cross_entropy(ones({2, 3}), Indices({0, -1}));
       },
       "cross_entropy: target 1 is -1, outside [0, 3)"},
      {[] {
         cross_entropy(ones({2, 3}), Indices({0, 1}), {.label_smoothing = 1});
       },
       "cross_entropy: label_smoothing must be in [0, 1), got 1"},
      {[] {
         cross_entropy(ones({2, 0}), Indices({0, 0}));
       },
       "cross_entropy: target 0 is 0, outside [0, 0)"},
      {[] {
         cross_entropy(scalar(1), Indices({0, 0}));
       },
       "cross_entropy: logits need at least 1 axis, got shape ()"},
      {[] {
         reshape(ones({2, 3}), {4, 2});
       },
       "reshape: cannot turn shape (2, 3) into (4, 2)"},
      {[] {
         reshape(ones({2, 3}), {-1, -1});
       },
       "reshape: cannot turn shape (2, 3) into (-1, -1)"},
      {[] {
         reshape(ones({2, 3}), {-1, 4});
       },
       "reshape: cannot turn shape (2, 3) into (-1, 4)"},
      {[] {
         reshape(ones({0, 3}), {-1, 0});
       },
       "reshape: cannot turn shape (0, 3) into (-1, 0)"},
      {[] {
         reshape(ones({2, 3}), {-2, 3});
       },
       "reshape: cannot turn shape (2, 3) into (-2, 3)"},
      {[] {
         permute(ones({2, 3}), {0, 0});
       },
       "permute: order (0, 0) is not a permutation of the axes of shape (2, 3)"},
      {[] {
         permute(ones({2, 3}), {0, 2});
       },
       "permute: axis 2 is out of range for 2 axes"},
      {[] {
         permute(ones({2, 3}), {0});
       },
       "permute: order (0,) is not a permutation of the axes of shape (2, 3)"},
      {[] { transpose(ones(3)); }, "transpose: axis -2 is out of range for 1 axis"},
      {[] {
         transpose(ones({2, 3}), 0, 2);
       },
       "transpose: axis 2 is out of range for 2 axes"},
      {[] {
         slice(ones({2, 3}), 2, 0, 1);
       },
       "slice: axis 2 is out of range for 2 axes"},
      {[] {
         slice(ones({2, 3}), 0, 0, 1, 0);
       },
       "slice: needs step >= 1, got 0"},
      {[] { slice(scalar(1), 0, 0, 1); }, "slice: axis 0 is out of range for 0 axes"},
      {[] { concat({}); }, "concat: needs at least one tensor"},
      {[] {
         concat({ones({2, 3}), ones({2, 4})});
       },
       "concat: shapes (2, 3) and (2, 4) do not join along axis 0: axis 1 is 3 and 4"},
      {[] {
         concat({ones({2, 3}), ones(3)});
       },
       "concat: shapes (2, 3) and (3,) do not join: 2 and 1 axes"},
      {[] {
         concat({ones({2, 3}), ones({2, 3})}, 2);
       },
       "concat: axis 2 is out of range for 2 axes"},
      {[] { stack({}); }, "stack: needs at least one tensor"},
      {[] {
         stack({ones({2, 3}), ones({3, 2})});
       },
       "stack: needs equal shapes, got (2, 3) and (3, 2)"},
      {[] { stack({ones(3)}, 2); }, "stack: axis 2 is out of range for 2 axes"},
      {[] {
         split(ones({2, 3}), 0);
       },
       "split: needs size >= 1, got 0"},
      {[] {
         split(ones({2, 3}), 1, 2);
       },
       "split: axis 2 is out of range for 2 axes"},
      {[] {
         broadcast_to(ones({2, 3}), {3});
       },
       "broadcast_to: shape (2, 3) has more axes than (3,)"},
      {[] {
         broadcast_to(ones({2, 3}), {4, 3});
       },
       "broadcast_to: cannot turn shape (2, 3) into (4, 3): axis 0 is 2 and 4"},
      {[] {
         broadcast_to(ones(3), {-1, 3});
       },
       "broadcast_to: cannot turn shape (3,) into (-1, 3): axis 0 is -1"},
      {[] { tril(ones(3)); }, "tril: needs at least 2 axes, got shape (3,)"},
      {[] {
         zeros({2, -1});
       },
       "zeros: negative size in shape (2, -1)"},
      {[] { ones(-3); }, "ones: negative size in shape (-3,)"},
      {[] {
         full({1, -2}, 0);
       },
       "full: negative size in shape (1, -2)"},
      {[] { arange(0, 1, 0); }, "arange: needs finite bounds and a step other than 0, got 0, 1, 0"},
      {[] {
         tensor({1, 2, 3}, {2, 2});
       },
       "tensor: 3 values do not fill shape (2, 2), which has 4"},
      {[] {
         Rng rng;
         randn({-2}, rng);
       },
       "randn: negative size in shape (-2,)"},
      {[] {
         Rng rng;
         dropout(ones(3), real(1.5), rng);
       },
       "dropout: needs p in [0, 1], got 1.5"},
      {[] {
         layer_norm(ones({2, 3}), ones(2), {});
       },
       "layer_norm: weight has shape (2,), last axis of input (2, 3) is 3"},
      {[] {
         layer_norm(ones({2, 3}), {}, ones({1, 3}));
       },
       "layer_norm: bias has shape (1, 3), last axis of input (2, 3) is 3"},
      {[] { layer_norm(scalar(1), {}, {}); }, "layer_norm: needs at least 1 axis, got shape ()"},
      {[] {
         rms_norm(ones({2, 3}), ones(4));
       },
       "rms_norm: weight has shape (4,), last axis of input (2, 3) is 3"},
      {[] { rms_norm(scalar(1), {}); }, "rms_norm: needs at least 1 axis, got shape ()"},
      {[] {
         rope(ones({2, 3, 4}), ones({2, 2}), ones({2, 2}));
       },
       "rope: tables (2, 2) and (2, 2) do not fit x (2, 3, 4): they must be (T, r/2) with r <= d"},
      {[] {
         rope(ones({2, 3, 4}), ones({3, 2}), ones({3, 1}));
       },
       "rope: tables (3, 2) and (3, 1) do not fit x (2, 3, 4): they must be (T, r/2) with r <= d"},
      {[] {
         rope(ones({2, 3, 4}), ones({3, 3}), ones({3, 3}));
       },
       "rope: tables (3, 3) and (3, 3) do not fit x (2, 3, 4): they must be (T, r/2) with r <= d"},
      {[] {
         rope(ones(4), ones({3, 2}), ones({3, 2}));
       },
       "rope: needs at least 2 axes (..., T, d), got (4,)"},
      {[] { straight_through(ones(2), ones(3)); },
       "straight_through: the value has shape (2,), the surrogate (3,)"},
      {[] { custom("odd", {ones(2)}, ones(2), {}); }, "custom: the rule of odd is empty"},
      {[] { ones(2).item(); }, "item: needs exactly one element, got shape (2,)"},
      {[] {
         ones({2, 3}).size(2);
       },
       "size: axis 2 is out of range for 2 axes"},
      {[] { ones(2) + Tensor(); },
       "tensor: has no value yet (default-constructed, or no gradient)"},
  };
}

}  // namespace

OpFamily basics() {
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
  add({
      // matrix products
      {"matmul", [](List x) { return matmul(x[0], x[1]); }, {{2, N}, {N, 4}}},
      {"matmul a^T",
       [](List x) { return matmul(x[0], x[1], {.transpose_a = true}); },
       {{N, 2}, {N, 4}}},
      {"matmul b^T",
       [](List x) { return matmul(x[0], x[1], {.transpose_b = true}); },
       {{2, N}, {4, N}}},
      {"matmul a^T b^T",
       [](List x) {
         return matmul(x[0], x[1], {true, true});
       },
       {{N, 2}, {4, N}}},
      {"matmul batched", [](List x) { return matmul(x[0], x[1]); }, {{2, 4, N}, {2, N, 2}}},
      {"matmul batched a^T b^T",
       [](List x) {
         return matmul(x[0], x[1], {true, true});
       },
       {{2, N, 4}, {2, 2, N}}},
      {"matmul many a, one b", [](List x) { return matmul(x[0], x[1]); }, {{2, 2, 4, N}, {N, 2}}},
      {"matmul many a, one b^T",
       [](List x) { return matmul(x[0], x[1], {.transpose_b = true}); },
       {{2, 4, N}, {2, N}}},
      {"matmul many a^T, one b",
       [](List x) { return matmul(x[0], x[1], {.transpose_a = true}); },
       {{2, N, 4}, {N, 2}}},
      {"matmul one a, many b", [](List x) { return matmul(x[0], x[1]); }, {{4, N}, {2, N, 2}}},
      {"matmul broadcast batch",
       [](List x) { return matmul(x[0], x[1]); },
       {{2, 1, 4, N}, {3, N, 2}}},
      {"matmul vector @ matrix", [](List x) { return matmul(x[0], x[1]); }, {{N}, {N, 4}}},
      {"matmul matrix @ vector", [](List x) { return matmul(x[0], x[1]); }, {{2, 4, N}, {N}}},
      {"matmul vector @ vector", [](List x) { return matmul(x[0], x[1]); }, {{N}, {N}}},
      {"linear", [](List x) { return linear(x[0], x[1], x[2]); }, {{2, 4, N}, {2, N}, {2}}},
      {"linear no bias", [](List x) { return linear(x[0], x[1]); }, {{4, N}, {2, N}}},
  });
  add({
      // reductions
      {"sum", [](List x) { return sum(x[0]); }, {{2, N}}},
      {"sum last axis", [](List x) { return sum(x[0], -1); }, {{4, N}}},
      {"sum first axis", [](List x) { return sum(x[0], 0); }, {{N, 4}}},
      {"sum middle axis keepdims", [](List x) { return sum(x[0], 1, keepdims); }, {{2, N, 4}}},
      {"sum outer axes",
       [](List x) {
         return sum(x[0], {0, -1});
       },
       {{2, N, 4}}},
      {"sum no axes", [](List x) { return sum(x[0], {}); }, {{2, N}}},
      {"sum 0-d", [](List x) { return sum(x[0]); }, {{}}},
      {"mean", [](List x) { return mean(x[0]); }, {{2, N}}},
      {"mean last axis", [](List x) { return mean(x[0], -1); }, {{4, N}}},
      {"mean outer axes keepdims",
       [](List x) {
         return mean(x[0], {0, 2}, keepdims);
       },
       {{2, N, 4}}},
      {"var", [](List x) { return var(x[0], -1); }, {{2, N}}},
      {"var biased keepdims",
       [](List x) {
         return var(x[0], {0, 2}, keepdims, 0);
       },
       {{2, N, 4}}},
      {"max", [](List x) { return max(x[0]); }, {{2, N}}, -2, 2, false, {1, 5}},
      {"max last axis", [](List x) { return max(x[0], -1); }, {{4, N}}, -2, 2, false, {1, 5}},
      {"max outer axes keepdims",
       [](List x) {
         return max(x[0], {0, 2}, keepdims);
       },
       {{2, N, 4}}},
      {"min", [](List x) { return min(x[0]); }, {{2, N}}, -2, 2, false, {1, 5}},
      {"min first axis keepdims", [](List x) { return min(x[0], 0, keepdims); }, {{4, N}}},
      {"logsumexp", [](List x) { return logsumexp(x[0], -1); }, {{4, N}}, -2, 2, false, {1, 5}},
      {"logsumexp first axis keepdims",
       [](List x) { return logsumexp(x[0], 0, keepdims); },
       {{4, N}}},
      {"logsumexp outer axes",
       [](List x) {
         return logsumexp(x[0], {0, 2});
       },
       {{2, N, 4}}},
      {"sum_to row", [](List x) { return sum_to(x[0], {x[0].size(-1)}); }, {{4, 2, N}}},
      {"sum_to column",
       [](List x) {
         return sum_to(x[0], {2, 1});
       },
       {{4, 2, N}}},
      {"sum_to 0-d", [](List x) { return sum_to(x[0], {}); }, {{4, N}}},
  });
  add({
      // softmax and cross-entropy
      {"softmax", [](List x) { return softmax(x[0]); }, {{4, N}}},
      {"softmax first axis", [](List x) { return softmax(x[0], 0); }, {{4, N}}},
      {"softmax middle axis", [](List x) { return softmax(x[0], 1); }, {{2, N, 4}}},
      {"log_softmax", [](List x) { return log_softmax(x[0]); }, {{4, N}}},
      {"log_softmax first axis", [](List x) { return log_softmax(x[0], 0); }, {{4, N}}},
      {"cross_entropy",
       [](List x) {
         return cross_entropy(x[0], class_ids({0, 2, 1, 0}));
       },
       {{4, N}},
       -2,
       2,
       true,
       {3, 5}},
      {"cross_entropy options",
       [](List x) {
         return cross_entropy(x[0], class_ids({0, -1, 1, 2}), smoothed);
       },
       {{4, N}},
       -2,
       2,
       true,
       {3, 5}},
      {"composite::cross_entropy",
       [](List x) {
         return composite::cross_entropy(x[0], class_ids({0, 2, 1, 0}));
       },
       {{4, N}},
       -2,
       2,
       false,
       {3, 5}},
      {"composite::cross_entropy options",
       [](List x) {
         return composite::cross_entropy(x[0], class_ids({0, -1, 1, 2}), smoothed);
       },
       {{4, N}},
       -2,
       2,
       false,
       {3, 5}},
  });
  add({
      // normalisation
      {"layer_norm",
       [](List x) { return layer_norm(x[0], x[1], x[2]); },
       {{2, 4, N}, {N}, {N}},
       -2,
       2,
       true},
      {"layer_norm no weights",
       [](List x) { return layer_norm(x[0], {}, {}); },
       {{4, N}},
       -2,
       2,
       true},
      {"layer_norm weight only",
       [](List x) { return layer_norm(x[0], x[1], {}); },
       {{4, N}, {N}},
       -2,
       2,
       true},
      {"layer_norm bias only eps",
       [](List x) { return layer_norm(x[0], {}, x[1], real(0.1)); },
       {{4, N}, {N}},
       -2,
       2,
       true},
      {"rms_norm", [](List x) { return rms_norm(x[0], x[1]); }, {{2, 4, N}, {N}}, -2, 2, true},
      {"rms_norm no weight",
       [](List x) { return rms_norm(x[0], {}, real(0.1)); },
       {{4, N}},
       -2,
       2,
       true},
      {"composite::layer_norm",
       [](List x) { return composite::layer_norm(x[0], x[1], x[2]); },
       {{2, 4, N}, {N}, {N}}},
      {"composite::rms_norm",
       [](List x) { return composite::rms_norm(x[0], x[1]); },
       {{2, 4, N}, {N}}},
  });
  add({
      // extrema and selection: the two sides are kept apart by an offset, or the constants lie off
      // the values
      {"maximum", [](List x) { return maximum(x[0], x[1]); }, {{2, N}, {2, N}}},
      {"maximum column", [](List x) { return maximum(x[0], x[1]); }, {{2, N}, {2, 1}}},
      {"minimum", [](List x) { return minimum(x[0], x[1]); }, {{2, N}, {2, N}}},
      {"minimum row", [](List x) { return minimum(x[0], x[1]); }, {{N}, {4, N}}},
      {"clamp", [](List x) { return clamp(x[0], real(-0.9), real(1.1)); }, {{3, N}}},
      {"abs", [](List x) { return abs(x[0]); }, {{2, N}}},
      {"where", [](List x) { return where(x[0] < real(0.3), x[1], x[2]); }, {{2, N}, {N}, {2, 1}}},
      {"where(a, scalar)",
       [](List x) { return where(x[0] > real(0.3), x[0], real(0.5)); },
       {{2, N}}},
      {"where(scalar, b)",
       [](List x) { return where(x[1] <= real(0.3), real(0.5), x[0]); },
       {{N}, {2, N}}},
      {"masked_fill",
       [](List x) { return masked_fill(x[0], x[1] >= real(0.3), real(-3)); },
       {{2, N}, {N}}},
      {"comparison mask", [](List x) { return x[0] * equal(x[1] > x[0], real(0)); }, {{2, N}, {N}}},
      {"pow 0", [](List x) { return pow(x[0], real(0)); }, {{2, N}}},
      {"pow(a, row)", [](List x) { return pow(x[0], x[1]); }, {{2, N}, {N}}, 0.5, 2},
  });
  add({
      // elementwise functions
      {"exp", [](List x) { return exp(x[0]); }, {{2, N}}},
      {"log", [](List x) { return log(x[0]); }, {{2, N}}, 0.5, 3},
      {"sqrt", [](List x) { return sqrt(x[0]); }, {{2, N}}, 0.5, 3},
      {"rsqrt", [](List x) { return rsqrt(x[0]); }, {{2, N}}, 0.5, 3},
      {"tanh", [](List x) { return tanh(x[0]); }, {{2, N}}},
      {"sigmoid", [](List x) { return sigmoid(x[0]); }, {{2, N}}, -4, 4},
      {"relu", [](List x) { return relu(x[0]); }, {{2, N}}},
      {"silu", [](List x) { return silu(x[0]); }, {{2, N}}, -4, 4},
      {"softplus", [](List x) { return softplus(x[0]); }, {{2, N}}, -4, 4},
      {"swiglu", [](List x) { return swiglu(x[0], x[1]); }, {{2, N}, {2, N}}, -3, 3},
      {"gelu erf", [](List x) { return gelu(x[0]); }, {{2, N}}, -3, 3},
      {"gelu tanh", [](List x) { return gelu(x[0], Gelu::tanh); }, {{2, N}}, -3, 3},
  });
  add({
      // shapes
      {"reshape",
       [](List x) {
         return reshape(x[0], {2, -1});
       },
       {{3, 2, N}},
       -2,
       2,
       false,
       {1, 5}},
      {"reshape to (N, 6)",
       [](List x) {
         return reshape(x[0], {x[0].size(2), 6});
       },
       {{3, 2, N}}},
      {"permute last two",
       [](List x) {
         return permute(x[0], {0, 2, 1});
       },
       {{2, 3, N}}},
      {"permute middle two",
       [](List x) {
         return permute(x[0], {0, 2, 1, -1});
       },
       {{2, 3, N, 2}}},
      {"permute cycle",
       [](List x) {
         return permute(x[0], {2, 0, 1});
       },
       {{2, 3, N}}},
      {"transpose", [](List x) { return transpose(x[0]); }, {{3, N}}},
      {"transpose outer", [](List x) { return transpose(x[0], 0, 1); }, {{3, N, 2}}},
      {"slice", [](List x) { return xgrad::slice(x[0], 0, 1, 3); }, {{4, N}}},
      {"slice stepped", [](List x) { return xgrad::slice(x[0], -1, 1, 6, 2); }, {{N, 7}}},
      {"slice end", [](List x) { return xgrad::slice(x[0], 1, -2, 100); }, {{2, N, 2}}},
      {"concat",
       [](List x) {
         return concat({x[0], x[1], x[0]}, 1);
       },
       {{2, N}, {2, 2}}},
      {"concat rows",
       [](List x) {
         return concat({x[0], x[1]});
       },
       {{2, N}, {3, N}}},
      {"stack",
       [](List x) {
         return stack({x[0], x[1]});
       },
       {{2, N}, {2, N}}},
      {"stack last",
       [](List x) {
         return stack({x[0], x[1]}, -1);
       },
       {{2, N}, {2, N}}},
      {"split", [](List x) { return split(x[0], 2, 1)[1]; }, {{N, 3}}},
      {"broadcast_to rows",
       [](List x) {
         return broadcast_to(x[0], {2, 4, -1});
       },
       {{N}}},
      {"broadcast_to columns",
       [](List x) {
         return broadcast_to(x[0], {-1, 4});
       },
       {{N, 1}}},
      {"broadcast_to middle",
       [](List x) {
         return broadcast_to(x[0], {2, 3, -1});
       },
       {{2, 1, N}}},
      {"tril", [](List x) { return xgrad::tril(x[0]); }, {{2, 3, N}}},
      {"tril above", [](List x) { return xgrad::tril(x[0], 1); }, {{3, N}}},
      // look-up and dropout
      {"embedding",
       [](List x) {
         return embedding(x[0], Indices({{3, 0, 3}, {1, 3, 0}}));
       },
       {{4, N}}},
      {"dropout",
       [](List x) {
         Rng rng(7);
         return dropout(x[0], real(0.4), rng);
       },
       {{5, N}}},
  });
  add({
      // rotary positions
      {"rope",
       [](List x) { return rope(x[0], angles_cos(3, 2), angles_sin(3, 2)); },
       {{2, N, 3, 4}}},
      {"rope interleaved, part",
       [](List x) {
         return rope(x[0], angles_cos(3, 2), angles_sin(3, 2), RopeLayout::interleaved);
       },
       {{N, 3, 6}}},
  });
  add({
      // gradients by hand, recomputation
      {"straight_through",
       [](List x) { return straight_through(stop_gradient(x[0]), x[0]); },
       {{2, N}}},
      {"custom",
       [](List x) {
         return custom("product", {x[0], x[1]}, Tensor(x[0].array() * x[1].array()),
                       [](const Tensor& grad, List in, const Tensor&) {
                         return std::vector{grad * in[1], grad * in[0]};
                       });
       },
       {{2, N}, {2, N}}},
      {"checkpoint",
       [](List x) { return checkpoint([](List in) { return tanh(in[0]) * in[1]; }, x); },
       {{2, N}, {N}},
       -2,
       2,
       true},
  });
  return {rows, errors()};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
