// A step of AdamW on a GPT with learned positions: what scripts/demo spends its time on. Rank 0
// trains the model; another trains adapters of that rank on all its Linear layers instead.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const auto size = [&](const char* name) { return static_cast<std::size_t>(session[name]); };
  const std::size_t batch = size("batch"), context = size("context"), vocab = size("vocab");
  Gpt model({.vocab = vocab,
             .layers = size("layers"),
             .heads = size("heads"),
             .dim = size("width"),
             .position = make_position("learned", {.length = context, .dim = size("width")})});
  if (const std::size_t rank = size("rank"))
    lora::attach(model, {.rank = rank, .alpha = static_cast<double>(rank)});
  fill_parameters(model);
  AdamW optimizer(model.trainable_parameters());
  const Indices x = tokens("x", {batch, context}, vocab), y = tokens("y", {batch, context}, vocab);

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
