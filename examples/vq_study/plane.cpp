// Part 2: autoencoders whose latents are points of a plane, to be looked at: the encoder's outputs,
// the codes that they fall to, and the codes that they leave alone.
#include <iostream>
#include <numeric>
#include <set>

#include "study.hpp"

namespace study {
namespace {

Series points_of(const std::string& name, const Tensor& points, const std::string& colour,
                 double radius) {
  Series series{name, {}, {}, colour, radius};
  for (std::size_t i = 0; i < points.size(); i += 2) {
    series.xs.push_back(points.data()[i]);
    series.ys.push_back(points.data()[i + 1]);
  }
  return series;
}

/// The vectors of the codes that are, or are not, among these.
Tensor vectors(const Quantizer& quantizer, const std::set<std::int64_t>& used, bool among) {
  std::vector<std::int64_t> codes;
  for (std::int64_t code = 0; code < static_cast<std::int64_t>(quantizer.codes()); ++code)
    if (used.contains(code) == among) codes.push_back(code);
  if (codes.empty()) return zeros({0, 2});
  Indices list = Indices::from_shape({codes.size()});
  std::copy(codes.begin(), codes.end(), list.begin());
  return quantizer.decode(list);
}

}  // namespace

void draw_planes(Context& context, const Data& data) {
  const Settings& s = context.settings;
  const Sizes sizes{.hidden = 64, .dim = 2, .codes = 256, .levels = {16, 16}};
  std::vector<std::string> pictures;
  for (const Method& method : context.main_methods()) {
    const Made made = method.make(sizes, s.seed);
    if (!made.codebook) continue;  // its codes lie on a fixed grid, and z is bent before it
    MlpVqVae model({.features = 256,
                    .hidden = sizes.hidden,
                    .tokens = 8,
                    .quantizer = made.quantizer,
                    .seed = s.seed});
    const auto look = [&](VqVae& now, std::int64_t step, double seconds) {
      if (step < s.steps) return;
      Row row{{"study", "plane"}, {"method", method.name}, {"seed", s.seed}, {"steps", step}};
      row.update(evaluate(now, made, data));
      row["seconds"] = seconds;
      context.results.add(row);
    };
    train(model, made, method, data, s.seed, {.steps = s.steps, .looks = 1, .look = look});
    const Tensor some = slice(data.test, 0, 0, 256), z = model.encoder(some);
    const Indices all = model.encode(data.test);
    const std::set<std::int64_t> used(all.begin(), all.end());
    pictures.push_back(examples::plane_chart(
        method.name, "first coordinate", "second coordinate",
        {.dots = {points_of("encoder", z, "#86b8d8", 1.4),
                  points_of("codes in use", vectors(*made.quantizer, used, true), "#d55e00", 3.5),
                  points_of("codes not in use", vectors(*made.quantizer, used, false), "#333", 3)}},
        480));
  }
  if (pictures.empty()) return;
  context.show("2. Codes of two numbers, 256 of them",
               table(context.results.where({{"study", "plane"}}),
                     {"method", "rec", "utilization", "perplexity", "qerr", "norm_ratio", "mean_z",
                      "seconds"}));
  context.draw("plane.svg", examples::side_by_side(pictures, pictures.size()));
}

}  // namespace study
