// A small GPT that has learned one text, and the text that it is to learn next.
#include <algorithm>
#include <iostream>

#include "study.hpp"
#include "support/corpus.hpp"

namespace study {

std::unique_ptr<Gpt> Task::make_model(std::uint64_t seed) const {
  std::unique_ptr<Gpt> gpt(new Gpt(examples::make_model(model, vocabulary, seed)));
  gpt->load_state_dict(start);
  return gpt;
}

Batch Task::batch_of(std::uint64_t seed, std::int64_t step) const {
  return examples::random_windows(target, batch, model.context, seed, step);
}

double Task::held_out_loss(Gpt& gpt) const {
  const Pause no_tape;
  gpt.eval();
  const double loss = cross_entropy(gpt(held_out.x), held_out.y).item();
  gpt.train();
  return loss;
}

Task make_task(const Settings& s, const std::string& text, const std::string& target) {
  const auto vocabulary = examples::CharVocabulary::of(text + target);
  const examples::Split first(vocabulary.encode(text)), second(vocabulary.encode(target));
  Task task{.model = {.layers = s.quick ? std::size_t{2} : std::size_t{4},
                      .heads = 4,
                      .dim = s.quick ? std::size_t{64} : std::size_t{96}},
            .vocabulary = vocabulary.size(),
            .batch = 8,
            .target = second.train,
            .held_out = {},
            .start = {}};
  const std::size_t T = task.model.context;
  const auto check = [&](const char* what, std::size_t characters) {
    require(characters > 2 * T, what, " is too short: its last tenth, held out, has ", characters,
            " characters and must have more than ", 2 * T);
  };
  check("the first text", first.validation.size());
  check("the target text", second.validation.size());
  task.held_out = examples::spread_windows(second.validation, s.quick ? 16 : 48, T);

  Gpt gpt = examples::make_model(task.model, vocabulary.size(), s.seed);
  const double seconds = examples::train(
      gpt, {.steps = s.quick ? 60 : 600, .lr = 3e-3, .weight_decay = 0.1}, [&](std::int64_t step) {
        return examples::random_windows(first.train, 2 * task.batch, T, s.seed, step);
      });
  for (const auto& [name, tensor] : gpt.state_dict()) task.start.emplace_back(name, tensor.clone());
  std::cout << "pre-trained in " << number(seconds) << " s; loss on the target text "
            << number(task.held_out_loss(gpt)) << std::endl;
  return task;
}

}  // namespace study
