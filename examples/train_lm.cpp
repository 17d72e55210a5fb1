// Trains a small GPT on the characters of any text. Reads top to bottom: settings, data, model, training, results.
// On tiny Shakespeare (--data), two thousand steps with the default settings take about a minute and reach a
// validation loss well under 1.88, the figure that nanoGPT's README gives for the same budget.
#include <CLI/CLI.hpp>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include <xgrad/core/files.hpp>
#include <xgrad/core/safetensors.hpp>
#include <xgrad/xgrad.hpp>

#include "support/chart.hpp"
#include "support/corpus.hpp"
#include "support/interrupt.hpp"
#include "support/metrics.hpp"
#include "support/progress.hpp"

using namespace xgrad;
using namespace examples;
using json = nlohmann::json;

// ---- settings ----------------------------------------------------------------------------------------------

struct Settings {
  std::string data, out = "runs/demo", position = "rope";
  std::size_t layers = 4, heads = 4, dim = 128, context = 64, batch = 12;
  std::int64_t steps = 2000, warmup = 100, decay_steps = 0, eval_every = 250;
  double lr = 1e-3, dropout = 0;
  std::uint64_t seed = 1337;
  int threads = num_threads();
  std::size_t sample = 500;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Settings, data, out, position, layers, heads, dim, context, batch, steps, warmup,
                                   decay_steps, eval_every, lr, dropout, seed, threads, sample)

// Weight decay 0.1 on matrices, betas (0.9, 0.99), gradients clipped to norm 1, cosine to a tenth: nanoGPT's.
constexpr double weight_decay = 0.1, beta2 = 0.99, final_lr_factor = 0.1;
constexpr real max_grad_norm = 1;
constexpr std::size_t max_eval_tokens = 1 << 17;  // of held-out text, in windows spread evenly over it

/// Where a run stands, besides model and optimizer: what the next line of metrics.jsonl is made of.
struct Tally {
  double loss_sum = 0;  // since the last evaluation
  std::int64_t loss_count = 0;
  double seconds = 0;  // of all sittings
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Tally, loss_sum, loss_count, seconds)

struct CommandLine {
  Settings settings;
  bool resume = false;
};

CommandLine parse(int argc, char** argv) {
  Settings s;
  std::string resume;
  CLI::App app("Trains a small GPT on the characters of a text, and leaves the model, its losses and a sample in --out.");
  app.option_defaults()->always_capture_default();
  const auto positive = CLI::PositiveNumber;
  app.add_option("--data", s.data, "Text file to train on (default: the source of the installed xtensor headers)");
  app.add_option("--out", s.out, "Folder for the results");
  app.add_option("--position", s.position, "How the model knows positions")
      ->check(CLI::IsMember({"rope", "alibi", "nope", "learned", "sinusoidal"}));
  app.add_option("--layers", s.layers, "Transformer blocks")->check(positive);
  app.add_option("--heads", s.heads, "Attention heads per block; must divide --dim")->check(positive);
  app.add_option("--dim", s.dim, "Width of the model")->check(positive);
  app.add_option("--context", s.context, "Characters that the model sees at once")->check(positive);
  app.add_option("--batch", s.batch, "Windows of text per step")->check(positive);
  app.add_option("--steps", s.steps, "Training steps in all")->check(positive);
  app.add_option("--lr", s.lr, "Highest learning rate; falls along a cosine to a tenth")->check(positive);
  app.add_option("--warmup", s.warmup, "Steps over which the learning rate rises first")->check(CLI::NonNegativeNumber);
  app.add_option("--decay-steps", s.decay_steps, "Step at which the cosine ends; 0: at --steps")->check(CLI::NonNegativeNumber);
  app.add_option("--dropout", s.dropout, "Share of activations dropped in training")->check(CLI::Range(0.0, 0.99));
  app.add_option("--seed", s.seed, "Fixes initial weights, batches, dropout and sample");
  app.add_option("--threads", s.threads, "Processor threads; the results do not depend on it")->check(positive);
  app.add_option("--eval-every", s.eval_every, "Steps between evaluations (and checkpoints)")->check(positive);
  app.add_option("--resume", resume, "Continue the run in this folder with its settings; only --steps, --eval-every, "
                                     "--threads and --sample may change")->excludes("--out");
  app.add_option("--sample", s.sample, "Characters of text to write at the end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  if (resume.empty()) {
    require(s.dim % s.heads == 0, "--dim ", s.dim, " is not divisible by --heads ", s.heads);
    require(s.position != "rope" || s.dim / s.heads % 2 == 0, "--position rope needs an even width per head, got ", s.dim / s.heads);
    if (s.decay_steps == 0) s.decay_steps = s.steps;
    require(s.warmup < s.decay_steps, "--warmup ", s.warmup, " must be less than the ", s.decay_steps, " steps of the schedule");
    return {s};
  }
  // The run's own settings, then what the command line says and may say.
  const std::string path = resume + "/config.json";
  json settings = json::parse(read_file(path), nullptr, false);
  require<std::runtime_error>(settings.is_object() && settings.contains("settings"), "--resume: ", path, " is not the config of a run");
  settings = settings["settings"];
  settings["out"] = resume;
  const json given = s;
  for (const CLI::Option* option : app.get_options()) {
    std::string name = option->get_single_name();
    std::replace(name.begin(), name.end(), '-', '_');
    if (option->count() == 0 || !given.contains(name)) continue;
    const bool may_change = name == "steps" || name == "eval_every" || name == "threads" || name == "sample";
    require(may_change || settings[name] == given[name], "--resume: ", option->get_name(), " was ", settings[name].dump(),
            " in that run and cannot become ", given[name].dump());
    settings[name] = given[name];
  }
  return {settings.get<Settings>(), true};
}

