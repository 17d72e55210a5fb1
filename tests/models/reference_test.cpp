// Whole models: GPT-2, Llama, BLOOM and MPT, two layers each, with weights given by a formula. An
// independent implementation in double made the expected numbers, and the classes of Hugging Face's
// transformers agree with it. Gpt is GPT-2; the others are put together here from the parts in nn.
#include <xgrad/models/gpt.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <xgrad/nn/position.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr std::size_t V = 13;

/// The weights of a model under the names and in the shapes of its file. Tensor number t in the
/// order of the names holds 1/2 (((31 i^2 + 17 i + 101 t) mod 257)/257 - 1/2) at index i; weights
/// of norms have 1 added.
class File {
 public:
  explicit File(const std::map<std::string, std::vector<std::int64_t>>& shapes) {
    std::size_t t = 0;
    for (const auto& [name, shape] : shapes) {
      const bool norm = shape.size() == 1 && name.ends_with("weight");
      Tensor x = zeros(shape);
      for (std::size_t i = 0; i < x.size(); ++i)
        x.mutable_data()[i] = static_cast<real>(
            0.5 * (static_cast<double>((31 * i * i + 17 * i + 101 * t) % 257) / 257 - 0.5) +
            (norm ? 1 : 0));
      tensors_[name] = x;
      ++t;
    }
  }
  const Tensor& operator[](const std::string& name) const { return tensors_.at(name); }

 private:
  std::map<std::string, Tensor> tensors_;
};

using Shapes = std::map<std::string, std::vector<std::int64_t>>;

std::string at(const char* before, std::size_t layer, const char* after) {
  return before + std::to_string(layer) + after;
}

struct Expected {
  std::vector<double> last, first;  // logits[4][0..4], logits[0][0..1]
  double sum, loss;
  double printed = 6e-11;  // how far the numbers here may be off
};

void check(const std::function<Tensor(const Indices&)>& model, const Expected& expected) {
  const double tolerance = sizeof(real) == 8 ? expected.printed : 5e-6;
  const Tensor logits = model(Indices{{1, 5, 3, 12, 0}});
  REQUIRE(logits.shape() == Shape{1, 5, V});
  for (std::size_t i = 0; i < 5; ++i)
    CHECK_THAT(logits.data()[4 * V + i], WithinAbs(expected.last[i], tolerance));
  for (std::size_t i = 0; i < 2; ++i)
    CHECK_THAT(logits.data()[i], WithinAbs(expected.first[i], tolerance));
  CHECK_THAT(sum(logits).item(), WithinAbs(expected.sum, 10 * tolerance));
  const Tensor loss = cross_entropy(slice(logits, 1, 0, 4), Indices{{5, 3, 12, 0}});
  CHECK_THAT(loss.item(), WithinAbs(expected.loss, tolerance));
}

/// A decoder of pre-norm blocks whose parts are given by their types.
template <class Norm, class FeedForward>
struct Block : Module {
  Block(Module* owner, std::string name,
        const std::function<std::unique_ptr<Norm>(Module*, const char*)>& norm,
        const CausalSelfAttentionOptions& attention,
        const std::function<std::unique_ptr<FeedForward>(Module*, const char*)>& mlp)
      : Module(owner, std::move(name)),
        ln_1(norm(this, "ln_1")),
        attn(this, "attn", attention),
        ln_2(norm(this, "ln_2")),
        mlp(mlp(this, "mlp")) {}
  Tensor operator()(const Tensor& x) const {
    const Tensor y = x + attn((*ln_1)(x));
    return y + (*mlp)((*ln_2)(y));
  }
  std::unique_ptr<Norm> ln_1;
  CausalSelfAttention attn;
  std::unique_ptr<Norm> ln_2;
  std::unique_ptr<FeedForward> mlp;
};

template <class Layer, class Options>
auto maker(Options options) {
  return [options](Module* owner, const char* name) {
    return std::make_unique<Layer>(owner, name, options);
  };
}

