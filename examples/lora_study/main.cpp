// How can a low-rank adapter follow full fine-tuning? LoRA-GA aligns its first step, LoRA-Pro every
// step. After Su Jianlin (Scientific Spaces, archives 10226 and 10266), 2407.05000 and 2407.18242,
// by measurement.
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
  s.threads = std::min(num_threads(), 256);
  Flags flags(
      "Compares low-rank adapters with full fine-tuning, by which a small GPT that has learned one "
      "text learns another: the loss they reach, how near they stay to its path, what they cost. "
      "Prints tables and what they show, and leaves results.json and pictures in a folder.");
  flags.path("--text", s.text, "FILE", "Text that the model learns first",
             "the source of the installed xtensor headers");
  flags.path("--target", s.target, "FILE", "Text that it is fine-tuned on",
             "the licences in /usr/share/common-licenses");
  flags.path("--out", s.out, "DIR", "Folder for results.json and the pictures");
  flags.text("--methods", s.methods,
             "Names of methods, with commas between; full and lora run in any case");
  flags.number("--rank", s.rank, {1, 32}, "Of the adapters");
  flags.number("--steps", s.steps, {2, 100000}, "Steps of fine-tuning", "240, with --quick 24");
  flags.toggle("--quick", s.quick, "A smaller model, in less than a minute");
  flags.number("--seed", s.seed, {0, UINT64_MAX - 2},
               "Fixes weights and batches; every method also runs with the next two");
  flags.number("--threads", s.threads, {1, 256}, "Processor threads; results do not depend on it");
  flags.parse(argc, argv);
  if (s.quick && !flags.given("--steps")) s.steps = 24;
  const std::vector<Method> methods = methods_named(s.methods);
  const std::string text = s.text.empty() ? default_corpus() : read_text(s.text),
                    target = s.target.empty() ? licence_texts() : read_text(s.target);
  require<std::runtime_error>(!target.empty(),
                              "there are no licences in /usr/share/common-licenses: name a text to "
                              "fine-tune on with --target FILE");
  set_num_threads(s.threads);
  const double start = steady_seconds();

  OutputFolder out(s.out);
  Context context{{out}, s};
  print_settings(std::cout, flags.settings());
  std::cout << '\n';
  const auto save = [&] {
    write_file(out / "results.json", context.results.json(flags.settings()));
    out.keep();
  };
  measure_exact(context);
  save();
  const Task task = make_task(s, text, target);
  measure_methods(context, task, methods);
  save();
  std::cout << "\nresults.json and the pictures are in " << s.out << "; "
            << number(steady_seconds() - start) << " seconds\n";
}

int main(int argc, char** argv) {
  return run_program("lora_study", [&] { run(argc, argv); });
}
