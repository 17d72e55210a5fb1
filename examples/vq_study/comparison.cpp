// Part 1: every method on the same data, with what decides between them: which codes are in use,
// how far the vectors lie from them, and how long both are.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>

#include "study.hpp"

namespace study {
namespace {

/// An image is a vector of pixels, eight latents and back.
std::unique_ptr<VqVae> make_model(const Sizes& sizes, const Made& made, std::uint64_t seed) {
  return std::make_unique<MlpVqVae>(MlpVqVaeOptions{.features = 256,
                                                    .hidden = sizes.hidden,
                                                    .tokens = 8,
                                                    .quantizer = made.quantizer,
                                                    .seed = seed});
}

/// Trains one method, and puts down how it went ("course") and how it ended ("method").
std::unique_ptr<VqVae> run(Context& context, const Data& data, const Method& method,
                           std::uint64_t seed) {
  const Settings& s = context.settings;
  const Sizes sizes = sizes_of(s);
  const Made made = method.make(sizes, seed);
  std::unique_ptr<VqVae> model = make_model(sizes, made, seed);
  const auto look = [&](VqVae& now, std::int64_t step, double seconds) {
    Row row{{"study", "course"}, {"method", method.name}, {"seed", seed}, {"steps", step}};
    row.update(evaluate(now, made, data));
    row["seconds"] = seconds;
    context.results.add(row);
    if (step < s.steps) return;
    row["study"] = "method";
    context.results.add(row);
    std::cout << method.name << ", seed " << seed << ": trained in " << number(seconds) << " s"
              << std::endl;
  };
  train(*model, made, method, data, seed, {.steps = s.steps, .looks = 12, .look = look});
  return model;
}

/// Smallest and largest value of a column.
struct Span {
  double low = INFINITY, high = -INFINITY;
  Span(const Rows& rows, const std::string& column, double unit = 1) {
    for (const Row& row : rows) {
      const double value = unit * row[column].get<double>();
      low = std::min(low, value), high = std::max(high, value);
    }
  }
  std::string text() const { return number(low) + (low == high ? "" : " to " + number(high)); }
};

Rows rows_of(const Context& context, const std::string& method) {
  return context.results.where({{"study", "method"}, {"method", method}});
}

bool has(const Context& context, std::initializer_list<const char*> names) {
  return std::all_of(names.begin(), names.end(),
                     [&](const char* name) { return !rows_of(context, name).empty(); });
}

/// "13.3 %", or "11.5 to 13.3 %" where there are several seeds.
std::string used(const Context& context, const std::string& method) {
  return Span(rows_of(context, method), "utilization", 100).text() + " %";
}

double value(const Context& context, const std::string& method, const char* column) {
  return rows_of(context, method).front()[column];
}

/// The first seed's value at a quarter of the training.
double early(const Context& context, const std::string& method, const char* column) {
  const Settings& s = context.settings;
  return context.results
      .where({{"study", "course"}, {"method", method}, {"seed", s.seed}, {"steps", s.steps / 4}})
      .front()[column];
}

void read_claim(const Context& context) {
  if (!has(context, {"vq-ste", "vq-rotation", "simvq-ste"})) return;
  const Span plain(rows_of(context, "vq-ste"), "utilization");
  std::string better;
  for (const char* name : {"vq-rotation", "simvq-ste"}) {
    const Span rec(rows_of(context, name), "rec");
    better += std::string(better.empty() ? "" : ", ") + name + " " + used(context, name) +
              " with a reconstruction error of " + rec.text();
  }
  context.read("Codes in use: vq-ste " + used(context, "vq-ste") +
               " with a reconstruction error of " + Span(rows_of(context, "vq-ste"), "rec").text() +
               ", " + better + '.');
}

void read_causes(const Context& context) {
  if (has(context, {"vq-ste", "vq-rotation"}) && context.settings.steps >= 4)
    context.read("After a quarter of the steps, mean |z| is " +
                 number(early(context, "vq-ste", "mean_z")) + " for vq-ste and " +
                 number(early(context, "vq-rotation", "mean_z")) +
                 " for vq-rotation, and the codes that are chosen have " +
                 number(early(context, "vq-ste", "norm_ratio")) + " and " +
                 number(early(context, "vq-rotation", "norm_ratio")) +
                 " of that length: where codes lag behind the encoder, few of them are near it.");
  if (has(context, {"vq-rotation", "vq-rotation-no-scale", "vq-scale-only"}))
    context.read("Of the rotation's two parts, turning alone leaves " +
                 used(context, "vq-rotation-no-scale") + " in use and scaling alone " +
                 used(context, "vq-scale-only") + "; both together " +
                 used(context, "vq-rotation") + '.');
}

void read_caveats(const Context& context) {
  if (has(context, {"vq-rotation", "vq-rotation-uniform", "vq-rotation-normal", "vq-ste-uniform",
                    "vq-ste-normal"}))
    context.read(
        "It depends on where the codes begin. vq-rotation: " + used(context, "vq-rotation") +
        " from k-means, " + used(context, "vq-rotation-uniform") + " from uniform and " +
        used(context, "vq-rotation-normal") +
        " from normal values; vq-ste: " + used(context, "vq-ste") + ", " +
        used(context, "vq-ste-uniform") + " and " + used(context, "vq-ste-normal") + '.');
  std::vector<std::string> repaired;
  for (const char* name : {"vq-ste-fast", "ema-ste", "ema-ste-restart"})
    if (has(context, {name, "vq-ste"}) &&
        value(context, name, "utilization") > 2 * value(context, "vq-ste", "utilization"))
      repaired.push_back(std::string(name) + " (" + used(context, name) + ", error " +
                         number(value(context, name, "rec")) + ')');
  if (has(context, {"vq-ste-fast", "ema-ste", "ema-ste-restart", "vq-ste"}))
    context.read(
        "It is largely a race of learning rates. With straight-through gradients and "
        "nothing else changed but how the codes follow, more than twice as many codes as "
        "with vq-ste are in use with " +
        listed(repaired) + '.');
  if (has(context, {"simvq-ste", "simvq-ste-base", "diagonal-ste", "vq-ste-normal"}))
    context.read(
        "Between plain codes and a linear transform of them lies the diagonal one: error " +
        number(value(context, "vq-ste-normal", "rec")) + " from normal values, " +
        number(value(context, "diagonal-ste", "rec")) + " diagonal, " +
        number(value(context, "simvq-ste", "rec")) + " linear; and " +
        number(value(context, "simvq-ste-base", "rec")) +
        " where the points under the transform learn too, with a quantization error of " +
        number(value(context, "simvq-ste-base", "qerr")) + " instead of " +
        number(value(context, "simvq-ste", "qerr")) + '.');
  if (has(context, {"diveq-vq", "diveq-simvq"}))
    context.read("DiVeQ, without losses of its own, has " + used(context, "diveq-vq") +
                 " in use on plain codes and " + used(context, "diveq-simvq") +
                 " under a linear transform, with errors of " +
                 number(value(context, "diveq-vq", "rec")) + " and " +
                 number(value(context, "diveq-simvq", "rec")) + '.');
  context.read(
      "One data set, one size, one learning rate for all: orders may change with any of "
      "them, and with longer training.");
}

void report(Context& context) {
  const Settings& s = context.settings;
  const auto& results = context.results;
  context.show("1. Every method after " + std::to_string(s.steps) +
                   " steps. rec: mean squared error over the data's variance; utilization: codes\n"
                   "   in use over all codes; qerr: |z - q|^2 over the variance of z; norm ratio: "
                   "|q| / |z|",
               table(results.where({{"study", "method"}, {"seed", s.seed}}),
                     {"method", "rec", "utilization", "perplexity", "qerr", "norm_ratio", "mean_z",
                      "seconds"}));
  Rows others;
  for (const Row& row : results.where({{"study", "method"}}))
    if (row["seed"] != s.seed) others.push_back(row);
  context.show("   The main ones with other seeds",
               table(others, {"method", "seed", "rec", "utilization", "perplexity", "qerr",
                              "norm_ratio", "mean_z", "seconds"}));
  Rows early;
  std::vector<std::int64_t> quarters;
  for (const std::int64_t step : {std::int64_t{0}, s.steps / 4, s.steps / 2})
    if (std::find(quarters.begin(), quarters.end(), step) == quarters.end())
      quarters.push_back(step);
  for (const std::int64_t step : quarters)
    for (const Row& row : results.where({{"study", "course"}, {"seed", s.seed}, {"steps", step}}))
      early.push_back(row);
  for (const auto& [column, what] :
       {std::pair("rec", "reconstruction error"), std::pair("utilization", "codes in use"),
        std::pair("norm_ratio", "|q| / |z|")})
    context.show(std::string("   On the way there: ") + what,
                 cross_table(early, "method", "steps", column));
}

/// A picture for each group of methods, as few lines in it as colours.
void draw_utilization(Context& context) {
  std::vector<std::string> groups, pictures;
  for (const Method& method : context.methods)
    if (std::find(groups.begin(), groups.end(), method.group) == groups.end())
      groups.push_back(method.group);
  for (const std::string& group : groups) {
    std::vector<Series> curves;
    for (const Method& method : context.methods) {
      if (method.group != group) continue;
      Series& curve = curves.emplace_back(Series{method.name, {}, {}});
      for (const Row& row : context.results.where(
               {{"study", "course"}, {"method", method.name}, {"seed", context.settings.seed}})) {
        curve.xs.push_back(row["steps"]);
        curve.ys.push_back(100 * row["utilization"].get<double>());
      }
    }
    // The whole scale in each, so that they can be compared.
    curves.push_back({"", {0, 0}, {0, 100}, "none"});
    pictures.push_back(examples::line_chart("Codes in use: " + group, "step", "percent", curves,
                                            {.width = 560, .height = 360}));
  }
  context.draw("utilization.svg", examples::side_by_side(pictures, 2));
}

}  // namespace

Sizes sizes_of(const Settings& s) {
  if (s.quick) return {.hidden = 64, .dim = 16, .codes = 256, .levels = {8, 8, 4}};
  return {.hidden = 256, .dim = 32, .codes = 1024, .levels = {8, 5, 5, 5}};
}

void measure_methods(Context& context, const Data& data) {
  const Settings& s = context.settings;
  constexpr std::size_t shown = 12;
  const auto row_of = [&](const std::string& name, const Tensor& x) {
    examples::ImageRow row{name, {}};
    const Tensor pixels = x + data.mean;
    for (std::size_t i = 0; i < shown; ++i) row.images.push_back(image_of(pixels, i));
    return row;
  };
  const Tensor first = slice(data.test, 0, 0, shown);
  std::vector<examples::ImageRow> sheet{row_of("original", first)};
  for (const Method& method : context.methods) {
    const auto model = run(context, data, method, s.seed);
    model->eval();
    sheet.push_back(row_of(method.name, (*model)(first).x));
  }
  for (const std::uint64_t seed : {s.seed + 1, s.seed + 2})
    for (const Method& method : context.main_methods()) run(context, data, method, seed);
  report(context);
  read_claim(context);
  read_causes(context);
  read_caveats(context);
  draw_utilization(context);
  context.draw("reconstructions.svg",
               examples::image_sheet("Images that were not in the training", sheet));
}

}  // namespace study