/// MPT's feed-forward: the exact GELU, no biases.
struct ErfFeedForward : Module {
  ErfFeedForward(Module* owner, std::string name, std::size_t dim)
      : Module(owner, std::move(name)),
        up_proj(this, "up_proj", {.in = dim, .out = 4 * dim, .bias = false}),
        down_proj(this, "down_proj", {.in = 4 * dim, .out = dim, .bias = false}) {}
  Tensor operator()(const Tensor& x) const { return down_proj(gelu(up_proj(x), Gelu::erf)); }
  Linear up_proj, down_proj;
};

}  // namespace

TEST_CASE("The formula of the reference weights starts as published", "[models][reference]") {
  const File file({{"a", {3}}});
  const double expected[]{-0.25, -0.1566147860, 0.0573929961};
  for (std::size_t i = 0; i < 3; ++i) CHECK_THAT(file["a"].data()[i], WithinAbs(expected[i], 1e-7));
}

TEST_CASE("Gpt with learned positions is GPT-2", "[models][reference][gpt]") {
  Shapes shapes{{"transformer.wte.weight", {V, 8}},
                {"transformer.wpe.weight", {8, 8}},
                {"transformer.ln_f.weight", {8}},
                {"transformer.ln_f.bias", {8}}};
  for (std::size_t i = 0; i < 2; ++i)
    for (const auto& [name, shape] : Shapes{{"ln_1.weight", {8}},
                                            {"ln_1.bias", {8}},
                                            {"ln_2.weight", {8}},
                                            {"ln_2.bias", {8}},
                                            {"attn.c_attn.weight", {8, 24}},
                                            {"attn.c_attn.bias", {24}},
                                            {"attn.c_proj.weight", {8, 8}},
                                            {"attn.c_proj.bias", {8}},
                                            {"mlp.c_fc.weight", {8, 32}},
                                            {"mlp.c_fc.bias", {32}},
                                            {"mlp.c_proj.weight", {32, 8}},
                                            {"mlp.c_proj.bias", {8}}})
      shapes[at("transformer.h.", i, ".") + name] = shape;
  const File file(shapes);

  Gpt model({.vocab = V,
             .layers = 2,
             .heads = 2,
             .dim = 8,
             .position = make_position("learned", {.length = 8, .dim = 8})});
  StateDict state = model.state_dict();
  CHECK(state.size() == shapes.size());
  for (auto& [name, tensor] : state) {
    tensor = file["transformer." + name];
    // GPT-2's files hold the weights of attention and feed-forward as (in, out).
    if (name.ends_with("c_attn.weight") || name.ends_with("c_proj.weight") ||
        name.ends_with("c_fc.weight"))
      tensor = transpose(tensor);
  }
  model.load_state_dict(state);
  check([&](const Indices& ids) { return model(ids); },
        {{.3201827770, .7103649304, -.4072185712, .0521430050, -.3837151596},
         {.3991123412, .7820049117},
         14.0435193256,
         2.7403526938});
}

