// Rows of mathematical functions: elementwise, cumulative, products and norms, einsum, linear
// algebra.
#include "op_table.hpp"

#include <limits>

namespace xgrad::inline XGRAD_PRECISION::testing {
namespace {

using List = const std::vector<Tensor>&;

constexpr real inf = std::numeric_limits<real>::infinity();

/// Well-conditioned matrices: the given ones plus `diagonal` times the identity.
Tensor shifted(const Tensor& x, real diagonal) {
  const std::size_t n = x.size(-1);
  Tensor identity = zeros({n, n});
  for (std::size_t i = 0; i < n; ++i) identity.mutable_data()[i * n + i] = diagonal;
  return x + identity;
}

/// Symmetric and positive definite. cholesky reads one triangle, so single elements must not move
/// alone.
Tensor positive(const Tensor& x) { return shifted(matmul(x, x, {.transpose_b = true}), 1); }

/// Factors with zeros among them: one in row 1, two in row 2.
Tensor with_zeros(const Tensor& x) { return x * tensor({1, 1, 1, 1, 0, 1, 0, 1, 0}, {3, 3}); }

}  // namespace

OpFamily math() {
  std::vector<OpRow> rows;
  const auto add = [&](std::vector<OpRow> family) {
    std::move(family.begin(), family.end(), std::back_inserter(rows));
  };

  add({
      // elementwise
      {"erf", [](List x) { return erf(x[0]); }, {{2, N}}},
      {"expm1", [](List x) { return expm1(x[0]); }, {{2, N}}},
      {"log1p", [](List x) { return log1p(x[0]); }, {{2, N}}, -0.5, 3},
      {"sin", [](List x) { return sin(x[0]); }, {{2, N}}, -4, 4},
      {"cos", [](List x) { return cos(x[0]); }, {{2, N}}, -4, 4},
      {"sin 0-d", [](List x) { return sin(x[0]); }, {{}}},
      {"atan2", [](List x) { return atan2(x[0], x[1]); }, {{2, N}, {2, N}}},
      {"atan2 row, column", [](List x) { return atan2(x[0], x[1]); }, {{N}, {2, 1}}},
      {"lerp", [](List x) { return lerp(x[0], x[1], x[2]); }, {{2, N}, {2, N}, {2, N}}, -0.4, 1.4},
      {"lerp broadcasts", [](List x) { return lerp(x[0], x[1], x[2]); }, {{2, N}, {N}, {2, 1}}},
      {"lerp 0-d weight", [](List x) { return lerp(x[0], x[1], x[2]); }, {{2, N}, {N}, {}}},
      {"lerp real", [](List x) { return lerp(x[0], x[1], real(0.3)); }, {{2, N}, {2, N}}},
      {"lerp real, nearer b", [](List x) { return lerp(x[0], x[1], real(0.8)); }, {{2, N}, {2, 1}}},
      // Steps have derivative 0. What passes straight through is no derivative: value tests have
      // it.
      {"floor", [](List x) { return x[0] * floor(x[0]); }, {{2, N}}},
      {"ceil", [](List x) { return x[0] * ceil(x[0]); }, {{2, N}}},
      {"round", [](List x) { return x[0] * round(x[0]); }, {{2, N}}},
      {"sign", [](List x) { return x[0] * sign(x[0]); }, {{2, N}}},
  });
  add({
      // cumulative
      {"cumsum", [](List x) { return cumsum(x[0], -1); }, {{2, N}}},
      {"cumsum first axis", [](List x) { return cumsum(x[0], 0); }, {{N, 4}}},
      {"cumsum middle axis", [](List x) { return cumsum(x[0], 1); }, {{2, N, 4}}},
      {"cumprod", [](List x) { return cumprod(x[0], -1); }, {{2, N}}},
      {"cumprod first axis", [](List x) { return cumprod(x[0], 0); }, {{N, 4}}},
      {"cumprod zeros",
       [](List x) { return cumprod(with_zeros(x[0]), 1); },
       {{3, N}},
       -2,
       2,
       false,
       {1, 3},
       3},
      {"logcumsumexp", [](List x) { return logcumsumexp(x[0], -1); }, {{2, N}}},
      {"logcumsumexp first axis", [](List x) { return logcumsumexp(x[0], 0); }, {{N, 4}}},
      {"linear_recurrence",
       [](List x) { return linear_recurrence(x[0], x[1], -1); },
       {{2, N}, {2, N}}},
      {"linear_recurrence reverse",
       [](List x) { return linear_recurrence(x[0], x[1], 0, true); },
       {{N, 2}, {N, 2}}},
      {"linear_recurrence broadcast",
       [](List x) { return linear_recurrence(x[0], x[1], -2); },
       {{2}, {3, N, 2}}},
  });
  add({
      // products and norms
      {"prod", [](List x) { return prod(x[0]); }, {{2, N}}},
      {"prod 0-d", [](List x) { return prod(x[0]); }, {{}}},
      {"prod last axis", [](List x) { return prod(x[0], -1); }, {{4, N}}},
      {"prod first axis keepdims", [](List x) { return prod(x[0], 0, keepdims); }, {{N, 4}}},
      {"prod outer axes",
       [](List x) {
         return prod(x[0], {0, -1});
       },
       {{2, N, 2}}},
      {"prod no axes", [](List x) { return prod(x[0], {}); }, {{2, N}}},
      {"prod zeros",
       [](List x) { return prod(with_zeros(x[0]), 1); },
       {{3, N}},
       -2,
       2,
       false,
       {1, 3},
       3},
      {"norm", [](List x) { return norm(x[0]); }, {{2, N}}},
      {"norm 0-d", [](List x) { return norm(x[0]); }, {{}}},
      {"norm last axis", [](List x) { return norm(x[0], 2, -1); }, {{4, N}}},
      {"norm outer axes keepdims",
       [](List x) {
         return norm(x[0], 2, {0, -1}, keepdims);
       },
       {{2, N, 2}}},
      {"norm 1", [](List x) { return norm(x[0], 1, -1); }, {{4, N}}},
      {"norm 3", [](List x) { return norm(x[0], 3, 0, keepdims); }, {{N, 2}}},
      {"norm 1.5", [](List x) { return norm(x[0], real(1.5)); }, {{2, N}}},
      {"norm 1/2", [](List x) { return norm(x[0], real(0.5), -1); }, {{2, N}}},
      {"norm infinity", [](List x) { return norm(x[0], inf, -1); }, {{4, N}}, -2, 2, false, {1, 5}},
      {"cosine_similarity", [](List x) { return cosine_similarity(x[0], x[1]); }, {{4, N}, {4, N}}},
      {"cosine_similarity first axis, broadcast",
       [](List x) { return cosine_similarity(x[0], x[1], 0); },
       {{N, 2}, {N, 1}}},
      {"cosine_similarity eps",
       [](List x) { return cosine_similarity(x[0], x[1], -1, real(100)); },
       {{2, N}, {N}}},
      {"normalize", [](List x) { return normalize(x[0]); }, {{2, N}}},
      {"normalize 1, first axis", [](List x) { return normalize(x[0], 1, 0); }, {{N, 2}}},
      {"normalize eps", [](List x) { return normalize(x[0], 2, -1, real(100)); }, {{2, N}}},
  });

  const auto equation = [&](const char* text, std::vector<std::vector<std::size_t>> shapes,
                            std::size_t large = 0) {
    OpRow row{concat_text("einsum ", text), [text](List x) { return einsum(text, x); },
              std::move(shapes)};
    row.large = large;
    rows.push_back(row);
  };
  equation("ij,jk->ik", {{2, N}, {N, 4}});
  equation("ij,jk", {{2, N}, {N, 4}});
  equation("ji,kj->ki", {{N, 2}, {4, N}});
  equation("bhqd,bhkd->bhqk", {{2, 2, 3, N}, {2, 2, 4, N}});
  equation("bqhd,bkhd->bhqk", {{2, N, 2, 3}, {2, 4, 2, 3}});
  equation("i,i->", {{N}, {N}});
  equation("i,j->ij", {{N}, {2}});
  equation("ij,ij->ij", {{2, N}, {2, N}});
  equation("ij,ij->i", {{2, N}, {2, N}});
  equation("ij,j->ij", {{2, N}, {N}});
  equation("j,ij->ji", {{N}, {2, N}});
  equation("ij->ji", {{2, N}});
  equation("ij->", {{2, N}});
  equation("ij->ij", {{2, N}});
  equation("ii->i", {{N, N}});
  equation("ii", {{N, N}});
  equation("iji->j", {{N, 2, N}});
  equation("iijj->ij", {{2, 2, N, N}});
  equation("iii,ij->ij", {{N, N, N}, {N, 2}}, 40);
  equation("...ij,...jk->...ik", {{2, 2, N}, {N, 2}});
  equation("...ij,...jk", {{2, 1, 2, N}, {3, N, 2}});
  equation("...i->...", {{2, 3, N}});
  equation("i...->i", {{N, 2, 2}});
  equation("ij,jk,kl->il", {{2, N}, {N, 2}, {2, 3}});
  equation("ab,cb,dc,ae->de", {{2, N}, {3, N}, {2, 3}, {2, 2}});
  equation("ik,jk->k", {{2, N}, {3, N}});
  equation("ij,jk->ik", {{2, 1}, {N, 4}});  // a size of 1 broadcasts
  equation(",ij->ij", {{}, {2, N}});
  equation("ij,k->i", {{2, N}, {3}});

  add({
      {"tensordot", [](List x) { return tensordot(x[0], x[1]); }, {{2, 3, N}, {3, N, 2}}},
      {"tensordot 1", [](List x) { return tensordot(x[0], x[1], 1); }, {{2, N}, {N, 3}}},
      {"tensordot 0", [](List x) { return tensordot(x[0], x[1], 0); }, {{2, N}, {3}}},
      {"tensordot axes",
       [](List x) {
         return tensordot(x[0], x[1], {0, -1}, {1, 0});
       },
       {{3, 2, N}, {N, 3, 2}}},
      {"tensordot all axes",
       [](List x) {
         return tensordot(x[0], x[1], {0, 1}, {1, 0});
       },
       {{2, N}, {N, 2}}},
      {"outer", [](List x) { return outer(x[0], x[1]); }, {{N}, {4}}},
  });
  add({
      // linear algebra
      {"solve",
       [](List x) { return solve(shifted(x[0], 4), x[1]); },
       {{N, N}, {N, 2}},
       -1,
       1,
       false,
       {0, 1, 5},
       300},
      {"solve vector", [](List x) { return solve(shifted(x[0], 4), x[1]); }, {{N, N}, {N}}, -1, 1},
      {"solve batched",
       [](List x) { return solve(shifted(x[0], 4), x[1]); },
       {{N, 3, 3}, {N, 3, 2}},
       -1,
       1},
      {"solve broadcast a",
       [](List x) { return solve(shifted(x[0], 4), x[1]); },
       {{3, 3}, {2, 3, N}},
       -1,
       1},
      {"solve broadcast b",
       [](List x) { return solve(shifted(x[0], 4), x[1]); },
       {{2, 1, 2, 2}, {3, 2, N}},
       -1,
       1},
      {"solve many a, one vector",
       [](List x) { return solve(shifted(x[0], 4), x[1]); },
       {{N, 2, 2}, {2}},
       -1,
       1},
      {"inverse", [](List x) { return inverse(shifted(x[0], 4)); }, {{N, N}}, -1, 1},
      {"inverse batched", [](List x) { return inverse(shifted(x[0], 4)); }, {{N, 2, 2}}, -1, 1},
      {"cholesky", [](List x) { return cholesky(positive(x[0])); }, {{N, N}}, -1, 1},
      {"cholesky batched", [](List x) { return cholesky(positive(x[0])); }, {{N, 2, 2}}, -1, 1},
      {"svd_values", [](List x) { return svd_values(x[0]); }, {{N, N}}, -2, 2, true},
      {"svd_values tall", [](List x) { return svd_values(x[0]); }, {{5, N}}, -2, 2, true},
      {"svd_values wide, batched",
       [](List x) { return svd_values(x[0]); },
       {{2, 2, N}},
       -2,
       2,
       true},
  });

  const Tensor x = zeros({2, 3}), y = zeros({4}), empty = zeros({2, 0}),
               eye = shifted(zeros({2, 2}), 1);
  std::vector<ErrorRow> errors = {
      {[=] { atan2(x, y); }, "atan2: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[=] { lerp(x, y, real(0.5)); },
       "lerp: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[=] { lerp(x, x, y); }, "lerp: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[=] { cumsum(x, 2); }, "cumsum: axis 2 is out of range for 2 axes"},
      {[=] { cumprod(y, -2); }, "cumprod: axis -2 is out of range for 1 axis"},
      {[=] { logcumsumexp(scalar(1), 0); }, "logcumsumexp: axis 0 is out of range for 0 axes"},
      {[=] { linear_recurrence(x, y, 0); },
       "linear_recurrence: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[=] { linear_recurrence(x, x, 2); }, "linear_recurrence: axis 2 is out of range for 2 axes"},
      {[=] { prod(x, 2); }, "prod: axis 2 is out of range for 2 axes"},
      {[=] {
         prod(x, {0, -2});
       },
       "prod: repeated axis in (0, -2)"},
      {[=] { norm(x, 2, 3); }, "norm: axis 3 is out of range for 2 axes"},
      {[=] { norm(x, 0); }, "norm: needs p > 0, got 0"},
      {[=] { norm(empty, inf, 1); },
       "norm: axis 1 of shape (2, 0) is empty, so nothing is its norm"},
      {[=] { cosine_similarity(x, y); },
       "cosine_similarity: shapes (2, 3) and (4,) do not broadcast: axis 1 is 3 and 4"},
      {[=] { cosine_similarity(x, x, 2); }, "cosine_similarity: axis 2 is out of range for 2 axes"},
      {[=] { normalize(scalar(1)); }, "normalize: axis -1 is out of range for 0 axes"},
      {[=] { normalize(x, -1); }, "normalize: needs p > 0, got -1"},

      {[=] { einsum("ij,jk->ik", {x}); }, "einsum: \"ij,jk->ik\": names 2 operands, got 1"},
      {[=] { einsum("", {}); }, "einsum: \"\": names 1 operands, got 0"},
      {[=] {
         einsum("ij,jk->ik", {x, zeros({4, 5})});
       },
       "einsum: \"ij,jk->ik\": j is 3 in operand 0 of shape (2, 3) and 4 in operand 1 of shape (4, "
       "5)"},
      {[=] { einsum("ii", {x}); },
       "einsum: \"ii\": i is 2 in operand 0 of shape (2, 3) and 3 in operand 0 of shape (2, 3)"},
      {[=] {
         einsum("ii", {ones({1, 3})});
       },
       "einsum: \"ii\": i is 1 in operand 0 of shape (1, 3) and 3 in operand 0 of shape (1, 3)"},
      {[=] {
         einsum("...i,...i->...", {x, zeros({4, 3})});
       },
       "einsum: \"...i,...i->...\": axis -1 of \"...\" is 2 in operand 0 of shape (2, 3) and 4 in "
       "operand 1 of shape (4, 3)"},
      {[=] { einsum("ijk", {x}); }, "einsum: \"ijk\": operand 0 of shape (2, 3) has 2 axes, not 3"},
      {[=] { einsum("i->i", {x}); },
       "einsum: \"i->i\": operand 0 of shape (2, 3) has 2 axes, not 1"},
      {[=] { einsum("...ij", {y}); },
       "einsum: \"...ij\": operand 0 of shape (4,) has 1 axis, not 2 or more"},
      {[=] { einsum("ij->ik", {x}); }, "einsum: \"ij->ik\": k of the result is in no operand"},
      {[=] { einsum("ij->ii", {x}); }, "einsum: \"ij->ii\": i is in the result twice"},
      {[=] { einsum("i1", {x}); }, "einsum: \"i1\": cannot read '1' in \"i1\""},
      {[=] { einsum("i..", {x}); }, "einsum: \"i..\": cannot read '.' in \"i..\""},
      {[=] { einsum("...i...", {x}); }, "einsum: \"...i...\": cannot read '.' in \"...i...\""},
      {[=] { einsum("ij->i->j", {x}); }, "einsum: \"ij->i->j\": cannot read '-' in \"i->j\""},
      {[=] { tensordot(x, y); }, "tensordot: cannot pair 2 axes of shapes (2, 3) and (4,)"},
      {[=] { tensordot(x, y, -1); }, "tensordot: cannot pair -1 axes of shapes (2, 3) and (4,)"},
      {[=] { tensordot(x, y, 1); },
       "tensordot: shapes (2, 3) and (4,) do not pair: axis 1 is 3, axis 0 is 4"},
      {[=] {
         tensordot(x, x, {0, 1}, 0);
       },
       "tensordot: pairs axes (0, 1) with (0,): 2 != 1"},
      {[=] {
         tensordot(x, x, {0, -2}, {0, 1});
       },
       "tensordot: repeated axis in (0, -2)"},
      {[=] { tensordot(x, y, 0, 1); }, "tensordot: axis 1 is out of range for 1 axis"},
      {[=] { outer(x, y); }, "outer: needs two vectors, got shapes (2, 3) and (4,)"},

      {[=] { solve(x, y); }, "solve: needs square matrices, got shape (2, 3): 2 != 3"},
      {[=] { solve(y, y); }, "solve: needs at least 2 axes, got shape (4,)"},
      {[=] { solve(eye, scalar(1)); }, "solve: needs at least 1 axis on the right, got shape ()"},
      {[=] {
         solve(eye, zeros({3, 2}));
       },
       "solve: sizes differ: (2, 2) X = (3, 2): 2 != 3"},
      {[=] {
         solve(zeros({3, 2, 2}), zeros({4, 2, 1}));
       },
       "solve: shapes (3,) and (4,) do not broadcast: axis 0 is 3 and 4"},
      {[=] {
         solve(stack({eye, ones({2, 2})}), x);
       },
       "solve: matrix 1 of shape (2, 2, 2) is singular"},
      {[=] { solve(eye / real(0), x); }, "solve: NaN or Inf in the input of shape (2, 2)"},
      {[=] { inverse(x); }, "inverse: needs square matrices, got shape (2, 3): 2 != 3"},
      {[=] { inverse(scalar(1)); }, "inverse: needs at least 2 axes, got shape ()"},
      {[=] {
         inverse(zeros({2, 2}));
       },
       "inverse: matrix 0 of shape (2, 2) is singular"},
      {[=] { inverse(eye / real(0)); }, "inverse: NaN or Inf in the input of shape (2, 2)"},
      {[=] { cholesky(x); }, "cholesky: needs square matrices, got shape (2, 3): 2 != 3"},
      {[=] { cholesky(-eye); }, "cholesky: matrix 0 of shape (2, 2) is not positive definite"},
      {[=] { cholesky(eye / real(0)); }, "cholesky: NaN or Inf in the input of shape (2, 2)"},
      {[=] { svd_values(y); }, "svd_values: needs at least 2 axes, got shape (4,)"},
      {[=] { svd_values(x / real(0)); }, "svd_values: NaN or Inf in the input of shape (2, 3)"},
  };
  return {rows, errors};
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
