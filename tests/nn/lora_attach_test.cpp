// Which layers get adapters, what is trained, and which adapters count.
#include <algorithm>
#include <cmath>

#include <xgrad/core/pause.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/models/gpt.hpp>
#include <xgrad/models/mlp.hpp>
#include <xgrad/nn/lora.hpp>
#include <xgrad/nn/position.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

GptOptions small() {
  return {.vocab = 11,
          .layers = 2,
          .heads = 2,
          .dim = 8,
          .position = make_position("learned", {.length = 16, .dim = 8}),
          .seed = 3};
}

const Indices ids{{1, 4, 2, 9, 0}, {3, 3, 10, 5, 7}}, targets{{4, 2, 9, 0, 6}, {3, 10, 5, 7, 8}};

std::vector<std::string> layers_of(const std::vector<lora::Adapter*>& adapters) {
  std::vector<std::string> names;
  for (const lora::Adapter* adapter : adapters) names.push_back(adapter->layer);
  return names;
}

std::vector<std::string> trainable_names(const Module& model) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.named_parameters())
    if (parameter.requires_grad()) names.push_back(name);
  return names;
}

/// Moves B (or A, where that starts at 0) away from 0.
void stir(Module& model, const std::string& name, std::uint64_t seed) {
  Rng rng(seed);
  for (lora::Adapter* adapter : lora::adapters(model, name))
    for (Tensor& factor : adapter->parameters()) {
      const Tensor noise = randn(factor.shape(), rng) * real(0.3);
      std::copy_n(noise.data(), noise.size(), factor.mutable_data());
    }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

/// max |a - b| / max |b|
real distance(const Tensor& a, const Tensor& b) { return (max(abs(a - b)) / max(abs(b))).item(); }

constexpr real tolerance = sizeof(real) == 8 ? real(1e-12) : real(1e-5);

}  // namespace

TEST_CASE("Adapters find their layers by the end of the dotted name", "[nn][lora]") {
  Gpt model(small());
  CHECK(layers_of(lora::attach(model, {.rank = 2, .targets = {"c_attn", "mlp.c_proj"}})) ==
        std::vector<std::string>{"h.0.attn.c_attn", "h.0.mlp.c_proj", "h.1.attn.c_attn",
                                 "h.1.mlp.c_proj"});
  CHECK(layers_of(lora::attach(model, {.rank = 2, .targets = "h\\.1\\..*c_fc", .name = "b"})) ==
        std::vector<std::string>{"h.1.mlp.c_fc"});
  CHECK(layers_of(lora::attach(
            model, {.rank = 2, .targets = "All-Linear", .exclude = {"c_proj"}, .name = "c"})) ==
        std::vector<std::string>{"h.0.attn.c_attn", "h.0.mlp.c_fc", "h.1.attn.c_attn",
                                 "h.1.mlp.c_fc"});
  CHECK(layers_of(lora::attach(model, {.rank = 2, .targets = {"wte"}, .name = "d"})) ==
        std::vector<std::string>{"wte"});
}

TEST_CASE("A model's first adapters alone are trained", "[nn][lora]") {
  Gpt model(small());
  lora::attach(model, {.rank = 2, .targets = {"c_fc"}});
  CHECK(trainable_names(model) == std::vector<std::string>{"h.0.mlp.c_fc.lora.default.lora_A",
                                                           "h.0.mlp.c_fc.lora.default.lora_B",
                                                           "h.1.mlp.c_fc.lora.default.lora_A",
                                                           "h.1.mlp.c_fc.lora.default.lora_B"});
  Tape tape;
  tape.backward(cross_entropy(model(ids), targets));
  for (const auto& [name, parameter] : model.named_parameters()) {
    INFO(name);
    CHECK(parameter.grad().defined() == parameter.requires_grad());
  }
}

