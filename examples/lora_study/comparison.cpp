// Part 2: every method at its best learning rate, on the same batches as full fine-tuning, whose
// path it is compared with step by step.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>

#include "study.hpp"
#include "support/chart.hpp"

namespace study {
namespace {

/// JSON has no NaN.
Row known(double value) { return std::isfinite(value) ? Row(value) : Row(); }

/// How far a path is from full fine-tuning's at one step. The first depends on both learning rates,
/// the second on directions alone.
struct Distance {
  double drift = NAN;   // |dW - dW_full| / |dW_full|
  double cosine = NAN;  // of the angle between dW and dW_full
};

Distance distance(const Weights& moved, const Weights& full) {
  double difference = 0, product = 0, own = 0, other = 0;
  for (std::size_t i = 0; i < moved.size(); ++i) {
    const double a = moved[i], b = full[i];
    difference += (a - b) * (a - b), product += a * b, own += a * a, other += b * b;
  }
  return {std::sqrt(difference / other), product / std::sqrt(own * other)};
}

/// A method's run at one learning rate, measured, without its weights.
struct Trial {
  std::string method;
  std::uint64_t seed;
  double lr;
  Run run;
  std::vector<Distance> distances{};  // one per look

  /// The first look at which the loss is no higher; null if there is none.
  Row steps_to(double loss) const {
    for (const Look& look : run.looks)
      if (look.loss <= loss) return look.step;
    return nullptr;
  }
  /// Where NaN is the worst.
  bool better_than(const Trial& other) const {
    return run.final_loss() < other.run.final_loss() || std::isnan(other.run.final_loss());
  }
};

class Comparison {
 public:
  Comparison(Context& context, const Task& task) : context_(context), task_(task) {}

  /// The method at its best learning rate, with three seeds.
  void measure(const Method& method) {
    const Settings& s = context_.settings;
    const double lr = tune(method);
    for (const std::uint64_t seed : {s.seed + 1, s.seed + 2}) keep(run(method, lr, seed));
  }

  /// Puts down "course" and "method" rows, once all methods are there.
  void add_rows() const;

 private:
  double tune(const Method& method);
  Trial run(const Method& method, double lr, std::uint64_t seed);
  void keep(Trial trial) {
    if (trial.method == "full") {
      for (Look& look : trial.run.looks) full_[trial.seed].push_back(std::move(look.moved));
      trial.distances.assign(trial.run.looks.size(), {0, 1});
      trial.distances.front() = {};
    }
    trials_.push_back(std::move(trial));
  }

