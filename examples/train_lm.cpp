// Trains a small GPT on the characters of any text: settings, data, results, then the method.
// Expected: what each position scheme reaches on tiny Shakespeare with the default settings, and
// how fast, stands in the README.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>

#include <xgrad/core/files.hpp>
#include <xgrad/xgrad.hpp>

#include "support/chart.hpp"
#include "support/corpus.hpp"
#include "support/flags.hpp"
#include "support/interrupt.hpp"
#include "support/language_model.hpp"
#include "support/metrics.hpp"
#include "support/output_folder.hpp"
#include "support/program.hpp"
#include "support/progress.hpp"
#include "support/text_training.hpp"
#include "support/training_state.hpp"

using namespace xgrad;
using namespace examples;
using Json = Flags::Json;

// ---- settings -----------------------------------------------------------------------------------

struct Settings : ModelSettings {
  std::string data, out = "runs/demo";
  std::size_t batch = 12;
  std::int64_t steps = 2000, decay_steps = 0, warmup = 100, eval_every = 250;
  double lr = 1e-3;
  std::uint64_t seed = 1337;
  int threads = std::min(num_threads(), 256);
  std::size_t sample = 500;
};

// Weight decay 0.1 on matrices, betas (0.9, 0.99), gradients clipped to norm 1, cosine to a tenth:
// nanoGPT's.
constexpr double weight_decay = 0.1, beta2 = 0.99, final_lr_factor = 0.1;
constexpr real max_grad_norm = 1;
constexpr std::size_t max_eval_tokens =
    1 << 17;  // of held-out text, in windows spread evenly over it

struct CommandLine {
  Settings settings;
  Json echo;     // the settings in the order of their flags, as config.json stores them
  Json resumed;  // config.json of the run to continue, or null
};

CommandLine parse(int argc, char** argv) {
  Settings s;
  std::string resume;
  Flags flags(
      "Trains a small GPT on the characters of a text, and leaves the model, its losses and a "
      "sample of "
      "what it writes in a folder. Ctrl-C stops it with a checkpoint, --resume goes on.");
  constexpr std::int64_t many = 1'000'000'000;
  flags.group("Data and results");
  flags.path("--data", s.data, "FILE", "Text to learn",
             "the source of the installed xtensor headers");
  flags.path("--out", s.out, "DIR", "Folder for the results");
  flags.command(
      "--resume", resume, "DIR",
      "Continue the run in this folder, exactly and with its settings; only --data "
      "(the same text elsewhere), --steps, --eval-every, --threads and --sample may change");
  flags.number("--sample", s.sample, {0, 1'000'000}, "Characters to write at the end");
  declare_model(flags, s);
  flags.group("Training");
  flags.number("--batch", s.batch, {1, 1'000'000}, "Windows of text per step");
  flags.number("--steps", s.steps, {1, many}, "Training steps in all");
  flags.number("--lr", s.lr, {1e-9, 1e3},
               "Highest learning rate, before it falls along a cosine to a tenth");
  flags.number("--warmup", s.warmup, {0, many}, "Steps over which the learning rate first rises",
               "100, but at most a tenth of --decay-steps");
  flags.number(
      "--decay-steps", s.decay_steps, {0, many},
      "Step at which the cosine ends: where a run will end that is made in several sittings",
      "--steps");
  flags.number("--eval-every", s.eval_every, {1, many},
               "Steps between evaluations, each with a checkpoint");
  flags.number("--seed", s.seed, {0, UINT64_MAX},
               "Fixes initial weights, batches, dropout and sample");
  flags.number("--threads", s.threads, {1, 256}, "Processor threads; results do not depend on it");
  flags.parse(argc, argv);

  Json resumed;
  if (!resume.empty()) {
    resumed = read_config(resume);
    resumed["settings"]["out"] = resume;  // it may have been moved
    flags.restore(resumed["settings"],
                  {"--data", "--steps", "--eval-every", "--threads", "--sample"},
                  resume + "/config.json");
  }
  const auto check = [](bool fine, const auto&... text) { require<UsageError>(fine, text...); };
  check(s.dim % s.heads == 0, "--dim ", s.dim, " is not divisible by --heads ", s.heads);
  check(s.position != "rope" || s.dim / s.heads % 2 == 0,
        "--position rope needs an even width per head: --dim ", s.dim, " / --heads ", s.heads,
        " is ", s.dim / s.heads);
  if (s.decay_steps == 0) s.decay_steps = s.steps;
  // A run shorter than the usual warm-up has a shorter one, unless asked for.
  if (resumed.is_null() && !flags.given("--warmup"))
    s.warmup = std::min(s.warmup, s.decay_steps / 10);
  check(s.warmup < s.decay_steps, "--warmup ", s.warmup, " must be less than the ", s.decay_steps,
        " steps of the schedule");
  if (!s.data.empty())
    s.data =
        std::filesystem::absolute(s.data).lexically_normal();  // --resume may be called elsewhere
  return {s, flags.settings(), resumed};
}