TEST_CASE("Behind an adapter the tape keeps frozen weights, and not what they were multiplied with",
          "[nn][lora]") {
  Mlp model({.sizes = {5, 6, 7, 3}, .activation = [](const Tensor& x) { return tanh(x); }});
  lora::attach(model, {.rank = 2, .targets = {"1"}});
  Rng rng(1);
  const Tensor x = randn({4, 5}, rng);
  Tape tape;
  const Tensor y = model(x);
  std::vector<std::string> ops;
  for (std::size_t i = 0; i < tape.size(); ++i) ops.emplace_back(tape[i].op);
  // Nothing of layer 0, nor of layer 1 itself; then x A^T, its scale, B, the sum, tanh, layer 2.
  REQUIRE(ops == std::vector<std::string>{"matmul", "mul", "matmul", "add", "tanh", "linear"});
  CHECK_FALSE(tape[5].inputs[0].has_numbers());
  CHECK(tape[5].inputs[1].has_numbers());
}

TEST_CASE("Adapters work with recomputation and with a cache", "[nn][lora]") {
  Gpt model(small());
  GptOptions options = small();
  options.recompute = true;
  Gpt frugal(options);
  for (Module* m : {static_cast<Module*>(&model), static_cast<Module*>(&frugal)}) {
    lora::attach(*m, {.rank = 2, .dropout = 0.25, .targets = {"c_attn", "c_fc", "c_proj", "wte"}});
    stir(*m, "default", 5);
  }
  for (Gpt* m : {&model, &frugal}) {
    Tape tape;
    tape.backward(cross_entropy((*m)(ids), targets));
  }
  const auto expected = model.trainable_parameters(), got = frugal.trainable_parameters();
  REQUIRE(expected.size() == 18);
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) CHECK(same_bits(got[i].grad(), expected[i].grad()));

  model.eval();
  GptCache cache = model.make_cache(2, 5);
  const Tensor whole = model(ids);
  Tensor last;
  for (std::size_t t = 0; t < 5; ++t) {
    Indices next = Indices::from_shape({2, 1});
    next(0, 0) = ids(0, t);
    next(1, 0) = ids(1, t);
    last = model(next, cache);
  }
  CHECK(distance(reshape(last, {2, 11}), reshape(slice(whole, 1, 4, 5), {2, 11})) < tolerance);
}

TEST_CASE("Several adapters are added, weighted and switched", "[nn][lora]") {
  Gpt model(small());
  const Tensor base = model(ids);
  lora::attach(model, {.rank = 2, .targets = {"c_fc", "wte"}, .name = "a"});
  lora::attach(model, {.rank = 3, .alpha = 5, .targets = {"c_fc", "c_proj"}, .name = "b"});
  stir(model, "a", 1);
  stir(model, "b", 2);
  const auto trained = [&] { return trainable_names(model).size(); };
  CHECK(trained() == 6);  // a, on three layers: the second waits
  const Tensor a = model(ids);
  CHECK(distance(a, base) > 0.01);

  lora::activate(model, {"b"});
  CHECK(trained() == 12);
  const Tensor b = model(ids);
  CHECK(distance(b, a) > 0.01);
  lora::activate(model, {"a", "b"});
  CHECK(trained() == 18);
  lora::activate(model, {});
  CHECK(trained() == 0);
  CHECK(same_bits(model(ids), base));
  lora::activate(model, {{"a", 1}, {"b", 0}});
  CHECK(same_bits(model(ids), a));
  lora::activate(model, {"a"});
  CHECK(same_bits(model(ids), a));

  // Weights multiply updates: on one layer the outputs are an affine function of them.
  Linear& layer = model.h[0].mlp.c_fc;
  Rng rng(9);
  const Tensor x = randn({4, 8}, rng);
  const auto output = [&](const std::vector<lora::Weighted>& names) {
    lora::activate(model, names);
    return layer(x);
  };
  const Tensor none = output({}), with_a = output({"a"}), with_b = output({"b"});
  CHECK(distance(output({{"a", 0.5}, {"b", -2}}),
                 none + (with_a - none) * real(0.5) - (with_b - none) * real(2)) < tolerance);

  lora::detach(model, "a");
  lora::activate(model, {"b"});
  CHECK(same_bits(model(ids), b));
  lora::detach(model, "b");
  CHECK(same_bits(model(ids), base));
  CHECK(lora::adapters(model).empty());
  CHECK(model.named_parameters().size() == Gpt(small()).named_parameters().size());
}