// ---- data --------------------------------------------------------------------------------------------------

struct Batch {
  Indices x, y;  // (B, T) each; y is x one character later
};

Batch windows(const std::vector<std::int64_t>& text, const std::vector<std::size_t>& starts, std::size_t length) {
  Batch batch{Indices::from_shape({starts.size(), length}), Indices::from_shape({starts.size(), length})};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    std::copy_n(text.data() + starts[i], length, batch.x.data() + i * length);
    std::copy_n(text.data() + starts[i] + 1, length, batch.y.data() + i * length);
  }
  return batch;
}

/// The batch of a step is a function of seed and step alone: a resumed run needs no other memory.
Batch training_batch(const std::vector<std::int64_t>& text, const Settings& s, std::int64_t step) {
  Rng rng = Rng(s.seed).fork("batch").fork(static_cast<std::uint64_t>(step));
  std::vector<std::size_t> starts(s.batch);
  for (std::size_t& start : starts) start = rng.below(text.size() - s.context);
  return windows(text, starts, s.context);
}

double validation_loss(Gpt& model, const std::vector<std::int64_t>& text, const Settings& s) {
  const std::size_t available = (text.size() - 1) / s.context;
  const std::size_t count = std::min(available, std::max<std::size_t>(1, max_eval_tokens / s.context));
  const std::size_t group = std::max<std::size_t>(1, 2048 / s.context);
  model.eval();
  double total = 0;
  for (std::size_t first = 0; first < count; first += group) {
    std::vector<std::size_t> starts;
    for (std::size_t i = first; i < std::min(count, first + group); ++i) starts.push_back(i * available / count * s.context);
    const Batch batch = windows(text, starts, s.context);
    total += static_cast<double>(cross_entropy(model(batch.x), batch.y).item()) * static_cast<double>(starts.size());
  }
  model.train();
  return total / static_cast<double>(count);
}

// ---- results -----------------------------------------------------------------------------------------------

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

StateDict with_prefix(const std::string& prefix, const StateDict& state) {
  StateDict result;
  for (const auto& [name, value] : state) result.emplace_back(prefix + name, value);
  return result;
}

StateDict without_prefix(const std::string& prefix, const StateDict& state) {
  StateDict result;
  for (const auto& [name, value] : state)
    if (name.starts_with(prefix)) result.emplace_back(name.substr(prefix.size()), value);
  return result;
}

std::size_t parameter_count(const Module& model) {
  std::size_t count = 0;
  for (const Tensor& parameter : model.parameters()) count += parameter.size();
  return count;
}