// ---- data ---------------------------------------------------------------------------------------

/// Mean over windows that lie side by side, at most max_eval_tokens of them; always the same ones.
double validation_loss(Gpt& model, const std::vector<std::int64_t>& text, const Settings& s) {
  const std::size_t available = (text.size() - 1) / s.context;
  const std::size_t count =
      std::min(available, std::max<std::size_t>(1, max_eval_tokens / s.context));
  const std::size_t group = std::max<std::size_t>(1, 2048 / s.context);
  const Pause no_tape;
  model.eval();
  double total = 0;
  for (std::size_t first = 0; first < count; first += group) {
    std::vector<std::size_t> starts;
    for (std::size_t i = first; i < std::min(count, first + group); ++i)
      starts.push_back(i * available / count * s.context);
    const Batch batch = windows(text, starts, s.context);
    total += static_cast<double>(cross_entropy(model(batch.x), batch.y).item()) *
             static_cast<double>(starts.size());
  }
  model.train();
  return total / static_cast<double>(count);
}

// ---- results ------------------------------------------------------------------------------------

std::string loss_picture(const MetricsLog& metrics) {
  Series train{"training", {}, {}}, validation{"validation", {}, {}};
  for (const MetricsLog::Record& line : metrics.records())
    for (auto* series : {&train, &validation}) {
      const auto& loss = line[series == &train ? "train_loss" : "val_loss"];
      if (!loss.is_number()) continue;
      series->xs.push_back(line["step"]);
      series->ys.push_back(loss);
    }
  return line_chart("Loss", "step", "nats per character", {train, validation});
}

std::size_t parameter_count(const Module& model) {
  std::size_t count = 0;
  for (const Tensor& parameter : model.parameters()) count += parameter.size();
  return count;
}

/// A resumed run must not learn another text unnoticed.
void require_same_text(const Json& now, const Json& before, const std::string& name) {
  require<std::runtime_error>(
      now["vocabulary"] == before.value("vocabulary", Json()), name,
      " has changed since that run: its vocabulary, the characters that occur in it, is another");
  require<std::runtime_error>(now["text"] == before.value("text", Json()), name,
                              " has changed since that run");
}

// ---- the method ---------------------------------------------------------------------------------