TEST_CASE("An adapter of an Embedding adds to the rows that are looked up", "[nn][lora]") {
  Embedding table({.count = 5, .dim = 3});
  const Indices rows{{4, 0}, {4, 2}};
  const Tensor before = table(rows);
  lora::Adapter& adapter = *lora::attach(table, {.rank = 2, .alpha = 3, .targets = ".*"}).front();
  CHECK(same_bits(table(rows), before));
  CHECK(max(abs(adapter.A)).item() == 0);
  CHECK(max(abs(adapter.B)).item() > 0);
  CHECK(adapter.A.shape() == Shape{2, 5});
  CHECK(adapter.B.shape() == Shape{3, 2});
  CHECK(trainable_names(table) ==
        std::vector<std::string>{"lora.default.lora_embedding_A", "lora.default.lora_embedding_B"});
  stir(table, "default", 4);
  Tensor whole = table.weight.clone() + matmul(adapter.A.detach(), adapter.B.detach(),
                                               {.transpose_a = true, .transpose_b = true}) *
                                            real(1.5);
  CHECK(distance(table(rows), embedding(whole, rows)) < tolerance);

  Rng rng(2);
  const Tensor dY = randn({2, 2, 3}, rng);
  whole.requires_grad_();
  Tape tape;
  tape.backward(embedding(whole, rows), dY, {.retain = true});
  tape.backward(table(rows), dY);
  // dA = s (dW B)^T and dB = s dW^T A^T, dW (rows, dim) being the gradient of the whole table.
  const Tensor dW = whole.grad();
  const Pause pause;
  CHECK(distance(adapter.A.grad(), transpose(matmul(dW, adapter.B)) * real(1.5)) < tolerance);
  CHECK(distance(adapter.B.grad(),
                 matmul(dW, adapter.A, {.transpose_a = true, .transpose_b = true}) * real(1.5)) <
        tolerance);
}

TEST_CASE("Biases and whole modules may be trained beside the adapters", "[nn][lora]") {
  Gpt model(small());
  lora::attach(model, {.rank = 2, .targets = {"c_fc"}, .bias = lora::Bias::lora_only});
  CHECK(trainable_names(model).size() == 6);
  CHECK(model.h[1].mlp.c_fc.bias.requires_grad());
  CHECK_FALSE(model.h[1].mlp.c_proj.bias.requires_grad());
  lora::detach(model);
  lora::attach(model, {.rank = 2,
                       .targets = {"c_fc"},
                       .modules_to_save = {"wte", "1.ln_2"},
                       .bias = lora::Bias::all});
  CHECK(trainable_names(model) ==
        std::vector<std::string>{
            "wte.weight", "h.0.ln_1.bias", "h.0.attn.c_attn.bias", "h.0.attn.c_proj.bias",
            "h.0.ln_2.bias", "h.0.mlp.c_fc.bias", "h.0.mlp.c_fc.lora.default.lora_A",
            "h.0.mlp.c_fc.lora.default.lora_B", "h.0.mlp.c_proj.bias", "h.1.ln_1.bias",
            "h.1.attn.c_attn.bias", "h.1.attn.c_proj.bias", "h.1.ln_2.weight", "h.1.ln_2.bias",
            "h.1.mlp.c_fc.bias", "h.1.mlp.c_fc.lora.default.lora_A",
            "h.1.mlp.c_fc.lora.default.lora_B", "h.1.mlp.c_proj.bias", "ln_f.bias"});
  lora::detach(model);
  CHECK(layers_of(lora::attach(model, {.rank = 2, .modules_to_save = {"0"}})) ==
        std::vector<std::string>{"h.1.attn.c_attn", "h.1.attn.c_proj", "h.1.mlp.c_fc",
                                 "h.1.mlp.c_proj"});
}

