// A step of SGD on a network of 337 parameters: small tensors, so that overhead rules.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  Mlp model({.sizes = {2, 16, 16, 1}, .activation = [](const Tensor& x) { return tanh(x); }});
  fill_parameters(model);
  SGD optimizer(model.parameters(), {.lr = 0.1});
  const Tensor x = filled("x", {32, 2}), y = filled("y", {32, 1});

  double last = 0;
  session.serve(
      [&] {
        Tape tape;
        const Tensor loss = mse_loss(model(x), y);
        tape.backward(loss);
        optimizer.step();
        optimizer.zero_grad();
        last = loss.item();
      },
      [&] { return last; });
}
