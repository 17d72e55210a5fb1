// Straight-through estimator, rotation trick, linear transform of the codebook: a quantizer is a
// codebook, an assignment and a gradient estimator. Which codes are used, and why? After Su Jianlin
// (Scientific Spaces, archives 10489 and 10519), 2410.06424 and 2411.02038, by measurement.
#include <algorithm>
#include <iostream>

#include <xgrad/core/files.hpp>

#include "study.hpp"
#include "support/flags.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"

using namespace examples;
using namespace study;

void run(int argc, char** argv) {
  Settings s;
  s.threads = std::min(num_threads(), 256);
  Flags flags(
      "Compares vector quantizers in small autoencoders: what they reconstruct, which of their "
      "codes they use, and why. Prints tables and what they show, and leaves results.json and "
      "pictures in a folder.");
  flags.path("--images", s.images, "FILE",
             "A photograph to compress as well: .npy, (height, width, 3), uint8", "none");
  flags.path("--digits", s.digits, "FILE",
             "Digits to compress as well: .csv, 64 pixels from 0 to 16 and a label per line",
             "none");
  flags.path("--out", s.out, "DIR", "Folder for results.json and the pictures");
  flags.text("--methods", s.methods, "Names of methods, with commas between");
  flags.number("--steps", s.steps, {1, 100000}, "Training steps of each run",
               "600, with --quick 300");
  flags.toggle("--quick", s.quick, "Smaller autoencoders, in less than a minute");
  flags.number("--seed", s.seed, {0, UINT64_MAX - 2},
               "Fixes weights, codes and batches; the main methods also run with the next two");
  flags.number("--threads", s.threads, {1, 256}, "Processor threads; results do not depend on it");
  flags.parse(argc, argv);
  if (s.quick && !flags.given("--steps")) s.steps = 300;
  const std::vector<Method> methods = methods_named(s.methods);
  const Tensor digits = s.digits.empty() ? Tensor() : read_digits(s.digits);
  const Image photograph = s.images.empty() ? Image() : read_photograph(s.images);
  set_num_threads(s.threads);
  const double start = steady_seconds();

  OutputFolder out(s.out);
  Context context{{out}, s, methods};
  print_settings(std::cout, flags.settings());
  std::cout << '\n';
  const auto save = [&] {
    write_file(out / "results.json", context.results.json(flags.settings()));
    out.keep();
  };
  const Data data = bumps();
  measure_methods(context, data);
  save();
  draw_planes(context, data);
  measure_cell(context);
  save();
  if (!s.digits.empty()) measure_digits(context, digits);
  if (!s.images.empty()) measure_photograph(context, photograph);
  save();
  std::cout << "\nresults.json and the pictures are in " << s.out << "; "
            << number(steady_seconds() - start) << " seconds\n";
}

int main(int argc, char** argv) {
  return run_program("vq_study", [&] { run(argc, argv); });
}
