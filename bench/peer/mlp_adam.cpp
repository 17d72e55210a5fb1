// Twin of bench/mlp_adam.cpp.
#include "mlp.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  Mlp model({784, 256, 10}, torch::relu);
  fill_parameters(model);
  torch::optim::Adam optimizer(model.parameters());
  const torch::Tensor x = filled("x", {64, 784}), y = tokens("y", {64}, 10);

  double last = 0;
  session.serve(
      [&] {
        const torch::Tensor loss = torch::cross_entropy_loss(model.forward(x), y);
        loss.backward();
        optimizer.step();
        optimizer.zero_grad();
        last = loss.item<double>();
      },
      [&] { return last; });
}
