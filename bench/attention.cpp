// Causal attention alone: forward, or forward and backward, at a constant number of queries.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const Ints shape{1, session["heads"], session["context"], session["head"]};
  const bool backward = session["backward"];
  Tensor q = filled("q", shape), k = filled("k", shape), v = filled("v", shape);
  const Tensor seed = filled("seed", shape);  // the gradient that comes from above
  for (Tensor* x : {&q, &k, &v}) x->requires_grad_(backward);

  Tensor y;
  session.serve(
      [&] {
        if (!backward) {
          y = attention(q, k, v);
          return;
        }
        for (Tensor* x : {&q, &k, &v}) x->zero_grad();
        Tape tape;
        y = attention(q, k, v);
        tape.backward(y, seed);
      },
      [&] {
        if (!backward) return static_cast<double>(sum(square(y)).item());
        return static_cast<double>(
            sum(square(q.grad()) + square(k.grad()) + square(v.grad())).item());
      });
}
