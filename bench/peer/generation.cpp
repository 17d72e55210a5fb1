// Twin of bench/generation.cpp, with keys and values of past tokens kept, as one writes it by hand.
#include "gpt.hpp"
using namespace bench;

/// Keys and values of one layer, (1, H, context, d) each, filled from the front.
struct Cache {
  torch::Tensor keys, values;
};

torch::Tensor attend(const AttentionImpl& layer, const torch::Tensor& x, Cache& cache, long t) {
  const long D = x.size(2), H = layer.heads;
  const auto parts = torch::linear(x, layer.c_attn->weight, layer.c_attn->bias)
                         .view({1, 1, 3 * H, D / H})
                         .transpose(1, 2)
                         .split(H, 1);  // q, k, v: (1, H, 1, d)
  cache.keys.slice(2, t, t + 1).copy_(parts[1]);
  cache.values.slice(2, t, t + 1).copy_(parts[2]);
  const torch::Tensor y = at::scaled_dot_product_attention(parts[0], cache.keys.slice(2, 0, t + 1),
                                                           cache.values.slice(2, 0, t + 1));
  return torch::linear(y.view({1, 1, D}), layer.c_proj->weight, layer.c_proj->bias);
}

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const torch::InferenceMode no_tape;
  const long heads = session["heads"], width = session["width"], context = session["context"];
  Gpt model({session["vocab"], session["layers"], heads, width, context});
  fill_parameters(model);
  std::vector<Cache> caches(static_cast<std::size_t>(session["layers"]));
  for (Cache& cache : caches)
    cache.keys = torch::zeros({1, heads, context, width / heads}),
    cache.values = torch::zeros_like(cache.keys);

  std::vector<long> text;
  session.serve(
      [&] {
        text.clear();
        for (long t = 0, token = 1; t < session["tokens"]; ++t) {
          torch::Tensor x = (model.wte->weight[token] + model.wpe->weight[t]).view({1, 1, width});
          for (std::size_t i = 0; i < caches.size(); ++i) {
            BlockImpl& block = *model.h[i]->as<Block>();
            x = x + attend(*block.attn, block.ln_1(x), caches[i], t);
            x = x + block.mlp(block.ln_2(x));
          }
          token = torch::linear(model.ln_f(x), model.wte->weight).argmax(-1).item<long>();
          text.push_back(token);
        }
      },
      [&] {
        double value = 0;
        for (std::size_t i = 0; i < text.size(); ++i)
          value += static_cast<double>(i + 1) * static_cast<double>(text[i]);
        return value;
      });
}
