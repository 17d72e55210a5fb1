// Rows of convolution, pooling and the norms by channels.
#include "op_table.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

// Statistics that a norm in evaluation reads, and one in training moves.
Tensor running_mean() { return tensor({real(0.5), real(-0.25), real(0), real(1)}); }
Tensor running_var() { return tensor({1, real(0.5), 2, real(0.25)}); }

constexpr BatchNormOptions training{.training = true};

}  // namespace

OpFamily conv() {
  OpFamily family;
  family.rows = {
      {"conv1d", [](List x) { return conv1d(x[0], x[1], x[2]); }, {{N, 2, 5}, {4, 2, 3}, {4}}},
      {"conv1d no bias", [](List x) { return conv1d(x[0], x[1]); }, {{2, N, 4}, {2, N, 2}}},
      {"conv1d stride, padding, dilation, groups",
       [](List x) {
         return conv1d(x[0], x[1], x[2], {.stride = 2, .padding = 2, .dilation = 2, .groups = 2});
       },
       {{2, 4, N}, {2, 2, 3}, {2}},
       -2,
       2,
       false,
       {1, 5}},
      {"conv1d depthwise",
       [](List x) { return conv1d(x[0], x[1], {}, {.padding = 1, .groups = x[0].size(1)}); },
       {{2, N, 4}, {N, 1, 3}},
       -2,
       2,
       false,
       {1, 5}},
      {"conv2d",
       [](List x) { return conv2d(x[0], x[1], x[2]); },
       {{N, 2, 3, 4}, {2, 2, 2, 3}, {2}}},
      {"conv2d stride, padding, dilation per axis",
       [](List x) {
         return conv2d(x[0], x[1], x[2], {.stride = {2, 1}, .padding = {1, 2}, .dilation = {1, 2}});
       },
       {{1, 2, 4, N}, {2, 2, 3, 2}, {2}},
       -2,
       2,
       false,
       {1, 5}},
      {"conv2d groups",
       [](List x) { return conv2d(x[0], x[1], {}, {.stride = 2, .padding = 1, .groups = 2}); },
       {{N, 4, 3, 3}, {2, 2, 3, 3}}},
      {"conv2d 1x1",
       [](List x) { return conv2d(x[0], x[1], x[2]); },
       {{2, N, 2, 3}, {4, N, 1, 1}, {4}}},
      {"conv2d 1x1 groups",
       [](List x) { return conv2d(x[0], x[1], {}, {.groups = 2}); },
       {{N, 4, 2, 2}, {2, 2, 1, 1}}},
      {"conv_transpose1d",
       [](List x) { return conv_transpose1d(x[0], x[1], x[2]); },
       {{N, 2, 3}, {2, 4, 3}, {4}}},
      {"conv_transpose1d with all settings",
       [](List x) {
         return conv_transpose1d(
             x[0], x[1], x[2],
             {.stride = 3, .padding = 1, .output_padding = 2, .groups = 2, .dilation = 2});
       },
       {{2, 4, N}, {4, 1, 3}, {2}},
       -2,
       2,
       false,
       {1, 5}},
      {"conv_transpose2d",
       [](List x) { return conv_transpose2d(x[0], x[1]); },
       {{2, N, 2, 3}, {N, 2, 2, 2}}},
      {"conv_transpose2d with settings per axis",
       [](List x) {
         return conv_transpose2d(x[0], x[1], x[2],
                                 {.stride = {2, 1}, .padding = {0, 1}, .output_padding = {1, 0}});
       },
       {{1, 2, 2, N}, {2, 3, 2, 3}, {3}},
       -2,
       2,
       false,
       {1, 5}},
      {"conv_transpose2d 1x1",
       [](List x) { return conv_transpose2d(x[0], x[1], x[2]); },
       {{N, 2, 2, 3}, {2, 3, 1, 1}, {3}}},

      {"max_pool1d", [](List x) { return max_pool1d(x[0], 2); }, {{N, 2, 5}}},
      {"max_pool1d with settings",
       [](List x) { return max_pool1d(x[0], 3, {.stride = 1, .padding = 1, .dilation = 2}); },
       {{N, 7}}},
      {"max_pool2d", [](List x) { return max_pool2d(x[0], 2); }, {{N, 2, 4, 5}}},
      {"max_pool2d with settings per axis",
       [](List x) {
         return max_pool2d(x[0], {3, 2}, {.stride = {1, 2}, .padding = {1, 0}});
       },
       {{2, 3, N, 4}},
       -2,
       2,
       false,
       {1, 5}},
      {"avg_pool1d", [](List x) { return avg_pool1d(x[0], 2); }, {{N, 2, 5}}},
      {"avg_pool1d stride",
       [](List x) { return avg_pool1d(x[0], 3, {.stride = 1, .padding = 1}); },
       {{4, N}},
       -2,
       2,
       false,
       {1, 5}},
      {"avg_pool2d",
       [](List x) {
         return avg_pool2d(x[0], {2, 3});
       },
       {{N, 2, 4, 5}}},
      {"avg_pool2d without padding",
       [](List x) {
         return avg_pool2d(x[0], 3, {.stride = {1, 2}, .padding = 1, .count_include_pad = false});
       },
       {{N, 4, 5}}},

      {"group_norm",
       [](List x) { return group_norm(x[0], 2, x[1], x[2]); },
       {{N, 4, 3}, {4}, {4}},
       -2,
       2,
       true},
      {"group_norm no weights, eps",
       [](List x) { return group_norm(x[0], 1, {}, {}, real(0.1)); },
       {{2, 3, 2, N}},
       -2,
       2,
       true},
      {"group_norm of rows",
       [](List x) { return group_norm(x[0], 2, x[1], x[2]); },
       {{N, 6}, {6}, {6}},
       -2,
       2,
       true},
      {"batch_norm training",
       [](List x) { return batch_norm(x[0], {}, {}, x[1], x[2], training); },
       {{3, 4, N}, {4}, {4}},
       -2,
       2,
       true},
      {"batch_norm training, weight only",
       [](List x) { return batch_norm(x[0], running_mean(), running_var(), x[1], {}, training); },
       {{2, 4, N, 2}, {4}},
       -2,
       2,
       true},
      {"batch_norm training on rows",
       [](List x) { return batch_norm(x[0], {}, {}, x[1], x[2], training); },
       {{5, N}, {N}, {N}},
       -2,
       2,
       true},
      {"batch_norm",
       [](List x) { return batch_norm(x[0], running_mean(), running_var(), x[1], x[2]); },
       {{2, 4, N}, {4}, {4}},
       -2,
       2,
       true},
      {"batch_norm of rows, bias only",
       [](List x) { return batch_norm(x[0], running_mean(), running_var(), {}, x[1]); },
       {{N, 4}, {4}},
       -2,
       2,
       true},
      {"composite::group_norm",
       [](List x) { return composite::group_norm(x[0], 2, x[1], x[2]); },
       {{N, 4, 3}, {4}, {4}}},
      {"composite::batch_norm training",
       [](List x) { return composite::batch_norm(x[0], {}, {}, x[1], x[2], training); },
       {{3, 4, N}, {4}, {4}}},
      {"composite::batch_norm",
       [](List x) {
         return composite::batch_norm(x[0], running_mean(), running_var(), x[1], x[2]);
       },
       {{N, 4}, {4}, {4}}},
  };

  const Tensor sequence = zeros({2, 4, 5}), image = zeros({2, 4, 5, 6});
  const auto w = [](const Ints& shape) { return zeros(shape); };
  family.errors = {
      {[=] {
         conv1d(image, w({1, 4, 3}));
       },
       "conv1d: needs x (N, C, L), got shape (2, 4, 5, 6)"},
      {[=] {
         conv2d(sequence, w({1, 4, 3, 3}));
       },
       "conv2d: needs x (N, C, H, W), got shape (2, 4, 5)"},
      {[=] {
         conv1d(sequence, w({1, 4}));
       },
       "conv1d: needs a weight (O, C/groups, k), got shape (1, 4)"},
      {[=] {
         conv2d(image, w({4, 3, 3}));
       },
       "conv2d: needs a weight (O, C/groups, kH, kW), got shape (4, 3, 3)"},
      {[=] {
         conv2d(image, w({6, 3, 3, 3}));
       },
       "conv2d: channels differ: x (2, 4, 5, 6), weight (6, 3, 3, 3): 4 != 3"},
      {[=] {
         conv2d(image, w({6, 4, 3, 3}), {}, {.groups = 2});
       },
       "conv2d: channels differ: x (2, 4, 5, 6), weight (6, 4, 3, 3) in 2 groups: 4 != 8"},
      {[=] {
         conv1d(sequence, w({3, 2, 1}), {}, {.groups = 2});
       },
       "conv1d: the weight (3, 2, 1) does not fall into groups: 2 does not divide 3"},
      {[=] {
         conv1d(sequence, w({3, 4, 1}), {}, {.groups = 0});
       },
       "conv1d: the weight (3, 4, 1) does not fall into groups: 0 does not divide 3"},
      {[=] {
         conv1d(sequence, w({3, 4, 1}), zeros(4));
       },
       "conv1d: bias has shape (4,), weight (3, 4, 1) gives 3"},
      {[=] {
         conv1d(sequence, w({3, 4, 6}));
       },
       "conv1d: the window is larger than the input (2, 4, 5): 6 > 5"},
      {[=] {
         conv2d(image, w({1, 4, 3, 2}), {}, {.padding = 1, .dilation = 4});
       },
       "conv2d: the window is larger than the input (2, 4, 5, 6): 9 > 7, padding included"},
      {[=] {
         conv1d(sequence, w({3, 4, 0}));
       },
       "conv1d: kernel needs 1 number of at least 1, got (0,)"},
      {[=] {
         conv1d(sequence, w({3, 4, 1}), {}, {.stride = 0});
       },
       "conv1d: stride needs 1 number of at least 1, got (0,)"},
      {[=] {
         conv1d(sequence, w({3, 4, 1}), {}, {.stride = {1, 2}});
       },
       "conv1d: stride needs 1 number of at least 1, got (1, 2)"},
      {[=] {
         conv2d(image, w({3, 4, 1, 1}), {}, {.padding = {1, -1}});
       },
       "conv2d: padding needs 1 or 2 numbers of at least 0, got (1, -1)"},
      {[=] {
         conv2d(image, w({3, 4, 1, 1}), {}, {.dilation = {1, 2, 3}});
       },
       "conv2d: dilation needs 1 or 2 numbers of at least 1, got (1, 2, 3)"},

      {[=] {
         conv_transpose1d(zeros({4, 5}), w({4, 3, 2}));
       },
       "conv_transpose1d: needs x (N, C, L), got shape (4, 5)"},
      {[=] {
         conv_transpose2d(image, w({4, 3, 2}));
       },
       "conv_transpose2d: needs a weight (C, O/groups, kH, kW), got shape (4, 3, 2)"},
      {[=] {
         conv_transpose1d(sequence, w({3, 4, 2}));
       },
       "conv_transpose1d: channels differ: x (2, 4, 5), weight (3, 4, 2): 4 != 3"},
      {[=] {
         conv_transpose1d(sequence, w({4, 1, 2}), zeros(2));
       },
       "conv_transpose1d: bias has shape (2,), weight (4, 1, 2) gives 1"},
      {[=] {
         conv_transpose1d(sequence, w({4, 1, 2}), {}, {.groups = 3});
       },
       "conv_transpose1d: the weight (4, 1, 2) does not fall into groups: 3 does not divide 4"},
      {[=] {
         conv_transpose2d(image, w({4, 1, 2, 2}), {}, {.stride = 2, .output_padding = 2});
       },
       "conv_transpose2d: output_padding must be less than the stride or the dilation: 2 >= 2"},
      {[=] {
         conv_transpose1d(sequence, w({4, 1, 2}), {}, {.output_padding = -1});
       },
       "conv_transpose1d: output_padding needs 1 number of at least 0, got (-1,)"},
      {[=] {
         conv_transpose1d(sequence, w({4, 1, 2}), {}, {.padding = 3});
       },
       "conv_transpose1d: nothing is left of the output: x (2, 4, 5), weight (4, 1, 2), padding 3"},
      {[=] {
         conv_transpose1d(zeros({2, 4, 0}), w({4, 1, 2}));
       },
       "conv_transpose1d: nothing is left of the output: x (2, 4, 0), weight (4, 1, 2), padding 0"},

      {[] { max_pool1d(scalar(1), 2); }, "max_pool1d: needs x (..., L), got shape ()"},
      {[] { max_pool2d(zeros(3), 2); }, "max_pool2d: needs x (..., H, W), got shape (3,)"},
      {[=] { max_pool2d(image, 6); },
       "max_pool2d: the window is larger than the input (2, 4, 5, 6): 6 > 5"},
      {[=] { max_pool1d(sequence, 0); },
       "max_pool1d: kernel needs 1 number of at least 1, got (0,)"},
      {[=] { max_pool2d(image, 2, {.stride = 0}); },
       "max_pool2d: stride needs 1 or 2 numbers of at least 1, got (0,)"},
      {[=] { max_pool1d(sequence, 2, {.padding = 2}); },
       "max_pool1d: padding is at most half a window: 2 > 2 / 2"},
      {[] { avg_pool1d(scalar(1), 2); }, "avg_pool1d: needs x (..., L), got shape ()"},
      {[] { avg_pool2d(zeros(3), 2); }, "avg_pool2d: needs x (..., H, W), got shape (3,)"},
      {[=] {
         avg_pool1d(zeros({2, 0}), 1);
       },
       "avg_pool1d: the window is larger than the input (2, 0): 1 > 0"},
      {[=] {
         avg_pool2d(image, {2, 2, 2});
       },
       "avg_pool2d: kernel needs 1 or 2 numbers of at least 1, got (2, 2, 2)"},
      {[=] {
         avg_pool2d(image, 3, {.padding = {1, 2}});
       },
       "avg_pool2d: padding is at most half a window: 2 > 3 / 2"},

      {[] { group_norm(zeros(3), 1); }, "group_norm: needs x (N, C, ...), got shape (3,)"},
      {[=] { group_norm(sequence, 3); },
       "group_norm: the channels of (2, 4, 5) do not fall into groups: 3 does not divide 4"},
      {[=] { group_norm(sequence, 0); },
       "group_norm: the channels of (2, 4, 5) do not fall into groups: 0 does not divide 4"},
      {[=] { group_norm(sequence, 2, zeros(5)); },
       "group_norm: weight has shape (5,), input (2, 4, 5) has 4 channels"},
      {[=] {
         group_norm(sequence, 2, {}, zeros({4, 1}));
       },
       "group_norm: bias has shape (4, 1), input (2, 4, 5) has 4 channels"},
      {[=] { group_norm(sequence, 2, {}, {}, -1); },
       "group_norm: eps must not be negative, got -1"},
      {[] { batch_norm(zeros(3), {}, {}, {}, {}, training); },
       "batch_norm: needs x (N, C, ...), got shape (3,)"},
      {[=] { batch_norm(sequence, zeros(3), ones(4)); },
       "batch_norm: running_mean has shape (3,), input (2, 4, 5) has 4 channels"},
      {[=] { batch_norm(sequence, zeros(4), scalar(1)); },
       "batch_norm: running_var has shape (), input (2, 4, 5) has 4 channels"},
      {[=] { batch_norm(sequence, {}, {}); },
       "batch_norm: needs running_mean and running_var unless training"},
      {[] {
         batch_norm(zeros({1, 3}), {}, {}, {}, {}, training);
       },
       "batch_norm: training needs more than 1 value per channel, got input (1, 3)"},
      {[=] { batch_norm(sequence, {}, {}, zeros(5), {}, training); },
       "batch_norm: weight has shape (5,), input (2, 4, 5) has 4 channels"},
      {[=] { composite::group_norm(sequence, 3); },
       "group_norm: the channels of (2, 4, 5) do not fall into groups: 3 does not divide 4"},
      {[=] { composite::batch_norm(sequence, {}, {}); },
       "batch_norm: needs running_mean and running_var unless training"},
  };
  return family;
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
