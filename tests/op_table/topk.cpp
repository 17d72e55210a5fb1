// Rows of the top-k operators, with temperature and k among the inputs, and of the losses on them.
#include "op_table.hpp"

#include <limits>

#include <xgrad/nn/topk.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

/// Scores, temperature and k.
template <class Op>
Tensor with_k(List x) {
  return Op()(x[0], at_most(x[2]), x[1]);
}
template <class Op>
Tensor two_of(List x) {
  return Op()(x[0], at_most(2), x[1]);
}

/// The second score of each row is masked.
Tensor mask_second(const Tensor& x) {
  Tensor hidden = zeros(x.shape());
  for (std::size_t i = 1; i < x.size(); i += x.size(-1)) hidden.mutable_data()[i] = 1;
  return masked_fill(x, hidden, -std::numeric_limits<real>::infinity());
}

Tensor gumbel(List x) {
  Rng rng(3);
  return GumbelTopK(SigmoidTopK(), 1, &rng)(x[0], at_most(2), x[1]);
}

/// Score 2 of each of `rows`.
Indices third(std::size_t rows) {
  return Indices::from_shape({rows}) = xt::ones<std::int64_t>({rows}) * 2;
}

/// Scores 0 and 2 of each of `rows`.
Indices first_and_third(std::size_t rows) {
  Indices ids = Indices::from_shape({rows, 2});
  for (std::size_t i = 0; i < ids.size(); ++i) ids.data()[i] = i % 2 * 2;
  return ids;
}

template <class Op>
Tensor cross_entropy_of(List x) {
  return topk_cross_entropy(x[0], third(x[0].size(0)), x[2], x[1], Op());
}
template <class Op>
Tensor young_of(List x) {
  return Op().fenchel_young(x[0], first_and_third(x[0].size(0)), x[1]);
}

std::vector<ErrorRow> errors() {
  constexpr real inf = std::numeric_limits<real>::infinity();
  const Tensor x = zeros({2, 3}), nan = tensor({0, 1, 2, 0, std::nan(""), 1}, {2, 3}),
               high = tensor({0, inf, 2, 0, 1, 1}, {2, 3}),
               masked = tensor({0, 1, 2, -inf, 1, -inf}, {2, 3});
  const LaplaceTopK laplace;
  const GradTopK grad;
  return {
      {[=] { laplace(scalar(1), 1); }, "LaplaceTopK: scores need at least 1 axis, got shape ()"},
      {[=] { laplace(x, 4); }, "LaplaceTopK: k = 4 exceeds the 3 scores of a row"},
      {[=] { SigmoidTopK()(x, -1); }, "SigmoidTopK: k must be at least 0, got -1"},
      {[=] { SigmoidTopK()(x, std::nan("")); }, "SigmoidTopK: k must be at least 0, got nan"},
      {[=] { MinExpTopK()(x, 1, 0); },
       "MinExpTopK: the temperature must be positive and finite, got 0"},
      {[=] { SparseTopK<1>()(x, 1, -1); },
       "SparseTopK<1>: the temperature must be positive and finite, got -1"},
      {[=] { SparseTopK<2>()(x, 1, inf); },
       "SparseTopK<2>: the temperature must be positive and finite, got inf"},
      {[=] { grad(x, 1, scalar(std::nan(""))); },
       "GradTopK: the temperature must be positive and finite, got nan"},
      {[=] { grad(x, 1, ones(2)); },
       "GradTopK: the temperature must be one number, got shape (2,)"},
      {[=] { grad(x, ones(2)); }, "GradTopK: k must be one number, got shape (2,)"},
      {[=] { grad(x, 1.5); }, "GradTopK: k must be a whole number, got 1.5"},
      {[=] { SoftKMax()(x, real(.5)); }, "SoftKMax: k must be a whole number, got 0.5"},
      {[=] { grad(nan, 1); }, "GradTopK: score 1 of row 1 is NaN"},
      {[=] { SequentialSoftmax()(high, 1); }, "SequentialSoftmax: score 1 of row 0 is inf"},
      {[=] { hard_topk(nan, 1); }, "hard_topk: score 1 of row 1 is NaN"},
      {[=] { hard_topk(masked, 2); },
       "hard_topk: k = 2 exceeds the 1 finite scores of row 1; at_most(k) takes as many as there "
       "are"},
      {[=] { SparseTopK<3>()(masked, 2); },
       "SparseTopK<3>: k = 2 exceeds the 1 finite scores of row 1; at_most(k) takes as many as "
       "there are"},

      {[=] {
         topk_cross_entropy(x, Indices({0, 1, 2}), 2);
       },
       "LaplaceTopK: scores (2, 3) need one target per row: targets have shape (3,), expected "
       "(2,)"},
      {[=] {
         topk_cross_entropy(x, Indices({0, 3}), 2);
       },
       "LaplaceTopK: target 1 is 3, outside [0, 3)"},
      {[=] {
         topk_cross_entropy(masked, Indices({0, 2}), 1);
       },
       "LaplaceTopK: target 1 is 2, whose score is masked"},
      {[=] {
         fenchel_young(x, Indices({0, 1}));
       },
       "LaplaceTopK: scores (2, 3) need members (2,) + (k,), got shape (2,)"},
      {[=] {
         fenchel_young(x, Indices({{0, 1}, {-1, 0}}));
       },
       "LaplaceTopK: member 2 is -1, outside [0, 3)"},
      {[=] {
         fenchel_young(x, Indices({{0, 1}, {2, 2}}), 1, GradTopK());
       },
       "GradTopK: member 3 is 2 again"},
      {[=] { load_balance(scalar(1), 1); },
       "load_balance: logits need at least 1 axis, got shape ()"},
      {[=] { load_balance(x, 0); }, "load_balance: k must be at least 1, got 0"},
  };
}

}  // namespace