int run(int argc, char** argv) {
  const auto [s, resume] = parse(argc, argv);
  set_num_threads(s.threads);

  const std::string text = s.data.empty() ? default_corpus() : read_text(s.data);
  const auto vocabulary = CharVocabulary::of(text);
  const Split split(vocabulary.encode(text));
  require(split.validation.size() > s.context, "the text has ", text.size(), " characters; its last tenth must be longer than --context ", s.context);

  const auto position = make_position(s.position, {.length = s.context, .dim = s.dim});
  Gpt model({.vocab = vocabulary.size(), .layers = s.layers, .heads = s.heads, .dim = s.dim, .dropout = s.dropout,
             .bias = false, .position = position, .seed = s.seed});
  ParameterGroup matrices, vectors{.weight_decay = 0};
  for (const Tensor& parameter : model.parameters()) (parameter.ndim() >= 2 ? matrices : vectors).parameters.push_back(parameter);
  AdamW optimizer({matrices, vectors}, {.lr = s.lr, .betas = {0.9, beta2}, .weight_decay = weight_decay});
  const Schedule lr_factor = schedule::cosine({.warmup = s.warmup, .steps = s.decay_steps, .end = final_lr_factor});

  const auto file = [&out = s.out](const char* name) { return out + '/' + name; };
  Tally tally;
  if (resume) {
    const std::string checkpoint = file("checkpoint.safetensors");
    const StateDict state = load_state(checkpoint);
    model.load_state_dict(without_prefix("model.", state));
    optimizer.load_state_dict(without_prefix("optimizer.", state));
    tally = json::parse(load_safetensors(checkpoint).metadata.at("tally")).get<Tally>();
  }
  std::int64_t step = optimizer.steps();
  require(step < s.steps, "--resume: that run has its ", step, " steps already; ask for more with --steps");

  std::filesystem::create_directories(s.out);
  write_file(file("config.json"), json{{"settings", s}, {"vocabulary", vocabulary.bytes}}.dump(2) + '\n');
  MetricsLog metrics(file("metrics.jsonl"), resume ? std::optional(step) : std::nullopt);
  std::cout << json(s).dump(2) << '\n' << text.size() << " characters, " << vocabulary.size() << " different; "
            << parameter_count(model) << " parameters\n";

  // ---- training ----
  catch_interrupts();
  Progress progress(s.steps, {.first_step = step});
  const double seconds_before = tally.seconds;
  const auto save_all = [&] {
    tally.seconds = seconds_before + progress.elapsed();
    StateDict state = with_prefix("model.", model.state_dict());
    for (auto& item : with_prefix("optimizer.", optimizer.state_dict())) state.push_back(std::move(item));
    save_state(file("checkpoint.safetensors"), state, {{"tally", json(tally).dump()}});
    save(model, file("model.safetensors"));
    write_file(file("loss.svg"), loss_picture(metrics));
  };
  for (; step < s.steps && !interrupted(); ++step) {
    model.reseed(Rng(s.seed).fork("dropout").fork(static_cast<std::uint64_t>(step)).key());
    const Batch batch = training_batch(split.train, s, step);

    Tape tape;
    const Tensor loss = cross_entropy(model(batch.x), batch.y);
    tape.backward(loss);
    require<std::runtime_error>(std::isfinite(loss.item()), "the loss is no longer finite at step ", step, "; try a lower --lr");
    clip_grad_norm(model.parameters(), max_grad_norm);
    optimizer.set_lr_factor(lr_factor(step));
    optimizer.step();
    optimizer.zero_grad();

    tally.loss_sum += loss.item();
    ++tally.loss_count;
    progress.step(step + 1, loss.item(), static_cast<std::int64_t>(s.batch * s.context));
    if ((step + 1) % s.eval_every == 0 || step + 1 == s.steps) {
      const double train_loss = tally.loss_sum / static_cast<double>(tally.loss_count);
      const double val_loss = validation_loss(model, split.validation, s);
      progress.evaluation(train_loss, val_loss);
      metrics.write({{"step", step + 1}, {"train_loss", train_loss}, {"val_loss", val_loss}, {"lr", optimizer.lr()},
                     {"tokens_per_s", progress.tokens_per_second()}, {"seconds", seconds_before + progress.elapsed()}});
      tally.loss_sum = 0;
      tally.loss_count = 0;
      save_all();
    }
  }
  progress.finish();
  if (step < s.steps) {
    save_all();
    std::cout << "stopped after step " << step << "; continue with --resume " << s.out << '\n';
    return 0;
  }

  model.eval();
  const auto sample = generate(model, {split.validation.begin(), split.validation.begin() + static_cast<std::ptrdiff_t>(s.context)},
                               {.max_tokens = s.sample, .context = s.context, .temperature = 0.8, .seed = s.seed});
  const std::string sample_text = vocabulary.decode(sample);
  write_file(file("sample.txt"), sample_text + '\n');
  std::cout << "\n---- sample ----\n" << sample_text << "\n----------------\n"
            << "results are in " << s.out << ": model.safetensors, config.json, metrics.jsonl, loss.svg, sample.txt\n";
  return 0;
}

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "train_lm: " << error.what() << '\n';
    return 1;
  }
}
