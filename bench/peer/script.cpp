// Twin of the README's training script: what it takes to compile and to ship the same in LibTorch.
#include <iostream>

#include <torch/torch.h>

struct Net : torch::nn::Module {
  torch::nn::Linear up{register_module("up", torch::nn::Linear(2, 32))};
  torch::nn::Linear down{register_module("down", torch::nn::Linear(32, 1))};
  torch::Tensor forward(const torch::Tensor& x) { return down(torch::tanh(up(x))); }
};

int main() {
  torch::manual_seed(42);
  Net net;
  torch::optim::AdamW optimizer(net.parameters(), torch::optim::AdamWOptions(1e-2));
  for (int step = 1; step <= 1000; ++step) {
    const torch::Tensor x = 2 * torch::rand({64, 2}) - 1;
    const torch::Tensor y = x.slice(1, 0, 1) * x.slice(1, 1, 2);
    const torch::Tensor loss = torch::mse_loss(net.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zero_grad();
    if (step % 200 == 0) std::cout << "step " << step << "  loss " << loss.item<float>() << '\n';
  }
  const torch::Tensor x = torch::tensor({{0.5f, -0.8f}});
  std::cout << "0.5 * -0.8 = " << net.forward(x).item<float>() << '\n';
}