OpFamily topk_rows() {
  const std::vector<std::vector<std::size_t>> one{{2, N}, {}}, two{{2, N}, {}, {}},
      many{{N, 4}, {}}, many_k{{N, 4}, {}, {}};
  const double low = 0.6, high = 2;  // scores, temperature and k alike
  const auto fused = [&](const char* name, auto fn, const auto& shapes,
                         const std::vector<std::size_t>& sizes = {0, 1, 5}) {
    return OpRow{name, fn, shapes, low, high, true, sizes};
  };
  const std::vector<std::size_t> some{1, 5};
  std::vector<OpRow> rows{
      fused("SigmoidTopK", with_k<SigmoidTopK>, two),
      fused("MinExpTopK", with_k<MinExpTopK>, two),
      fused("LaplaceTopK", with_k<LaplaceTopK>, two),
      fused("SparseTopK<1>", with_k<SparseTopK<1>>, two),
      fused("SparseTopK<2>", with_k<SparseTopK<2>>, two),
      fused("SparseTopK<3>", with_k<SparseTopK<3>>, two),
      fused("LaplaceTopK, more rows", with_k<LaplaceTopK>, many_k),
      fused(
          "SigmoidTopK of 0-d k", [](List x) { return SigmoidTopK()(x[0], 1, x[1]); }, many),
      fused("LaplaceTopK masked",
            [](List x) { return LaplaceTopK()(mask_second(x[0]), at_most(x[2]), x[1]); }, two, {5}),
      fused("GradTopK", two_of<GradTopK>, one),
      fused("GradTopK, more rows", two_of<GradTopK>, many),
      fused(
          "GradTopK of more than half", [](List x) { return GradTopK()(x[0], 3, x[1]); }, many),
      fused(
          "GradTopK halved", [](List x) { return GradTopK({.leaf = 2})(x[0], at_most(2), x[1]); },
          one),
      fused("GradTopK masked",
            [](List x) { return GradTopK()(mask_second(x[0]), at_most(1), x[1]); }, one, {5}),
      fused("SoftKMax", two_of<SoftKMax>, one),
      fused(
          "SoftKMax of three", [](List x) { return SoftKMax()(x[0], 3, x[1]); }, many),
      fused("SequentialSoftmax", two_of<SequentialSoftmax>, one),
      fused(
          "SequentialSoftmax of three", [](List x) { return SequentialSoftmax()(x[0], 3, x[1]); },
          many),
      fused("GumbelTopK", gumbel, one),
      fused(
          "soft_topk_ot", [](List x) { return soft_topk_ot(x[0], at_most(x[2]), x[1]); }, two),
      fused(
          "sparsemax", [](List x) { return sparsemax(x[0]); }, many),
      fused(
          "entmax15", [](List x) { return entmax15(x[0]); }, many),

      fused("topk_cross_entropy sigmoid", cross_entropy_of<SigmoidTopK>, many_k, some),
      fused("topk_cross_entropy min(1, exp)", cross_entropy_of<MinExpTopK>, many_k, some),
      fused("topk_cross_entropy Laplace", cross_entropy_of<LaplaceTopK>, many_k, some),
      fused(
          "topk_cross_entropy of GradTopK",
          [](List x) { return topk_cross_entropy(x[0], third(x[0].size(0)), 2, x[1], GradTopK()); },
          many, some),
      fused("fenchel_young sigmoid", young_of<SigmoidTopK>, many),
      fused("fenchel_young min(1, exp)", young_of<MinExpTopK>, many),
      fused("fenchel_young Laplace", young_of<LaplaceTopK>, many),
      fused("fenchel_young sparse", young_of<SparseTopK<1>>, many),
      fused("fenchel_young sparse, cubes", young_of<SparseTopK<3>>, many),
      fused("fenchel_young GradTopK", young_of<GradTopK>, many),
      {"load_balance",
       [](List x) { return load_balance(x[0], 2); },
       {{N, 4}},
       -2,
       2,
       false,
       {1, 5}},
  };
  return {std::move(rows), errors()};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
