// Greedy generation, one text at a time: every token reads all weights once, at least.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const auto size = [&](const char* name) { return static_cast<std::size_t>(session[name]); };
  const std::size_t context = size("context"), width = size("width");
  Gpt model({.vocab = size("vocab"),
             .layers = size("layers"),
             .heads = size("heads"),
             .dim = width,
             .position = make_position("learned", {.length = context, .dim = width})});
  fill_parameters(model);
  model.eval();

  std::vector<std::int64_t> text;
  session.serve(
      [&] { text = generate(model, {1}, {.max_tokens = size("tokens"), .temperature = 0}); },
      [&] {  // a number for the whole text
        double value = 0;
        for (std::size_t i = 0; i < text.size(); ++i)
          value += static_cast<double>(i + 1) * static_cast<double>(text[i]);
        return value;
      });
}
