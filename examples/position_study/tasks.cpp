// Part 3, what NoPE lacks, in tasks on random symbols that nothing but positions can solve: say
// what stood k places back, copy a text, say what followed a symbol when it stood there first.
#include <algorithm>
#include <iostream>
#include <map>
#include <numeric>

#include "study.hpp"
#include "support/chart.hpp"

namespace study {
namespace {

constexpr std::int64_t ignored = -100;  // as an answer: not asked; cross_entropy's own default

/// Symbols, answers, and how far back each answer stands: (B, T) each.
struct Exercise {
  Batch batch;
  Indices distance;

  Exercise(std::size_t texts, std::size_t length)
      : batch{Indices::from_shape({texts, length}), Indices::from_shape({texts, length})},
        distance(Indices::from_shape({texts, length})) {
    batch.y.fill(ignored);
  }
  std::size_t texts() const { return batch.x.shape(0); }
  std::size_t length() const { return batch.x.shape(1); }
  void ask(std::size_t b, std::size_t t, std::size_t source) {
    batch.y(b, t) = batch.x(b, source);
    distance(b, t) = static_cast<std::int64_t>(t - source);
  }
};

struct Task {
  std::string name;
  std::size_t vocab, answers, layers, dim;  // answers: how many different ones there are
  std::size_t smallest, largest;            // sizes in training, drawn anew for each batch
  std::vector<std::size_t> sizes;           // in the test
  std::size_t longest;                      // text in training
  Training training;
  std::function<Exercise(Rng& rng, std::size_t texts, std::size_t size)> make;
};

std::int64_t symbol(Rng& rng, std::size_t count) {
  return static_cast<std::int64_t>(rng.below(count));
}

/// Random symbols; at each the answer is the one k places back. Beyond the size of the training
/// only the positions that are new are asked about.
Task look_back(std::size_t k, bool quick) {
  constexpr std::size_t symbols = 8, length = 32;
  return {.name = "look back " + std::to_string(k),
          .vocab = symbols,
          .answers = symbols,
          .layers = 1,
          .dim = 32,
          .smallest = length,
          .largest = length,
          .sizes = {length, 2 * length, 4 * length},
          .longest = length,
          .training = {.steps = quick ? 40 : 300, .lr = 5e-3, .weight_decay = 0},
          .make = [k](Rng& rng, std::size_t texts, std::size_t size) {
            Exercise e(texts, size);
            for (std::size_t b = 0; b < texts; ++b)
              for (std::size_t t = 0; t < size; ++t) {
                e.batch.x(b, t) = symbol(rng, symbols);
                if (t >= (size > length ? length : k)) e.ask(b, t, t - k);
              }
            return e;
          }};
}

/// n random symbols, a mark, and the symbols again: at the mark and at each symbol of the copy the
/// answer is the next one.
Task copy(bool quick) {
  constexpr std::size_t symbols = 16;
  return {.name = "copy",
          .vocab = symbols + 1,
          .answers = symbols,
          .layers = quick ? std::size_t{2} : std::size_t{4},
          .dim = 64,
          .smallest = 2,
          .largest = 16,
          .sizes = {8, 16, 24, 32, 64},
          .longest = 32,
          .training = {.steps = quick ? 20 : 800, .lr = 1e-3, .weight_decay = 0},
          .make = [](Rng& rng, std::size_t texts, std::size_t n) {
            Exercise e(texts, 2 * n);
            for (std::size_t b = 0; b < texts; ++b) {
              for (std::size_t t = 0; t < n; ++t) e.batch.x(b, t) = symbol(rng, symbols);
              e.batch.x(b, n) = symbols;
              for (std::size_t t = 1; t < n; ++t) e.batch.x(b, n + t) = e.batch.x(b, t - 1);
              for (std::size_t t = 0; t < n; ++t) e.ask(b, n + t, t);
            }
            return e;
          }};
}

/// n different symbols, then all of them but the last again, in another order: at each the answer
/// is what followed it the first time. Olsson et al. 2022 (2209.11895).
Task induction(bool quick) {
  constexpr std::size_t symbols = 32;
  return {.name = "induction",
          .vocab = symbols,
          .answers = symbols,
          .layers = quick ? std::size_t{2} : std::size_t{4},
          .dim = 64,
          .smallest = 2,
          .largest = 16,
          .sizes = {8, 16, 24, 32},
          .longest = 31,
          .training = {.steps = quick ? 20 : 1500, .lr = 1e-3, .weight_decay = 0},
          .make = [](Rng& rng, std::size_t texts, std::size_t n) {
            Exercise e(texts, 2 * n - 1);
            std::vector<std::int64_t> order(symbols);
            std::vector<std::size_t> place(n - 1);
            const auto shuffle = [&rng](auto& list, std::size_t count) {
              std::iota(list.begin(), list.end(), 0);
              for (std::size_t i = 0; i < count; ++i)
                std::swap(list[i], list[i + rng.below(list.size() - i)]);
            };
            for (std::size_t b = 0; b < texts; ++b) {
              shuffle(order, n);
              shuffle(place, n - 1);
              std::copy_n(order.begin(), n, e.batch.x.data() + b * e.length());
              for (std::size_t i = 0; i + 1 < n; ++i) {
                e.batch.x(b, n + i) = e.batch.x(b, place[i]);
                e.ask(b, n + i, place[i] + 1);
              }
            }
            return e;
          }};
}

/// Adds the share of right answers, of all and by distance.
void test(Context& context, const Task& task, const std::string& scheme, const Gpt& model) {
  const Pause no_tape;
  const std::size_t texts = context.settings.quick ? 32 : 128;
  for (const std::size_t size : task.sizes) {
    Rng rng = Rng(context.settings.seed).fork("test").fork(size);
    const Exercise e = task.make(rng, texts, size);
    const Tensor logits = model(e.batch.x);
    struct Count {
      double right = 0, asked = 0;
    } all;
    std::map<std::int64_t, Count> by_distance;  // up to a power of two
    for (std::size_t i = 0; i < e.batch.y.size(); ++i) {
      if (e.batch.y.flat(i) == ignored) continue;
      const real* row = logits.data() + i * task.vocab;
      const bool right = std::max_element(row, row + task.vocab) - row == e.batch.y.flat(i);
      std::int64_t distance = 1;
      while (distance < e.distance.flat(i)) distance *= 2;
      for (Count* count : {&all, &by_distance[distance]}) count->right += right, count->asked += 1;
    }
    context.results.add({{"study", "task"},
                         {"scheme", scheme},
                         {"length", e.length()},
                         {"task", task.name},
                         {"size", size},
                         {"longest_in_training", task.longest},
                         {"accuracy", all.right / all.asked}});
    for (const auto& [distance, count] : by_distance)
      context.results.add({{"study", "task_by_distance"},
                           {"scheme", scheme},
                           {"length", e.length()},
                           {"task", task.name},
                           {"size", size},
                           {"distance_up_to", distance},
                           {"asked", count.asked},
                           {"accuracy", count.right / count.asked}});
  }
}

/// Which schemes answer more than nine in ten at a size.
std::string solvers(const Results& results, const Task& task, std::size_t size) {
  std::vector<std::string> names;
  for (const Row& row : results.where({{"study", "task"}, {"task", task.name}, {"size", size}}))
    if (row["accuracy"] > 0.9)
      names.push_back(row["scheme"].get<std::string>() + ' ' + shown(row["accuracy"]));
  return listed(names);
}

void report(Context& context, const Task& task) {
  const Results& results = context.results;
  const Rows rows = results.where({{"study", "task"}, {"task", task.name}});
  context.show("3. A task: " + task.name + ". Accuracy by length of the text, which is at most " +
                   std::to_string(task.longest) + " in training; chance is " +
                   number(1.0 / static_cast<double>(task.answers)),
               cross_table(rows, "scheme", "length", "accuracy"));
  Rows by_distance;
  for (const Row& row : results.where(
           {{"study", "task_by_distance"}, {"task", task.name}, {"size", task.sizes.back()}}))
    if (row["asked"] >= 50) by_distance.push_back(row);
  if (task.name == "induction")
    context.show("   In the longest text, by how far back the answer stands (50 answers or more)",
                 cross_table(by_distance, "scheme", "distance_up_to", "accuracy"));
  std::size_t seen = 0;  // the largest size that training had
  for (const std::size_t size : task.sizes)
    if (size <= task.largest) seen = size;
  context.read("More than nine in ten right at the longest texts of the training: " +
               solvers(results, task, seen) +
               "; at the longest tried: " + solvers(results, task, task.sizes.back()) + '.');

  std::vector<examples::Series> curves;
  for (const Row& row : rows) {
    const std::string scheme = row["scheme"];
    if (curves.empty() || curves.back().name != scheme) curves.push_back({scheme, {}, {}});
    curves.back().xs.push_back(row["length"]);
    curves.back().ys.push_back(row["accuracy"]);
  }
  std::string file = task.name + ".svg";
  std::replace(file.begin(), file.end(), ' ', '_');
  context.draw(file, examples::line_chart("Task: " + task.name, "length of the text", "accuracy",
                                          curves, {.log_x = true}));
}

}  // namespace

void measure_tasks(Context& context) {
  const Settings& s = context.settings;
  for (const Task& task : {look_back(1, s.quick), look_back(4, s.quick), look_back(16, s.quick),
                           copy(s.quick), induction(s.quick)}) {
    std::cout << '\n';
    for (const std::string& scheme : schemes()) {
      constexpr std::size_t heads = 4;
      const Gpt model({.vocab = task.vocab,
                       .layers = task.layers,
                       .heads = heads,
                       .dim = task.dim,
                       .position = make_scheme(scheme, {task.longest, task.dim, heads}),
                       .seed = s.seed});
      const double seconds = train(model, task.training, [&](std::int64_t step) {
        Rng rng = Rng(s.seed).fork(task.name).fork(static_cast<std::uint64_t>(step));
        const std::size_t size = task.smallest + rng.below(task.largest - task.smallest + 1);
        return task.make(rng, 32, size).batch;
      });
      std::cout << task.name << ", " << scheme << ": trained in " << number(seconds) << " s"
                << std::endl;
      test(context, task, scheme, model);
    }
    report(context, task);
  }
}

}  // namespace study
