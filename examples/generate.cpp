// Continues a text with a model that train_lm has left in a folder, character by character.
// The same flags give the same text. How to choose the next token is models/generate.cpp.
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include <xgrad/xgrad.hpp>

#include "support/corpus.hpp"
#include "support/flags.hpp"
#include "support/interrupt.hpp"
#include "support/language_model.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"

using namespace xgrad;
using namespace examples;

struct Settings {
  std::string model = "runs/demo", prompt, stop;
  GenerateOptions how{.max_tokens = 500, .temperature = 0.8};
  int threads = std::min(num_threads(), 256);
};

Settings parse(int argc, char** argv) {
  Settings s;
  Flags flags(
      "Continues a text with a model that train_lm has trained, and writes it as it comes. Ctrl-C "
      "stops it.");
  constexpr std::size_t many = 1'000'000;
  flags.group("Text");
  flags.path("--model", s.model, "DIR", "Folder of the run, as scripts/demo leaves it");
  flags.text("--prompt", s.prompt, "The beginning, of characters that the model knows");
  flags.number("--max-tokens", s.how.max_tokens, {0, 100'000}, "Characters to add");
  flags.text("--stop", s.stop, "Characters at which to end: '.!?' for one sentence");
  flags.group("Choice of each character");
  flags.number("--temperature", s.how.temperature, {0, 1000},
               "Below 1 it dares less; 0 takes the likeliest character");
  flags.number("--top-k", s.how.top_k, {0, many}, "Only the N likeliest; 0: all");
  flags.number("--top-p", s.how.top_p, {1e-9, 1}, "Only the likeliest, down to this mass");
  flags.number("--repetition-penalty", s.how.repetition_penalty, {1e-3, 1e3},
               "Above 1, characters of the text so far are less likely");
  flags.number("--seed", s.how.seed, {0, UINT64_MAX}, "Another text for another seed");
  flags.group("Attention");
  flags.number("--window", s.how.window.size, {0, many},
               "Read each character once and see the last N: fast, for rope, alibi, relative and "
               "nope. 0: see as many as in training, all read anew for every character");
  flags.number("--sinks", s.how.window.sinks, {0, many}, "And the first N of all, with --window");
  flags.number("--threads", s.threads, {1, 256}, "Processor threads; results do not depend on it");
  flags.parse(argc, argv);
  require<UsageError>(!s.prompt.empty(), "no text to continue: give one with --prompt TEXT");
  require<UsageError>(s.how.window.size > 0 || s.how.window.sinks == 0,
                      "--sinks goes with --window");
  return s;
}

/// The characters of a flag as the model's tokens.
std::vector<std::int64_t> tokens_of(const CharVocabulary& vocabulary, const std::string& flag,
                                    const std::string& text) {
  try {
    return vocabulary.encode(text);
  } catch (const std::invalid_argument& error) {
    throw UsageError(flag + ": " + error.what());
  }
}

void run(int argc, char** argv) {
  const Settings s = parse(argc, argv);
  set_num_threads(s.threads);
  const TrainedModel model(s.model);
  const std::vector<std::int64_t> prompt = tokens_of(model.vocabulary, "--prompt", s.prompt);
  GenerateOptions how = s.how;
  how.stop = tokens_of(model.vocabulary, "--stop", s.stop);
  // Places and distances that no training has shown confuse most models. A window of the same size
  // costs a tenth, but still counts places up, which sinusoidal and learned positions mind.
  if (how.window.size == 0) how.context = model.settings.context;

  struct Interrupted {};
  std::size_t count = 0;
  how.on_token = [&](std::size_t, std::int64_t token) {
    std::cout << model.vocabulary.decode({&token, 1}) << std::flush;
    require<std::runtime_error>(std::cout.good(), "the text could not be written");
    ++count;
    if (interrupted()) throw Interrupted();
  };
  catch_interrupts();
  std::cout << s.prompt << std::flush;
  const double start = steady_seconds();
  try {
    generate(model.gpt, prompt, how);
  } catch (const Interrupted&) {
  }
  std::cout << std::endl;
  if (isatty(STDERR_FILENO))
    std::cerr << '[' << count << " characters, "
              << static_cast<long>(static_cast<double>(count) / (steady_seconds() - start))
              << " a second]" << std::endl;
}

int main(int argc, char** argv) {
  return run_program("generate", [&] { run(argc, argv); });
}