TEST_CASE("RMSNorm, grouped attention with Rope and SwiGlu make a Llama", "[models][reference]") {
  Shapes shapes{{"model.embed_tokens.weight", {V, 8}},
                {"model.norm.weight", {8}},
                {"lm_head.weight", {V, 8}}};
  for (std::size_t i = 0; i < 2; ++i)
    for (const auto& [name, shape] : Shapes{{"input_layernorm.weight", {8}},
                                            {"post_attention_layernorm.weight", {8}},
                                            {"self_attn.q_proj.weight", {8, 8}},
                                            {"self_attn.k_proj.weight", {4, 8}},
                                            {"self_attn.v_proj.weight", {4, 8}},
                                            {"self_attn.o_proj.weight", {8, 8}},
                                            {"mlp.gate_proj.weight", {12, 8}},
                                            {"mlp.up_proj.weight", {12, 8}},
                                            {"mlp.down_proj.weight", {8, 12}}})
      shapes[at("model.layers.", i, ".") + name] = shape;
  const File file(shapes);

  using LlamaBlock = Block<RMSNorm, SwiGlu>;
  ModuleList<LlamaBlock> blocks;
  for (std::size_t i = 0; i < 2; ++i) {
    auto& block =
        blocks.emplace(maker<RMSNorm>(RMSNormOptions{.dim = 8, .eps = 1e-5}),
                       CausalSelfAttentionOptions{.dim = 8,
                                                  .heads = 2,
                                                  .kv_heads = 1,
                                                  .bias = false,
                                                  .position = std::make_shared<Rope>()},
                       maker<SwiGlu>(FeedForwardOptions{.dim = 8, .hidden = 12, .bias = false}));
    const auto part = [&](const char* name) { return file[at("model.layers.", i, ".") + name]; };
    // The one projection of queries, keys and values has the rows of all three.
    block.load_state_dict({{"ln_1.weight", part("input_layernorm.weight")},
                           {"attn.c_attn.weight", concat({part("self_attn.q_proj.weight"),
                                                          part("self_attn.k_proj.weight"),
                                                          part("self_attn.v_proj.weight")})},
                           {"attn.c_proj.weight", part("self_attn.o_proj.weight")},
                           {"ln_2.weight", part("post_attention_layernorm.weight")},
                           {"mlp.gate_proj.weight", part("mlp.gate_proj.weight")},
                           {"mlp.up_proj.weight", part("mlp.up_proj.weight")},
                           {"mlp.down_proj.weight", part("mlp.down_proj.weight")}});
  }
  check(
      [&](const Indices& ids) {
        const Tensor x = blocks[1](blocks[0](embedding(file["model.embed_tokens.weight"], ids)));
        return linear(rms_norm(x, file["model.norm.weight"], real(1e-5)), file["lm_head.weight"]);
      },
      {{-.5728540898, -.4974274825, .2245044477, .0582505221, -.5787494027},
       {-.7441116490, -.5426255639},
       4.1718522037,
       2.6201679533});
}

TEST_CASE("LayerNorm, attention with Alibi and FeedForward make a BLOOM", "[models][reference]") {
  const std::size_t D = 12, H = 3, d = D / H;
  Shapes shapes{{"transformer.word_embeddings.weight", {V, 12}},
                {"transformer.word_embeddings_layernorm.weight", {12}},
                {"transformer.word_embeddings_layernorm.bias", {12}},
                {"transformer.ln_f.weight", {12}},
                {"transformer.ln_f.bias", {12}}};
  for (std::size_t i = 0; i < 2; ++i)
    for (const auto& [name, shape] : Shapes{{"input_layernorm.weight", {12}},
                                            {"input_layernorm.bias", {12}},
                                            {"post_attention_layernorm.weight", {12}},
                                            {"post_attention_layernorm.bias", {12}},
                                            {"self_attention.query_key_value.weight", {36, 12}},
                                            {"self_attention.query_key_value.bias", {36}},
                                            {"self_attention.dense.weight", {12, 12}},
                                            {"self_attention.dense.bias", {12}},
                                            {"mlp.dense_h_to_4h.weight", {48, 12}},
                                            {"mlp.dense_h_to_4h.bias", {48}},
                                            {"mlp.dense_4h_to_h.weight", {12, 48}},
                                            {"mlp.dense_4h_to_h.bias", {12}}})
      shapes[at("transformer.h.", i, ".") + name] = shape;
  const File file(shapes);

  // BLOOM interleaves: query, key and value of head 0, then of head 1, …; ours has all queries
  // first.
  const auto by_kind = [&](const Tensor& x) {
    const std::int64_t width = x.ndim() == 2 ? 12 : 1;
    const Tensor sorted = permute(reshape(x, {H, 3, d, width}), {1, 0, 2, 3});
    return reshape(sorted, x.shape());
  };
  using BloomBlock = Block<LayerNorm, FeedForward>;
  ModuleList<BloomBlock> blocks;
  for (std::size_t i = 0; i < 2; ++i) {
    auto& block = blocks.emplace(
        maker<LayerNorm>(LayerNormOptions{.dim = D}),
        CausalSelfAttentionOptions{.dim = D, .heads = H, .position = std::make_shared<Alibi>()},
        maker<FeedForward>(FeedForwardOptions{.dim = D}));
    const auto part = [&](const char* name) { return file[at("transformer.h.", i, ".") + name]; };
    block.load_state_dict(
        {{"ln_1.weight", part("input_layernorm.weight")},
         {"ln_1.bias", part("input_layernorm.bias")},
         {"attn.c_attn.weight", by_kind(part("self_attention.query_key_value.weight"))},
         {"attn.c_attn.bias", by_kind(part("self_attention.query_key_value.bias"))},
         {"attn.c_proj.weight", part("self_attention.dense.weight")},
         {"attn.c_proj.bias", part("self_attention.dense.bias")},
         {"ln_2.weight", part("post_attention_layernorm.weight")},
         {"ln_2.bias", part("post_attention_layernorm.bias")},
         {"mlp.c_fc.weight", part("mlp.dense_h_to_4h.weight")},
         {"mlp.c_fc.bias", part("mlp.dense_h_to_4h.bias")},
         {"mlp.c_proj.weight", part("mlp.dense_4h_to_h.weight")},
         {"mlp.c_proj.bias", part("mlp.dense_4h_to_h.bias")}});
  }
  check(
      [&](const Indices& ids) {
        const auto norm = [&](const Tensor& x, const std::string& name) {
          return layer_norm(x, file["transformer." + name + ".weight"],
                            file["transformer." + name + ".bias"]);
        };
        const Tensor& table = file["transformer.word_embeddings.weight"];
        const Tensor x = norm(embedding(table, ids), "word_embeddings_layernorm");
        return linear(norm(blocks[1](blocks[0](x)), "ln_f"), table);
      },
      // BLOOM's tanh GELU has 0.79788456 for sqrt(2/pi), which is 8e-10 off.
      {{1.1916982500, -.1759775782, .5317922193, -.1630267345, .4468143224},
       {-.0599910075, 1.2229798222},
       .0881888449,
       2.8897130710,
       1e-9});
}

