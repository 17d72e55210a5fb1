// Twin of bench/scalar_chain.cpp.
#include "workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const long length = session["length"];
  torch::Tensor x = torch::tensor(0.5f), w = torch::tensor(0.9f);
  x.requires_grad_(), w.requires_grad_();
  session.serve(
      [&] {
        x.mutable_grad().reset(), w.mutable_grad().reset();
        torch::Tensor y = x;
        for (long i = 0; i < length / 4; ++i) y = tanh(y * w + x) - w;
        y.backward();
      },
      [&] { return (x.grad() + w.grad()).item<double>(); });
}