TEST_CASE("Ranks and alphas may differ by layer", "[nn][lora]") {
  Gpt model(small());
  const auto adapters = lora::attach(model, {.rank = 4,
                                             .alpha = 6,
                                             .rank_stabilized = true,
                                             .targets = {"c_fc", "c_attn"},
                                             .rank_pattern = {{"c_fc", 1}, {"h\\.1\\..*", 2}},
                                             .alpha_pattern = {{"1.mlp.c_fc", 10}}});
  REQUIRE(adapters.size() == 4);
  const std::size_t ranks[] = {4, 1, 2, 1};
  const double scales[] = {3, 6, 6 / std::sqrt(2.0), 10};
  for (std::size_t i = 0; i < 4; ++i) {
    INFO(adapters[i]->layer);
    CHECK(adapters[i]->rank == ranks[i]);
    CHECK(adapters[i]->A.shape() == Shape{ranks[i], 8});
    CHECK_THAT(adapters[i]->scale(), WithinRel(scales[i], 1e-15));
  }
}

TEST_CASE("A summary counts what is trained", "[nn][lora]") {
  Mlp model({.sizes = {20, 30, 10}});
  lora::attach(model, {.rank = 4, .alpha = 6, .rank_pattern = {{"1", 3}}});
  lora::attach(model, {.rank = 2, .targets = {"1"}, .rank_pattern = {{"0", 1}}, .name = "b"});
  // 20*30 + 30 + 30*10 + 10 = 940; 4 (20 + 30) + 3 (30 + 10) = 320; 2 (30 + 10) = 80
  CHECK(lora::summary(model) ==
        "default: 2 layers, rank 3 to 4, scale 1.5 to 2, active\n"
        "b: 1 layer, rank 2, scale 4\n"
        "trainable: 320 of 1,340 parameters (23.88 %)\n");
}

TEST_CASE("What cannot be attached is named, and nothing changes", "[nn][lora]") {
  Gpt model(small());
  const auto error = [&](const lora::Options& options) {
    return error_of<std::invalid_argument>([&] { lora::attach(model, options); });
  };
  CHECK(error({.targets = {"q_proj", "v_proj"}}) ==
        "lora: no layer matches \"q_proj\", \"v_proj\"; there are \"wte\", \"h.0.attn.c_attn\", "
        "\"h.0.attn.c_proj\", \"h.0.mlp.c_fc\", \"h.0.mlp.c_proj\", \"h.1.attn.c_attn\", "
        "\"h.1.attn.c_proj\", \"h.1.mlp.c_fc\", \"h.1.mlp.c_proj\"");
  CHECK(error({.targets = {"mlp"}}) == "lora: target \"h.0.mlp\" is no Linear or Embedding");
  CHECK(error({.targets = "h.(0"}).starts_with("lora: \"h.(0\" is no regular expression: "));
  CHECK(error({.targets = {}}) == "lora: no targets");
  CHECK(error({.rank = 0}) == "lora: \"h.0.attn.c_attn\" (8 -> 24): rank must be in [1, 8], got 0");
  CHECK(error({.rank = 9, .targets = {"c_fc"}}) ==
        "lora: \"h.0.mlp.c_fc\" (8 -> 32): rank must be in [1, 8], got 9");
  CHECK(error({.rank = 2, .targets = {"c_fc"}, .rank_pattern = {{"1.mlp.c_fc", 11}}}) ==
        "lora: \"h.1.mlp.c_fc\" (8 -> 32): rank must be in [1, 8], got 11");
  CHECK(error({.rank = 2, .dora = true, .targets = {"wte"}}) ==
        "lora: \"wte\" is an Embedding; DoRA is for Linear layers");
  CHECK(error({.rank = 2, .modules_to_save = {"lm_head"}}) ==
        "lora: modules_to_save: no module is named \"lm_head\"");
  CHECK(
      error({.rank = 2, .name = "a.b"}) ==
      "lora: \"a.b\" is no name for an adapter: it must not be empty or contain a dot or a slash");
  CHECK(error({.rank = 2, .dropout = 1}) == "lora: dropout must be in [0, 1), got 1");
  CHECK(error({.targets = "all-linear", .layers_to_transform = {1}}) ==
        "lora: layers_to_transform needs a list of targets, not the pattern \"all-linear\"");
  CHECK(lora::adapters(model).empty());
  CHECK(model.trainable_parameters().size() == model.parameters().size());

  lora::attach(model, {.rank = 2, .targets = {"1.mlp.c_fc"}});
  CHECK(error({.rank = 2, .targets = {"c_fc"}}) ==
        "lora: \"h.1.mlp.c_fc\" has an adapter \"default\" already");
  CHECK(lora::adapters(model).size() == 1);
  CHECK(error_of<std::invalid_argument>([&] {
          lora::activate(model, {"default", "b"});
        }) == "lora: no adapter \"b\"; there are \"default\"");
  CHECK(error_of<std::invalid_argument>([&] { lora::detach(model, "b"); }) ==
        "lora: no adapter \"b\"; there are \"default\"");
}