  Context& context_;
  const Task& task_;
  std::vector<Trial> trials_;
  std::map<std::uint64_t, std::vector<Weights>> full_;  // by seed: dW_full at each look
};

Trial Comparison::run(const Method& method, double lr, std::uint64_t seed) {
  const Settings& s = context_.settings;
  Trial trial{method.name, seed, lr, fine_tune(task_, s, method, lr, seed)};
  std::cout << method.name << ", seed " << seed << ", lr " << number(lr) << ": loss "
            << number(trial.run.final_loss()) << std::endl;
  if (method.name == "full") return trial;
  const std::vector<Weights>& full = full_.at(seed);
  for (std::size_t i = 0; i < trial.run.looks.size(); ++i) {
    Look& look = trial.run.looks[i];
    trial.distances.push_back(look.step == 0 || look.moved.empty() ? Distance{}
                                                                   : distance(look.moved, full[i]));
    look.moved = {};
  }
  return trial;
}

/// Tries learning rates until the best one has a worse neighbour on either side, or the list ends;
/// with --quick three.
double Comparison::tune(const Method& method) {
  static constexpr double rates[] = {5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3,
                                     1e-2, 2e-2, 5e-2, 1e-1, 2e-1, 5e-1};
  const Settings& s = context_.settings;
  const auto middle = std::find(std::begin(rates), std::end(rates), method.lr) - rates;
  std::map<std::ptrdiff_t, Trial> tried;
  const auto attempt = [&](std::ptrdiff_t i) {
    if (i < 0 || i >= std::ssize(rates) || tried.contains(i)) return false;
    tried.emplace(i, run(method, rates[i], s.seed));
    return true;
  };
  std::ptrdiff_t best = middle;
  for (const std::ptrdiff_t i : {middle, middle - 1, middle + 1}) attempt(i);
  do {
    for (const auto& [i, trial] : tried)
      if (trial.better_than(tried.at(best))) best = i;
  } while (!s.quick && (attempt(best - 1) || attempt(best + 1)));
  for (const auto& [i, trial] : tried)
    context_.results.add({{"study", "rate"},
                          {"method", method.name},
                          {"seed", s.seed},
                          {"rank", s.rank},
                          {"lr", trial.lr},
                          {"final_loss", known(trial.run.final_loss())},
                          {"best", i == best},
                          {"at_the_border", i == best && (best == tried.begin()->first ||
                                                          best == tried.rbegin()->first)}});
  const double lr = rates[best];
  keep(std::move(tried.at(best)));
  return lr;
}

void Comparison::add_rows() const {
  std::map<std::uint64_t, double> lora;
  for (const Trial& trial : trials_)
    if (trial.method == "lora") lora[trial.seed] = trial.run.final_loss();
  for (const Trial& trial : trials_) {
    const Run& run = trial.run;
    const auto at = [&](std::size_t look) {
      return look < trial.distances.size() ? trial.distances[look] : Distance{};
    };
    for (std::size_t i = 0; i < run.looks.size(); ++i)
      context_.results.add({{"study", "course"},
                            {"method", trial.method},
                            {"seed", trial.seed},
                            {"lr", trial.lr},
                            {"step", run.looks[i].step},
                            {"loss", known(run.looks[i].loss)},
                            {"drift", known(at(i).drift)},
                            {"cosine", known(at(i).cosine)}});
    const Distance first = at(1), last = at(run.looks.size() - 1);
    context_.results.add({{"study", "method"},
                          {"method", trial.method},
                          {"seed", trial.seed},
                          {"rank", trial.method == "full" ? Row() : Row(context_.settings.rank)},
                          {"lr", trial.lr},
                          {"final_loss", known(run.final_loss())},
                          {"steps_to_lora", trial.steps_to(lora.at(trial.seed))},
                          {"drift_step1", known(first.drift)},
                          {"drift_final", known(last.drift)},
                          {"cosine_step1", known(first.cosine)},
                          {"cosine_final", known(last.cosine)},
                          {"trainable", run.trainable},
                          {"seconds_per_step", run.seconds_per_step},
                          {"peak_bytes", run.peak_bytes}});
  }
}

// ---- what the rows say --------------------------------------------------------------------------

/// A column's values in order of size; null counts as infinite.
std::vector<double> sorted(const Rows& rows, const std::string& column) {
  std::vector<double> values;
  for (const Row& row : rows)
    values.push_back(row[column].is_null() ? INFINITY : row[column].get<double>());
  std::sort(values.begin(), values.end());
  return values;
}

double mean(const Rows& rows, const std::string& column) {
  double sum = 0;
  for (const double value : sorted(rows, column)) sum += value / static_cast<double>(rows.size());
  return sum;
}

/// Of each method over its seeds: "path" rows for each look, and a "summary".
void summarise(Context& context, const std::vector<Method>& methods) {
  examples::Results& results = context.results;
  for (const Method& method : methods) {
    const Rows seeds = results.where({{"study", "method"}, {"method", method.name}});
    const std::vector<double> losses = sorted(seeds, "final_loss"),
                              seconds = sorted(seeds, "seconds_per_step");
    Row row{{"study", "summary"},
            {"method", method.name},
            {"lr", seeds.front()["lr"]},
            {"final_loss", known(mean(seeds, "final_loss"))},
            {"lowest", known(losses.front())},
            {"highest", known(losses.back())}};
    for (const char* column :
         {"steps_to_lora", "drift_step1", "drift_final", "cosine_step1", "cosine_final"})
      row[column] = known(mean(seeds, column));
    row["trainable"] = seeds.front()["trainable"];
    row["seconds_per_step"] = seconds[seconds.size() / 2];
    row["peak_MB"] = mean(seeds, "peak_bytes") / 1e6;
    results.add(row);
    for (const Row& look : results.where(
             {{"study", "course"}, {"method", method.name}, {"seed", seeds.front()["seed"]}})) {
      const Rows same =
          results.where({{"study", "course"}, {"method", method.name}, {"step", look["step"]}});
      Row path{{"study", "path"}, {"method", method.name}, {"step", look["step"]}};
      for (const char* column : {"loss", "drift", "cosine"})
        path[column] = known(mean(same, column));
      results.add(path);
    }
  }
}

void show_tables(Context& context) {
  const Settings& s = context.settings;
  const examples::Results& results = context.results;
  Rows rates = results.where({{"study", "rate"}});
  std::stable_sort(rates.begin(), rates.end(),
                   [](const Row& a, const Row& b) { return a["lr"] < b["lr"]; });
  context.show("2. Learning rates tried with the first seed, and the held-out loss after " +
                   std::to_string(s.steps) + " steps",
               cross_table(rates, "method", "lr", "final_loss"));
  const Rows summary = results.where({{"study", "summary"}});
  context.show(
      "   At the best of them, over three seeds: mean loss, the lowest and the highest; steps "
      "until\n"
      "   LoRA's final loss of the same seed, if all reach it; seconds: medians; peak: of tensors",
      table(summary, {"method", "lr", "final_loss", "lowest", "highest", "steps_to_lora",
                      "trainable", "seconds_per_step", "peak_MB"}));
  context.show(
      "   How far the effective weights' path is from full fine-tuning's with the same batches, "
      "each\n"
      "   at its own learning rate. drift: |dW - dW_full| / |dW_full|; cosine: of the angle "
      "between",
      table(summary, {"method", "drift_step1", "drift_final", "cosine_step1", "cosine_final"}));
  Rows way;
  const Rows paths = results.where({{"study", "path"}});
  for (const Row& row : paths)
    for (const std::int64_t step :
         {std::int64_t{1}, s.steps / 8, s.steps / 4, s.steps / 2, s.steps})
      if (row["step"] == step && row["method"] != "full") {
        way.push_back(row);
        break;
      }
  context.show("   The drift on the way", cross_table(way, "method", "step", "drift"));
  context.show("   The cosine on the way", cross_table(way, "method", "step", "cosine"));
}

/// What a sentence says of a method.
std::string named(const Row& row, const std::string& column) {
  return row["method"].get<std::string>() + ' ' + shown(row[column]);
}

/// The methods for which something holds, and the others.
struct Parts {
  std::vector<std::string> yes, no;
  void add(bool holds, const std::string& name) { (holds ? yes : no).push_back(name); }
};

class Reading {
 public:
  explicit Reading(Context& context)
      : context_(context), summary_(context.results.where({{"study", "summary"}})) {
    for (const Row& row : summary_) {
      if (row["method"] == "lora") lora_ = row;
      if (row["method"] != "full") adapters_.push_back(row);
    }
  }

