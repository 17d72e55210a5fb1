// Why does a decoder need positions? Three questions of Su Jianlin's essay (Scientific Spaces,
// archive 10347), answered by measurement: what do positions do for attention, how does causal
// attention without them (NoPE) still know order, and what does that knowledge lack?
#include <algorithm>
#include <iostream>

#include <xgrad/core/files.hpp>

#include "study.hpp"
#include "support/corpus.hpp"
#include "support/flags.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"

using namespace examples;
using namespace study;

void run(int argc, char** argv) {
  Settings s;
  Flags flags(
      "Compares position schemes: what they do for attention, how a decoder without them still "
      "knows order, and what that lacks. Prints tables and what they show, and leaves results.json "
      "and pictures in a folder.");
  flags.path("--data", s.data, "FILE", "Text that the language models learn",
             "the source of the installed xtensor headers");
  flags.path("--out", s.out, "DIR", "Folder for results.json and the pictures");
  flags.toggle("--quick", s.quick,
               "Everything small, in less than a minute; the models learn little");
  flags.number("--seed", s.seed, {0, UINT64_MAX}, "Fixes weights, batches and tests");
  flags.number("--threads", s.threads, {1, 256}, "Processor threads; results do not depend on it");
  flags.parse(argc, argv);
  set_num_threads(s.threads);
  const double start = steady_seconds();

  const std::string bytes = s.data.empty() ? default_corpus() : read_text(s.data);
  const auto vocabulary = CharVocabulary::of(bytes);
  const Split split(vocabulary.encode(bytes));
  constexpr std::size_t longest = 8 * language.length;
  require(split.validation.size() > 2 * longest,
          "the text is too short: its last tenth, held out, has ", split.validation.size(),
          " characters and must have more than ", 2 * longest);
  const Text text{split.train, split.validation, vocabulary.size()};

  OutputFolder out(s.out);
  Context context{{out}, s};
  print_settings(std::cout, flags.settings());
  const auto save = [&] {
    write_file(out / "results.json", context.results.json(flags.settings()));
    out.keep();
  };
  measure_order(context);
  measure_variance(context, text);
  save();
  const auto models = measure_language(context, text);
  save();
  measure_probe(context, models, text);
  save();
  measure_tasks(context);
  save();
  std::cout << "\nresults.json and the pictures are in " << s.out << "; "
            << number(steady_seconds() - start) << " seconds\n";
}

int main(int argc, char** argv) {
  return run_program("position_study", [&] { run(argc, argv); });
}