TEST_CASE("Adapters are combined into one that adds what they would", "[nn][lora]") {
  Gpt model(small());
  lora::attach(model, {.rank = 2, .alpha = 3, .targets = {"c_fc", "wte"}, .name = "a"});
  const auto b = lora::attach(
      model, {.rank = 3, .alpha = 5, .targets = {"c_fc", "0.attn.c_proj"}, .name = "b"});
  Rng rng(7);
  b[0]->start_from(randn(b[0]->A.shape(), rng), randn(b[0]->B.shape(), rng), lora::Reference::keep);
  stir(model, "a", 1);
  stir(model, "b", 2);
  lora::activate(model, {{"a", 0.5}, {"b", -2}});
  const Tensor expected = model(ids);

  const auto sum = lora::combine(model, {{"a", 0.5}, {"b", -2}}, "sum");
  REQUIRE(layers_of(sum) ==
          std::vector<std::string>{"wte", "h.0.attn.c_proj", "h.0.mlp.c_fc", "h.1.mlp.c_fc"});
  const std::size_t ranks[] = {2, 6, 5, 5};  // twice 3 where b counts from factors of its own
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(sum[i]->rank == ranks[i]);
    CHECK(sum[i]->scale() == 1);
  }
  CHECK(same_bits(model(ids), expected));  // it waits
  lora::activate(model, {"sum"});
  CHECK(distance(model(ids), expected) < tolerance);
  lora::detach(model, "a");
  lora::detach(model, "b");
  lora::activate(model, {"sum"});
  CHECK(distance(model(ids), expected) < tolerance);

  lora::attach(model, {.rank = 2, .dora = true, .targets = {"c_fc"}, .name = "d"});
  const auto error = [&](const std::vector<lora::Weighted>& names, const char* name) {
    return error_of<std::invalid_argument>([&] { lora::combine(model, names, name); });
  };
  CHECK(error({"sum", "d"}, "e") ==
        "lora: \"h.0.mlp.c_fc\": adapter \"d\" is DoRA, and cannot be combined");
  CHECK(error({"sum"}, "d") == "lora: \"h.0.mlp.c_fc\" has an adapter \"d\" already");
  CHECK(error({"f"}, "e") == "lora: no adapter \"f\"; there are \"sum\", \"d\"");
}
