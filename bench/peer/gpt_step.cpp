// Twin of bench/gpt_step.cpp.
#include "gpt.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const long batch = session["batch"], context = session["context"], vocab = session["vocab"];
  Gpt model(
      {vocab, session["layers"], session["heads"], session["width"], context, session["rank"]});
  fill_parameters(model);
  torch::optim::AdamW optimizer(model.trainable_parameters());
  const torch::Tensor x = tokens("x", {batch, context}, vocab),
                      y = tokens("y", {batch, context}, vocab);

  double last = 0;
  session.serve(
      [&] {
        const torch::Tensor logits = model.forward(x);
        const torch::Tensor loss =
            torch::cross_entropy_loss(logits.view({-1, vocab}), y.view({-1}));
        loss.backward();
        optimizer.step();
        optimizer.zero_grad();
        last = loss.item<double>();
      },
      [&] { return last; });
}
