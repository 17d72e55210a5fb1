// Twin of bench/attention.cpp.
#include "workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const std::vector<long> shape{1, session["heads"], session["context"], session["head"]};
  const bool backward = session["backward"];
  torch::Tensor q = filled("q", shape), k = filled("k", shape), v = filled("v", shape);
  const torch::Tensor seed = filled("seed", shape);
  for (torch::Tensor* x : {&q, &k, &v}) x->requires_grad_(backward);

  torch::Tensor y;
  session.serve(
      [&] {
        for (torch::Tensor* x : {&q, &k, &v}) x->mutable_grad().reset();
        y = at::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/true);
        if (backward) y.backward(seed);
      },
      [&] {
        const torch::NoGradGuard values_only;
        if (!backward) return y.square().sum().item<double>();
        return (q.grad().square() + k.grad().square() + v.grad().square()).sum().item<double>();
      });
}