  void losses() const {
    Rows order = summary_;
    std::stable_sort(order.begin(), order.end(), [](const Row& a, const Row& b) {
      return less(a["final_loss"], b["final_loss"]);
    });
    std::vector<std::string> names, below, above, mixed;
    for (const Row& row : order) {
      names.push_back(named(row, "final_loss"));
      if (row["method"] == "lora") continue;
      std::size_t lower = 0;
      const Rows own = of(row["method"]), plain = of("lora");
      for (std::size_t i = 0; i < own.size(); ++i)
        lower += less(own[i]["final_loss"], plain[i]["final_loss"]);
      (lower == own.size() ? below : lower == 0 ? above : mixed).push_back(row["method"]);
    }
    context_.read("From the lowest loss to the highest, as a mean of three seeds: " +
                  listed(names) + ". Lower than LoRA's with every seed: " + listed(below) +
                  "; with some: " + listed(mixed) + "; with none: " + listed(above) + '.');
    Parts border;
    for (const Row& row : context_.results.where({{"study", "rate"}, {"best", true}}))
      border.add(row["at_the_border"], row["method"]);
    context_.read("At the border of the learning rates tried, and so perhaps not at their best: " +
                  listed(border.yes) + '.');
  }

  void steps() const {
    Parts reach;
    for (const Row& row : summary_)
      if (row["method"] != "lora")
        reach.add(!row["steps_to_lora"].is_null(), row["steps_to_lora"].is_null()
                                                       ? row["method"].get<std::string>()
                                                       : named(row, "steps_to_lora"));
    context_.read("Steps until LoRA's final loss, which it has itself after " +
                  shown(lora_["steps_to_lora"]) + " of " + std::to_string(context_.settings.steps) +
                  " on average: " + listed(reach.yes) +
                  ". Not with every seed: " + listed(reach.no) + '.');
  }

