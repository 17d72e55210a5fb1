// Multi-head attention against PyTorch's, with masks; and what its masks promise.
#include <xgrad/nn/multihead.hpp>

#include <cmath>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "reference.hpp"

using namespace xgrad;
using namespace xgrad::testing;

TEST_CASE("MultiheadAttention has PyTorch's values and gradients", "[nn][attention]") {
  const MultiheadAttention attn({.dim = 4, .heads = 2});
  fill_waves(attn);
  Tensor query = wave({2, 2, 4}, 0.4).requires_grad_(), key = wave({2, 3, 4}, 0.8).requires_grad_(),
         value = wave({2, 3, 4}, 1.2).requires_grad_();
  check_near(attn(query, key, value),
             {0.628575717735, -0.0584727460055, 1.00296140889, -0.169131800261, 0.544483219265,
              -0.0600531797538, 1.09003214733, -0.331631356468, 0.727113072179, -0.137567449814,
              1.05347364836, -0.185224617463, 0.392236710267, 0.206476514472, 0.740018191627,
              0.061420886527});

  Tape tape;
  const Tensor y = attn(query, key, value, {.key_padding = tensor({0, 0, 1, 1, 0, 0}, {2, 3})});
  check_near(y, {0.574652080748, 0.0525284263127, 0.847709477079, 0.0124307045897, 0.54513126747,
                 -0.0276459736073, 1.02831451187, -0.247735092718, 0.704243504271, -0.187334168628,
                 1.17012584484, -0.35528250988, 0.388156929733, 0.179368914841, 0.795180744109,
                 -0.0154222924751});
  const auto gradients =
      tape.gradient(y, {query, key, value, attn.in_proj_bias}, {}, wave(y.shape(), 0.2));
  check_near(gradients[0], {0.00470240832375, 0.014850856807, 0.0180147152828, 0.0127059716735,
                            -0.0126951182572, -0.0168049764758, -0.0130111916729, -0.00309804012076,
                            0.00269307468092, -0.0311939933003, -0.0504100388128, -0.045917455393,
                            -0.00244974541511, 0.0349646532308, 0.0559346291245, 0.0505976749382});
  check_near(gradients[1], {0.0464090249976,
                            0.0271360295723,
                            -0.00489946457296,
                            -0.0346306639733,
                            -0.0464090249976,
                            -0.0271360295723,
                            0.00489946457296,
                            0.0346306639733,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0.0848971340004,
                            0.0609151078646,
                            0.00828375467528,
                            -0.0482435777751,
                            -0.0848971340004,
                            -0.0609151078646,
                            -0.00828375467528,
                            0.0482435777751});
  check_near(gradients[2], {-0.0109043248063,
                            0.0324390573618,
                            0.0605258439785,
                            0.0601463804296,
                            0.00218590304758,
                            -0.0192461641667,
                            -0.0316264596438,
                            -0.0291323369734,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            -0.0212017511703,
                            -0.065352239689,
                            -0.0787665487251,
                            -0.0551357191345,
                            0.0162524103943,
                            0.0661488296059,
                            0.0849344206498,
                            0.0637740265252});
  check_near(gradients[3],
             {0.00638422306579, -0.00261928487473, 0.0082271997646, -0.013749574473, 0, 0, 0, 0,
              0.00108636669419, 0.119691064394, 0.182003184285, 0.158716362728});
}

TEST_CASE("Causal self-attention has PyTorch's values", "[nn][attention]") {
  const MultiheadAttention attn({.dim = 4, .heads = 2});
  fill_waves(attn);
  const Tensor x = wave({2, 3, 4}, 0.4);
  check_near(attn(x, x, x, {.causal = true}),
             {0.626097584513,   -0.201343840039, 1.27467221538,    -0.538284690381, 0.512475289272,
              -0.0180468204366, 1.04288141693,   -0.284784772652,  0.759459969145,  -0.173996454069,
              1.08977519471,    -0.21720386915,  0.46058090195,    0.203975210986,  0.676387567994,
              0.183830580288,   0.617268515762,  -0.0530116649374, 1.00397750569,   -0.176507659539,
              0.498372172768,   0.0847757621995, 0.863221064461,   -0.0490473596372});
}

TEST_CASE("A query whose keys are all padding gives out_proj's bias, and no NaN",
          "[nn][attention]") {
  const MultiheadAttention attn({.dim = 4, .heads = 2});
  fill_waves(attn);
  Tensor x = wave({2, 3, 4}, 0.4).requires_grad_();
  Tape tape;
  const Tensor y = attn(x, x, x, {.key_padding = tensor({1, 1, 1, 0, 0, 0}, {2, 3})});
  const real* bias = attn.out_proj.bias.data();
  for (std::size_t i = 0; i < 12; ++i) CHECK(y.data()[i] == bias[i % 4]);
  tape.backward(y, wave(y.shape(), 0.2));
  CHECK(max(abs(slice(x.grad(), 0, 0, 1))).item() == 0);
  CHECK(max(abs(slice(x.grad(), 0, 1, 2))).item() > 0);
  for (const Tensor& parameter : attn.parameters())
    CHECK(std::isfinite(sum(parameter.grad()).item()));
}

TEST_CASE("Dropout of the weights rests in evaluation and repeats after reseed",
          "[nn][attention][dropout]") {
  MultiheadAttention attn({.dim = 4, .heads = 2, .dropout = 0.5});
  const MultiheadAttention plain({.dim = 4, .heads = 2});
  const Tensor x = wave({2, 3, 4}, 0.4);
  const auto same = [](const Tensor& a, const Tensor& b) { return max(abs(a - b)).item() == 0; };
  attn.reseed(1);
  const Tensor first = attn(x, x, x);
  CHECK_FALSE(same(attn(x, x, x), first));
  attn.reseed(1);
  CHECK(same(attn(x, x, x), first));
  attn.eval();
  CHECK(same(attn(x, x, x), plain(x, x, x)));
}

TEST_CASE("MultiheadAttention has PyTorch's names and initial values", "[nn][attention]") {
  const MultiheadAttention attn({.dim = 16, .heads = 2}),
      bare({.dim = 16, .heads = 2, .bias = false});
  std::vector<std::string> names;
  for (const auto& [name, parameter] : attn.named_parameters())
    names.push_back(name + ' ' + to_string(parameter.shape()));
  CHECK(names == std::vector<std::string>{"in_proj_weight (48, 16)", "in_proj_bias (48,)",
                                          "out_proj.weight (16, 16)", "out_proj.bias (16,)"});
  CHECK(max(abs(attn.in_proj_bias)).item() == 0);
  CHECK(max(abs(attn.out_proj.bias)).item() == 0);
  CHECK_THAT(max(abs(attn.in_proj_weight)).item(), WithinRel(std::sqrt(6.0 / 64), 0.02));
  CHECK_THAT(max(abs(attn.out_proj.weight)).item(), WithinRel(0.25, 0.05));
  CHECK(bare.parameters().size() == 2);
  CHECK(bare(ones({1, 2, 16}), ones({1, 0, 16}), ones({1, 0, 16})).shape() == Shape{1, 2, 16});
  CHECK(attn.to_string() ==
        "MultiheadAttention(16, 2 heads)  816\n"
        "  out_proj: Linear(16 -> 16)  272\n"
        "parameters: 1088\n");
}