void run(int argc, char** argv) {
  const CommandLine line = parse(argc, argv);
  const Settings& s = line.settings;
  const bool resume = !line.resumed.is_null();
  set_num_threads(s.threads);

  const std::string text = s.data.empty() ? default_corpus() : read_text(s.data);
  const auto vocabulary = CharVocabulary::of(text);
  const Split split(vocabulary.encode(text));
  require(split.validation.size() > s.context,
          "the text is too short: its last tenth, held out for validation, has ",
          split.validation.size(), " characters and must have more than --context ", s.context);
  const Json config = {
      {"settings", line.echo},
      {"text", {{"bytes", text.size()}, {"fingerprint", std::to_string(fingerprint(text))}}},
      {"vocabulary", vocabulary.bytes}};
  if (resume)
    require_same_text(config, line.resumed,
                      s.data.empty() ? "the source of the xtensor headers" : s.data);

  // Weights, gradients and Adam's two moments; and what the layers keep for backward.
  const auto layers = static_cast<double>(s.layers), dim = static_cast<double>(s.dim),
             vocab = static_cast<double>(vocabulary.size()),
             tokens = static_cast<double>(s.batch * s.context);
  const double floats =
      4 * (12 * layers * dim * dim + vocab * dim) + tokens * (8 * layers * dim + vocab);
  require_memory(floats * sizeof(real), "the model and its batch");

  Gpt model = make_model(s, vocabulary.size(), s.seed);
  AdamW optimizer(decaying_matrices(model.parameters()),
                  {.lr = s.lr, .betas = {0.9, beta2}, .weight_decay = weight_decay});
  const Schedule lr_factor =
      schedule::cosine({.warmup = s.warmup, .steps = s.decay_steps, .end = final_lr_factor});

  Tally tally;
  if (resume) tally = load_training(s.out + "/checkpoint.safetensors", model, optimizer);
  std::int64_t step = optimizer.steps();
  require<UsageError>(step < s.steps, "that run has ", step,
                      " steps already: ask for more with --steps");

  print_settings(std::cout, line.echo);
  std::cout << text.size() << " characters, " << vocabulary.size() << " different; "
            << parameter_count(model) << " parameters"
            << (resume ? concat_text("; going on after step ", step) : "") << std::endl;

  // From here on things are written, and Ctrl-C no longer ends the program at once.
  catch_interrupts();
  OutputFolder out(s.out);
  const auto checkpoint = [&] {
    save_training(out / "checkpoint.safetensors", model, optimizer, tally);
    save(model, out / "model.safetensors");
  };
  if (!resume)
    checkpoint();  // first: it is what a full disk refuses first, and all else is still as it was
  write_file(out / "config.json", config.dump(2) + '\n');
  MetricsLog metrics(out / "metrics.jsonl", resume ? std::optional(step) : std::nullopt);
  if (!resume) std::filesystem::remove(out / "sample.txt");  // of an earlier run
  out.keep();

  Progress progress(s.steps, {.first_step = step});
  const double seconds_before = tally.seconds;
  for (; step < s.steps && !interrupted(); ++step) {
    model.reseed(Rng(s.seed).fork("dropout").fork(static_cast<std::uint64_t>(step)).key());
    const Batch batch = random_windows(split.train, s.batch, s.context, s.seed, step);

    Tape tape;
    const Tensor loss = cross_entropy(model(batch.x), batch.y);
    tape.backward(loss);
    require<std::runtime_error>(std::isfinite(loss.item()), "the loss is no longer finite after ",
                                step, " steps: try a lower --lr");
    clip_grad_norm(model.parameters(), max_grad_norm);
    optimizer.set_lr_factor(lr_factor(step));
    optimizer.step();
    optimizer.zero_grad();

    tally.loss_sum += loss.item();
    ++tally.loss_count;
    tally.seconds = seconds_before + progress.elapsed();
    const std::int64_t done = step + 1;
    progress.step(done, loss.item(), static_cast<std::int64_t>(s.batch * s.context));
    if (done % s.eval_every != 0 && done != s.steps) continue;

    const double train_loss = tally.loss_sum / static_cast<double>(tally.loss_count);
    const double val_loss = validation_loss(model, split.validation, s);
    progress.evaluation(train_loss, val_loss);
    tally.seconds = seconds_before + progress.elapsed();
    metrics.write({{"step", done},
                   {"train_loss", train_loss},
                   {"val_loss", val_loss},
                   {"lr", optimizer.lr()},
                   {"tokens_per_s", progress.tokens_per_second()},
                   {"seconds", tally.seconds}});
    // The mean goes on after a last evaluation out of turn: a run with more steps would not have
    // had it.
    if (done % s.eval_every == 0) tally.loss_sum = 0, tally.loss_count = 0;
    checkpoint();
    write_file(out / "loss.svg", loss_picture(metrics));
  }
  progress.finish();
  if (step < s.steps) {
    checkpoint();
    write_file(out / "loss.svg", loss_picture(metrics));
    std::cout << "stopped after step " << step << "; continue with --resume " << s.out << '\n';
    return;
  }

  model.eval();
  const std::vector<std::int64_t> prompt(
      split.validation.begin(), split.validation.begin() + static_cast<std::ptrdiff_t>(s.context));
  const std::string sample = vocabulary.decode(
      generate(model, prompt,
               {.max_tokens = s.sample, .temperature = 0.8, .seed = s.seed, .context = s.context}));
  write_file(out / "sample.txt", sample + '\n');
  std::cout << "\n---- sample ----\n"
            << sample << "\n----------------\nresults are in " << s.out
            << ": model.safetensors, config.json, metrics.jsonl, loss.svg, sample.txt, "
               "checkpoint.safetensors\n";
}

int main(int argc, char** argv) {
  return run_program("train_lm", [&] { run(argc, argv); });
}