  void paths() const {
    for (const auto& [column, when] :
         {std::pair("cosine_step1", "after step 1"), std::pair("cosine_final", "at the end")}) {
      Rows order = adapters_;
      std::stable_sort(order.begin(), order.end(),
                       [c = column](const Row& a, const Row& b) { return less(b[c], a[c]); });
      std::vector<std::string> names;
      for (const Row& row : order) names.push_back(named(row, column));
      context_.read(std::string("Cosine of the way from the start with full fine-tuning's, ") +
                    when + ": " + listed(names) + '.');
    }
    Parts nearer;
    for (const Row& row : adapters_)
      if (row["method"] != "lora")
        nearer.add(less(row["drift_final"], lora_["drift_final"]), named(row, "drift_final"));
    context_.read("At the end " + named(lora_, "drift_final") +
                  " |dW_full| away from full fine-tuning's weights. Nearer: " + listed(nearer.yes) +
                  "; farther: " + listed(nearer.no) +
                  ". A method that does not move at all has 1: below that, following the direction "
                  "pays for the error.");
    std::size_t pairs = 0, by_cosine = 0, by_drift = 0;
    for (const Row& a : adapters_)
      for (const Row& b : adapters_)
        if (less(a["final_loss"], b["final_loss"])) {
          ++pairs;
          by_cosine += less(b["cosine_final"], a["cosine_final"]);
          by_drift += less(a["drift_final"], b["drift_final"]);
        }
    context_.read("Does following full fine-tuning lower the loss? Of " + std::to_string(pairs) +
                  " pairs of adapters the one with the lower loss has the larger cosine in " +
                  std::to_string(by_cosine) + ", and the smaller drift in " +
                  std::to_string(by_drift) + '.');
  }

  void costs() const {
    const Row& full = summary_.front();
    std::vector<std::string> time, memory;
    for (const Row& row : adapters_) {
      const std::string name = row["method"];
      const auto against = [&](const char* column) {
        return name + ' ' + percent(row[column].get<double>() / full[column].get<double>() - 1);
      };
      time.push_back(against("seconds_per_step"));
      memory.push_back(against("peak_MB"));
    }
    context_.read("Against a step of full fine-tuning, time: " + listed(time) +
                  "; memory at its peak: " + listed(memory) + '.');
    context_.read(
        "One small model, one pair of texts, one rank, the best of few learning rates as seen on "
        "the "
        "held-out text of the first seed: orders may change with any of them.");
  }

 private:
  /// null is the largest.
  static bool less(const Row& a, const Row& b) {
    return !a.is_null() && (b.is_null() || a.get<double>() < b.get<double>());
  }
  Rows of(const Row& method) const {
    return context_.results.where({{"study", "method"}, {"method", method}});
  }

  Context& context_;
  const Rows summary_;
  Row lora_;
  Rows adapters_;
};

void draw(Context& context) {
  const auto curves = [&](const char* study, const char* x, const char* y, bool with_full) {
    std::vector<examples::Series> all;
    for (const Row& row : context.results.where({{"study", study}})) {
      const std::string method = row["method"];
      if (row[y].is_null() || (!with_full && method == "full")) continue;
      if (all.empty() || all.back().name != method) all.push_back({method, {}, {}});
      all.back().xs.push_back(row[x]);
      all.back().ys.push_back(row[y]);
    }
    return all;
  };
  const char* const nats = "held-out loss, nats per character";
  context.draw("rates.svg",
               examples::line_chart("Loss at the end", "learning rate", nats,
                                    curves("rate", "lr", "final_loss", true), {.log_x = true}));
  context.draw("loss.svg",
               examples::line_chart("Loss of the target text, mean of three seeds", "step", nats,
                                    curves("path", "step", "loss", true)));
  context.draw("path.svg",
               examples::side_by_side(
                   {examples::line_chart("Cosine with full fine-tuning's way", "step", "cosine",
                                         curves("path", "step", "cosine", false),
                                         {.width = 620, .height = 400, .log_x = true}),
                    examples::line_chart(
                        "Distance from full fine-tuning", "step", "|dW - dW_full| / |dW_full|",
                        curves("path", "step", "drift", false),
                        {.width = 620, .height = 400, .log_x = true, .log_y = true})},
                   2));
}

}  // namespace

void measure_methods(Context& context, const Task& task, const std::vector<Method>& methods) {
  Comparison comparison(context, task);
  for (const Method& method : methods) comparison.measure(method);
  comparison.add_rows();
  summarise(context, methods);
  show_tables(context);
  const Reading reading(context);
  reading.losses();
  reading.steps();
  reading.paths();
  reading.costs();
  draw(context);
}

}  // namespace study
