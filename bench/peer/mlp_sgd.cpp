// Twin of bench/mlp_sgd.cpp.
#include "mlp.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  Mlp model({2, 16, 16, 1}, torch::tanh);
  fill_parameters(model);
  torch::optim::SGD optimizer(model.parameters(), torch::optim::SGDOptions(0.1));
  const torch::Tensor x = filled("x", {32, 2}), y = filled("y", {32, 1});

  double last = 0;
  session.serve(
      [&] {
        const torch::Tensor loss = torch::mse_loss(model.forward(x), y);
        loss.backward();
        optimizer.step();
        optimizer.zero_grad();
        last = loss.item<double>();
      },
      [&] { return last; });
}
