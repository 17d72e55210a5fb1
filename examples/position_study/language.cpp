// Part 3, what NoPE lacks, in language: the same small model with each scheme, trained on the same
// batches, judged on the same windows of held-out text up to eight times as long as it was trained
// on. RoPE also with its frequencies rescaled for the longer text, without further training.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "study.hpp"
#include "support/chart.hpp"

namespace study {
namespace {

constexpr std::size_t T = language.length, longest = 8 * T;
constexpr std::size_t bucket = 16;  // positions that share a point of the curves by position

GptOptions options(const Settings& s, std::size_t vocab, std::shared_ptr<Position> position) {
  return {.vocab = vocab,
          .layers = s.quick ? std::size_t{2} : std::size_t{4},
          .heads = language.heads,
          .dim = language.dim,
          .bias = false,
          .position = std::move(position),
          .seed = s.seed};
}

/// Losses in nats, (windows, length).
Tensor losses(const Gpt& model, const Batch& batch) {
  const Pause no_tape;
  const std::size_t count = batch.x.shape(0), length = batch.x.shape(1);
  Tensor all = Tensor::empty({count, length});
  for (std::size_t i = 0; i < count; ++i) {
    Indices x = Indices::from_shape({1, length});
    std::copy_n(batch.x.data() + i * length, length, x.data());
    const Tensor log_p = log_softmax(model(x));
    const std::size_t vocab = log_p.size(2);
    for (std::size_t t = 0; t < length; ++t)
      all.mutable_data()[i * length + t] =
          -log_p.data()[t * vocab + static_cast<std::size_t>(batch.y(i, t))];
  }
  return all;
}

struct Evaluation {
  double loss, error;  // of the mean over positions 0, …, length - 1: its standard error by window
};

Evaluation evaluate(const Tensor& losses, std::size_t length) {
  const auto stop = static_cast<std::int64_t>(length);
  const Tensor by_window = mean(slice(losses, 1, 0, stop), {1});
  const Tensor middle = mean(by_window), off = by_window - middle;
  const auto n = static_cast<double>(by_window.size());
  return {middle.item(), std::sqrt(static_cast<double>(mean(off * off).item()) / (n - 1))};
}

/// The windows cut to `length`.
Batch cut(const Batch& batch, std::size_t length) {
  const std::size_t count = batch.x.shape(0);
  Batch shorter{Indices::from_shape({count, length}), Indices::from_shape({count, length})};
  for (std::size_t i = 0; i < count; ++i) {
    std::copy_n(batch.x.data() + i * batch.x.shape(1), length, shorter.x.data() + i * length);
    std::copy_n(batch.y.data() + i * batch.y.shape(1), length, shorter.y.data() + i * length);
  }
  return shorter;
}

/// Puts down losses at the lengths T, 2T, 4T and 8T; `model_for` says which model reads them.
void add_lengths(Context& context, const std::string& scheme, const Batch& held_out,
                 const std::function<std::shared_ptr<const Gpt>(std::size_t length)>& model_for) {
  double at_training_length = 0;
  for (std::size_t length = T; length <= longest; length *= 2) {
    const Tensor all = losses(*model_for(length), cut(held_out, length));
    const Evaluation now = evaluate(all, length);
    if (length == T) at_training_length = now.loss;
    context.results.add({{"study", "extrapolation"},
                         {"scheme", scheme},
                         {"length", length},
                         {"val_loss", now.loss},
                         {"val_loss_error", now.error},
                         {"change", now.loss / at_training_length - 1}});
    if (length < longest) continue;
    for (std::size_t first = 0; first < longest; first += bucket)
      context.results.add({{"study", "by_position"},
                           {"scheme", scheme},
                           {"length", length},
                           {"position", first + bucket / 2},
                           {"val_loss", mean(slice(all, 1, static_cast<std::int64_t>(first),
                                                   static_cast<std::int64_t>(first + bucket)))
                                            .item()}});
  }
}

struct Rescaled {
  std::string name;
  std::function<RopeScaling(double factor)> scaling;
};
const std::vector<Rescaled> rescaled{
    {"rope, linear", [](double factor) { return rope_scaling::linear(factor); }},
    {"rope, ntk", [](double factor) { return rope_scaling::ntk(factor); }},
    {"rope, yarn",
     [](double factor) { return rope_scaling::yarn({.factor = factor, .original_length = T}); }}};

std::string refusal(const Settings& s, std::size_t vocab) {
  const Gpt model(options(s, vocab, make_position("learned", {.length = T, .dim = language.dim})));
  Indices ids = Indices::from_shape({1, 2 * T});
  ids.fill(0);
  try {
    model(ids);
  } catch (const ShapeError& error) {
    return error.what();
  }
  return "";
}

void report(Context& context, const Text& text) {
  const Results& results = context.results;
  const Rows all = results.where({{"study", "extrapolation"}});
  context.show(
      "3. What NoPE lacks: validation loss in nats per character; trained at length 64, "
      "read at 64 to 512",
      cross_table(all, "scheme", "length", "val_loss"));
  context.show("   Its standard error over windows",
               cross_table(all, "scheme", "length", "val_loss_error"));
  context.show("   Its change against length 64", cross_table(all, "scheme", "length", "change"));

  std::vector<std::string> stay, leave;
  for (const Row& row : results.where({{"study", "extrapolation"}, {"length", 4 * T}}))
    (row["change"] <= 0.05 ? stay : leave)
        .push_back(row["scheme"].get<std::string>() + " (" + percent(row["change"]) + ')');
  Rows order;
  for (const std::string& scheme : schemes())
    order.push_back(
        results.where({{"study", "extrapolation"}, {"length", T}, {"scheme", scheme}}).front());
  std::sort(order.begin(), order.end(),
            [](const Row& a, const Row& b) { return a["val_loss"] < b["val_loss"]; });
  std::vector<std::string> names;
  for (const Row& row : order)
    names.push_back(row["scheme"].get<std::string>() + ' ' + shown(row["val_loss"]));
  context.read("At the training length, from the lowest loss to the highest: " + listed(names) +
               ". At four times that length, at most 5 % above: " + listed(stay) +
               "; further above: " + listed(leave) +
               ". (One training run per scheme, all on the same batches.) A learned table that "
               "does not wrap refuses: \"" +
               refusal(context.settings, text.vocab) + "\"");

  std::vector<examples::Series> by_length, by_position;
  for (const auto& [study, x, curves] : {std::tuple("extrapolation", "length", &by_length),
                                         std::tuple("by_position", "position", &by_position)})
    for (const Row& row : results.where({{"study", study}})) {
      const std::string scheme = row["scheme"];
      if (curves->empty() || curves->back().name != scheme) curves->push_back({scheme, {}, {}});
      curves->back().xs.push_back(row[x]);
      curves->back().ys.push_back(row["val_loss"]);
    }
  context.draw(
      "extrapolation.svg",
      examples::line_chart("Trained at length 64, read at more", "length of the text",
                           "validation loss, nats per character", by_length, {.log_x = true}));
  context.draw("by_position.svg",
               examples::line_chart("Loss by position in texts of 512, trained at 64", "position",
                                    "validation loss, nats per character", by_position));
}

}  // namespace

std::vector<std::shared_ptr<Gpt>> measure_language(Context& context, const Text& text) {
  const Settings& s = context.settings;
  const Batch held_out = examples::spread_windows(text.held_out, s.quick ? 16 : 128, longest);
  std::vector<std::shared_ptr<Gpt>> models;
  std::cout << '\n';
  for (const std::string& scheme : schemes()) {
    const auto model = std::make_shared<Gpt>(options(s, text.vocab, make_scheme(scheme, language)));
    const double seconds =
        train(*model, {.steps = s.quick ? 40 : 600, .lr = 3e-3, .weight_decay = 0.1},
              [&](std::int64_t step) {
                return examples::random_windows(text.train, 32, T, s.seed, step);
              });
    std::cout << "language model, " << scheme << ": trained in " << number(seconds) << " s"
              << std::endl;
    add_lengths(context, scheme, held_out, [&](std::size_t) { return model; });
    models.push_back(model);
    if (scheme != "rope") continue;
    for (const Rescaled& variant : rescaled)
      add_lengths(context, variant.name, held_out, [&](std::size_t length) {
        const double factor = static_cast<double>(length) / static_cast<double>(T);
        auto other = std::make_shared<Gpt>(
            options(s, text.vocab,
                    std::make_shared<Rope>(RopeOptions{.scaling = variant.scaling(factor)})));
        other->load_state_dict(model->state_dict());
        return other;
      });
  }
  report(context, text);
  return models;
}

}  // namespace study
