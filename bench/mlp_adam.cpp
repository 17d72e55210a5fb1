// A step of Adam on an MLP as people train it on MNIST: 784-256-10, batches of 64.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  Mlp model({.sizes = {784, 256, 10}});
  fill_parameters(model);
  Adam optimizer(model.parameters());
  const Tensor x = filled("x", {64, 784});
  const Indices y = tokens("y", {64}, 10);

  double last = 0;
  session.serve(
      [&] {
        Tape tape;
        const Tensor loss = cross_entropy(model(x), y);
        tape.backward(loss);
        optimizer.step();
        optimizer.zero_grad();
        last = loss.item();
      },
      [&] { return last; });
}