TEST_CASE("LayerNorm without bias, attention with Alibi and the exact GELU make an MPT",
          "[models][reference]") {
  const std::size_t D = 12;
  Shapes shapes{{"transformer.wte.weight", {V, 12}}, {"transformer.norm_f.weight", {12}}};
  for (std::size_t i = 0; i < 2; ++i)
    for (const auto& [name, shape] : Shapes{{"norm_1.weight", {12}},
                                            {"norm_2.weight", {12}},
                                            {"attn.Wqkv.weight", {36, 12}},
                                            {"attn.out_proj.weight", {12, 12}},
                                            {"ffn.up_proj.weight", {48, 12}},
                                            {"ffn.down_proj.weight", {12, 48}}})
      shapes[at("transformer.blocks.", i, ".") + name] = shape;
  const File file(shapes);

  using MptBlock = Block<LayerNorm, ErfFeedForward>;
  ModuleList<MptBlock> blocks;
  for (std::size_t i = 0; i < 2; ++i) {
    auto& block = blocks.emplace(
        maker<LayerNorm>(LayerNormOptions{.dim = D, .bias = false}),
        CausalSelfAttentionOptions{
            .dim = D, .heads = 3, .bias = false, .position = std::make_shared<Alibi>()},
        maker<ErfFeedForward>(D));
    const auto part = [&](const char* name) {
      return file[at("transformer.blocks.", i, ".") + name];
    };
    block.load_state_dict({{"ln_1.weight", part("norm_1.weight")},
                           {"attn.c_attn.weight", part("attn.Wqkv.weight")},
                           {"attn.c_proj.weight", part("attn.out_proj.weight")},
                           {"ln_2.weight", part("norm_2.weight")},
                           {"mlp.up_proj.weight", part("ffn.up_proj.weight")},
                           {"mlp.down_proj.weight", part("ffn.down_proj.weight")}});
  }
  check(
      [&](const Indices& ids) {
        const Tensor& table = file["transformer.wte.weight"];
        const Tensor x = blocks[1](blocks[0](embedding(table, ids)));
        return linear(layer_norm(x, file["transformer.norm_f.weight"], {}), table);
      },
      {{.6539062739, .8672820343, .6189701428, -.1891039602, .2069857974},
       {.2981080192, .2941896858},
       15.2539264252,
       2.8216100526});
}
