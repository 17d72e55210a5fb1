// Twin of models/gpt.hpp with learned positions: the same network under the same names.
#pragma once

#include "workload.hpp"

struct GptSizes {
  long vocab, layers, heads, width, context, rank = 0;
};

/// With an adapter beside it, if it has a rank: y + (x A^T) B^T.
struct AdaptedImpl : torch::nn::LinearImpl {
  AdaptedImpl(long in, long out, long rank) : torch::nn::LinearImpl(in, out) {
    if (rank == 0) return;
    const auto lora = register_module("lora", std::make_shared<torch::nn::Module>());
    const auto adapter = lora->register_module("default", std::make_shared<torch::nn::Module>());
    A = adapter->register_parameter("lora_A", torch::empty({rank, in}));
    B = adapter->register_parameter("lora_B", torch::empty({out, rank}));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = torch::linear(x, weight, bias);
    return A.defined() ? y + torch::linear(torch::linear(x, A), B) : y;
  }

  torch::Tensor A, B;
};
TORCH_MODULE(Adapted);

struct AttentionImpl : torch::nn::Module {
  explicit AttentionImpl(const GptSizes& s) : heads(s.heads) {
    c_attn = register_module("c_attn", Adapted(s.width, 3 * s.width, s.rank));
    c_proj = register_module("c_proj", Adapted(s.width, s.width, s.rank));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const long B = x.size(0), T = x.size(1), D = x.size(2);
    const auto parts = c_attn(x).split(D, 2);
    const auto split_heads = [&](const torch::Tensor& part) {
      return part.view({B, T, heads, D / heads}).transpose(1, 2);  // (B, H, T, d)
    };
    const torch::Tensor y =
        at::scaled_dot_product_attention(split_heads(parts[0]), split_heads(parts[1]),
                                         split_heads(parts[2]), {}, 0.0, /*is_causal=*/true);
    return c_proj(y.transpose(1, 2).contiguous().view({B, T, D}));
  }

  long heads;
  Adapted c_attn{nullptr}, c_proj{nullptr};
};
TORCH_MODULE(Attention);

struct FeedForwardImpl : torch::nn::Module {
  explicit FeedForwardImpl(const GptSizes& s) {
    c_fc = register_module("c_fc", Adapted(s.width, 4 * s.width, s.rank));
    c_proj = register_module("c_proj", Adapted(4 * s.width, s.width, s.rank));
  }
  torch::Tensor forward(const torch::Tensor& x) { return c_proj(torch::gelu(c_fc(x), "tanh")); }

  Adapted c_fc{nullptr}, c_proj{nullptr};
};
TORCH_MODULE(FeedForward);

struct BlockImpl : torch::nn::Module {
  explicit BlockImpl(const GptSizes& s) {
    const torch::nn::LayerNormOptions norm({s.width});
    ln_1 = register_module("ln_1", torch::nn::LayerNorm(norm));
    attn = register_module("attn", Attention(s));
    ln_2 = register_module("ln_2", torch::nn::LayerNorm(norm));
    mlp = register_module("mlp", FeedForward(s));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor y = x + attn(ln_1(x));
    return y + mlp(ln_2(y));
  }

  torch::nn::LayerNorm ln_1{nullptr}, ln_2{nullptr};
  Attention attn{nullptr};
  FeedForward mlp{nullptr};
};
TORCH_MODULE(Block);

struct Gpt : torch::nn::Module {
  explicit Gpt(const GptSizes& s) {
    wte = register_module("wte", torch::nn::Embedding(s.vocab, s.width));
    wpe = register_module("wpe", torch::nn::Embedding(s.context, s.width));
    for (long i = 0; i < s.layers; ++i) h->push_back(Block(s));
    register_module("h", h);
    ln_f = register_module("ln_f", torch::nn::LayerNorm(torch::nn::LayerNormOptions({s.width})));
    if (s.rank > 0)
      for (auto& item : named_parameters())
        item.value().set_requires_grad(item.key().find("lora_") != std::string::npos);
  }
  std::vector<torch::Tensor> trainable_parameters() const {
    std::vector<torch::Tensor> result;
    for (const torch::Tensor& parameter : parameters())
      if (parameter.requires_grad()) result.push_back(parameter);
    return result;
  }
  /// Logits (B, T, vocab) of ids (B, T).
  torch::Tensor forward(const torch::Tensor& ids) {
    torch::Tensor x = wte(ids) + wpe->weight.slice(0, 0, ids.size(1));
    for (const auto& block : *h) x = block->as<Block>()->forward(x);
    return torch::linear(ln_f(x), wte->weight);
  }

  torch::nn::Embedding wte{nullptr}, wpe{nullptr};
  torch::nn::ModuleList h;
  torch::nn::LayerNorm ln_f{nullptr};
};
