// Rows of attention, apart and on one projection, fused and spelled out, with all it may do.
#include "op_table.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;
using Shapes = std::vector<std::vector<std::size_t>>;

/// Angles that are no rotation of anything: cos and sin of 0, 0.7, 1.4, … and other tables would
/// do.
Rotation rotation(std::size_t positions, std::size_t half, RopeLayout layout) {
  const Tensor angles =
      reshape(arange(0, static_cast<real>(positions * half)) * real(0.7),
              {static_cast<std::int64_t>(positions), static_cast<std::int64_t>(half)});
  return {.cos = cos(angles), .sin = sin(angles), .start = 1, .layout = layout};
}

/// Every third key of the first of two texts, and all of the second but its first.
Tensor padding(std::size_t keys) {
  Tensor mask = ones({2, keys});
  for (std::size_t j = 0; j < keys; ++j) mask.mutable_data()[j] = j % 3 == 2 ? 1 : 0;
  if (keys > 0) mask.mutable_data()[keys] = 0;
  return mask;
}

/// Rows of an operation on x[0], …, given its options by how many keys there are.
struct Variant {
  std::string name;
  std::function<AttentionOptions(std::size_t)> options;
};

const std::vector<Variant> variants{
    {"", [](std::size_t) { return AttentionOptions{}; }},
    {" grouped, alibi",
     [](std::size_t) {
       return AttentionOptions{.scale = 0.4,
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}}};
     }},
    {" rope",
     [](std::size_t keys) {
       return AttentionOptions{
           .positions = {.rotation = rotation(keys + 1, 2, RopeLayout::half_split)}};
     }},
    {" rope interleaved, part",
     [](std::size_t keys) {
       return AttentionOptions{
           .positions = {.rotation = rotation(keys + 3, 1, RopeLayout::interleaved)}};
     }},
    {" padding", [](std::size_t keys) { return AttentionOptions{.key_padding = padding(keys)}; }},
    {" not causal, padding, alibi",
     [](std::size_t keys) {
       return AttentionOptions{.causal = false,
                               .positions = {.slopes = {real(0.5), real(0.25), 0, 1}},
                               .key_padding = padding(keys)};
     }},
    {" dropout", [](std::size_t) { return AttentionOptions{.dropout = 0.3}; }},
};

}  // namespace

OpFamily attention_rows() {
  std::vector<OpRow> rows;
  for (const auto& [name, options] : variants)
    for (const bool fused : {true, false}) {
      const auto with = [options = options](std::size_t keys, Rng& rng) {
        AttentionOptions o = options(keys);
        o.rng = &rng;
        return o;
      };
      rows.push_back({(fused ? "attention" : "composite::attention") + name,
                      [=](List x) {
                        Rng rng(7);
                        return (fused ? attention : composite::attention)(x[0], x[1], x[2],
                                                                          with(x[1].size(2), rng));
                      },
                      {{2, 4, 2, 4}, {2, 2, N, 4}, {2, 2, N, 3}},
                      -2,
                      2,
                      fused,
                      {2, 5},
                      300});
      rows.push_back({(fused ? "self_attention" : "composite::self_attention") + name,
                      [=](List x) {
                        Rng rng(7);
                        return (fused ? self_attention : composite::self_attention)(
                            x[0], 4, 2, with(x[0].size(1), rng));
                      },
                      {{2, N, 32}},
                      -2,
                      2,
                      fused,
                      {1, 5},
                      150});
    }
  return {std::move(rows), {}};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
