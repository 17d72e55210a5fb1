// Part 2, how a causal decoder without positions knows them: position n averages n values, so that
// what it gets has a variance of about 1/n; and a probe finds that in what a trained model holds.
// Haviv et al. 2022 (2203.16634), Chi et al. 2023 (2305.13571).
#include <algorithm>
#include <cmath>

#include "study.hpp"
#include "support/chart.hpp"

namespace study {
namespace {

struct Average {
  double mean = 0, error = 0;  // error: standard error of the mean
};

Average average(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

/// The slope of log y over log x by least squares, for x from `first` on.
double exponent(const std::vector<double>& x, const std::vector<double>& y, double first) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] < first) continue;
    const double a = std::log(x[i]), b = std::log(y[i]);
    n += 1, sx += a, sy += b, sxx += a * a, sxy += a * b;
  }
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

/// What attention gives where it is asked about `texts` random texts of `length` tokens: (B, T, F).
struct Source {
  std::string name;
  std::function<Tensor(std::size_t texts, std::size_t length, Rng rng)> output;
};

/// Queries and keys of deviation sqrt(tau) have scores of variance tau^2.
Tensor average_of_noise(double tau, std::size_t texts, std::size_t length, Rng& rng) {
  constexpr std::size_t width = 64;
  const auto deviation = static_cast<real>(std::sqrt(tau));
  const Tensor q = deviation * randn({texts, 1, length, width}, rng),
               k = deviation * randn({texts, 1, length, width}, rng),
               v = randn({texts, 1, length, width}, rng);
  return squeeze(attention(q, k, v), 1);
}

Tensor heads_of(const CausalSelfAttention& layer, const Tensor& x) {
  return self_attention(
      layer.c_attn(x), layer.options.heads, layer.options.kv_heads,
      {.positions = layer.options.position->in_attention(
           layer.options.heads, layer.options.dim / layer.options.heads, 0, x.size(1))});
}

/// The first layer of an untrained model, on its inputs (B, T, D).
Tensor untrained(const std::function<Tensor(const Gpt&)>& inputs, std::size_t vocab, Rng& rng) {
  const Gpt model({.vocab = vocab,
                   .layers = 1,
                   .heads = language.heads,
                   .dim = language.dim,
                   .seed = rng.key()});
  return heads_of(model.h[0].attn, inputs(model));
}

/// What that layer gets of windows of a text. The vectors of its tokens have a mean, which no
/// averaging removes, unless it is taken off first.
Tensor of_text(const Gpt& model, const Text& text, bool centred, std::size_t texts,
               std::size_t length, Rng& rng) {
  Indices ids = Indices::from_shape({texts, length});
  for (std::size_t b = 0; b < texts; ++b)
    std::copy_n(text.train.data() + rng.below(text.train.size() - length), length,
                ids.data() + b * length);
  const Tensor x = model.h[0].ln_1(embedding(model.wte.weight, ids));
  return centred ? x - mean(x, {0, 1}, true) : x;
}

}  // namespace

void measure_variance(Context& context, const Text& text) {
  const bool quick = context.settings.quick;
  const std::size_t length = quick ? 128 : 512, texts = quick ? 16 : 64, repeats = quick ? 3 : 8;
  const std::vector<Source> sources{
      {"equal weights",
       [](std::size_t n, std::size_t t, Rng rng) { return average_of_noise(0, n, t, rng); }},
      {"random scores",
       [](std::size_t n, std::size_t t, Rng rng) { return average_of_noise(1, n, t, rng); }},
      {"untrained layer, noise",
       [&](std::size_t n, std::size_t t, Rng rng) {
         return untrained(
             [&](const Gpt&) {
               return randn({n, t, language.dim}, rng);
             },
             text.vocab, rng);
       }},
      {"untrained layer, centred text",
       [&](std::size_t n, std::size_t t, Rng rng) {
         return untrained([&](const Gpt& m) { return of_text(m, text, true, n, t, rng); },
                          text.vocab, rng);
       }},
      {"untrained layer, text", [&](std::size_t n, std::size_t t, Rng rng) {
         return untrained([&](const Gpt& m) { return of_text(m, text, false, n, t, rng); },
                          text.vocab, rng);
       }}};
  std::vector<double> ns;
  for (std::size_t n = 1; n <= length; n *= 2) ns.push_back(static_cast<double>(n));
  constexpr double firsts[] = {1, 16};  // a power of n is fitted from these positions on

  std::vector<examples::Series> curves;
  for (const Source& source : sources) {
    std::vector<std::vector<double>> squares(ns.size());         // [n][repeat]
    std::vector<std::vector<double>> slopes(std::size(firsts));  // [first][repeat]
    for (std::size_t repeat = 0; repeat < repeats; ++repeat) {
      const Tensor y =
          source.output(texts, length, Rng(context.settings.seed).fork("variance").fork(repeat));
      const Tensor by_position = mean(y * y, {0, 2});  // (T,)
      std::vector<double> values;
      for (std::size_t i = 0; i < ns.size(); ++i) {
        values.push_back(by_position.data()[static_cast<std::size_t>(ns[i]) - 1]);
        squares[i].push_back(values.back());
      }
      for (std::size_t i = 0; i < slopes.size(); ++i)
        slopes[i].push_back(exponent(ns, values, firsts[i]));
    }
    examples::Series curve{source.name, ns, {}};
    const double first = average(squares.front()).mean;
    for (std::size_t i = 0; i < ns.size(); ++i) {
      curve.ys.push_back(average(squares[i]).mean / first);
      context.results.add({{"study", "variance"},
                           {"scheme", "nope"},
                           {"length", length},
                           {"source", source.name},
                           {"position", static_cast<std::size_t>(ns[i])},
                           {"mean_square", average(squares[i]).mean},
                           {"share_of_first", curve.ys.back()}});
    }
    curves.push_back(std::move(curve));
    for (std::size_t i = 0; i < slopes.size(); ++i)
      context.results.add({{"study", "exponent"},
                           {"scheme", "nope"},
                           {"length", length},
                           {"source", source.name},
                           {"from_position", static_cast<std::size_t>(firsts[i])},
                           {"exponent", average(slopes[i]).mean},
                           {"exponent_error", average(slopes[i]).error},
                           {"repeats", repeats}});
  }
  curves.push_back({"1/n", {1, ns.back()}, {1, 1 / ns.back()}, "#999"});
  context.draw("variance.svg",
               examples::line_chart("NoPE: what attention averages shrinks", "position n",
                                    "mean square, as a share of that at n = 1", curves,
                                    {.log_x = true, .log_y = true}));
  const Results& results = context.results;
  context.show(
      "2. How NoPE knows: mean square of causal attention's output at position n, as a share of "
      "that at n = 1",
      cross_table(results.where({{"study", "variance"}}), "source", "position", "share_of_first"));
  const Rows fits = results.where({{"study", "exponent"}});
  context.show(
      "   The power of n by which it falls, fitted from a position on, with its standard "
      "error over repeats",
      table(fits, {"source", "from_position", "exponent", "exponent_error"}));
  const auto last = [&](const char* source) {
    const Rows found =
        results.where({{"study", "variance"}, {"source", source}, {"position", length}});
    return shown(found.front()["share_of_first"]);
  };
  std::vector<std::string> near, far;
  for (const Row& row : fits)
    (std::abs(row["exponent"].get<double>() + 1) <= 0.05 ? near : far)
        .push_back(row["source"].get<std::string>() + " from " + shown(row["from_position"]) +
                   " on (" + shown(row["exponent"]) + ')');
  context.read("An exponent within 0.05 of -1, that of 1/n: " + listed(near) +
               "; further from it: " + listed(far) + ". At position " + std::to_string(length) +
               " the untrained layer has come down to " + last("untrained layer, noise") +
               " of its first value on noise, " + last("untrained layer, centred text") +
               " on text whose mean is taken off, " + last("untrained layer, text") +
               " on text as it is.");
}

// ---- the probe ----------------------------------------------------------------------------------

namespace {

/// The states of a model: its residual stream before, between and after the blocks, and what the
/// heads of each block give.
struct States {
  std::vector<Tensor> stream, heads;  // (B, T, D) each; heads of block i lead to stream i + 1
};

States states(const Gpt& model, const Indices& ids) {
  States all;
  Tensor x = embedding(model.wte.weight, ids);
  if (model.options.position) x = model.options.position->on_embedding(x, 0);
  all.stream.push_back(x);
  for (std::size_t i = 0; i < model.h.size(); ++i) {
    all.heads.push_back(heads_of(model.h[i].attn, model.h[i].ln_1(x)));
    x = model.h[i](x, 0);
    all.stream.push_back(x);
  }
  return all;
}

/// log of the mean square of each head's output: (B, T, H).
Tensor log_squares(const Tensor& heads, std::size_t count) {
  const auto B = static_cast<std::int64_t>(heads.size(0)),
             T = static_cast<std::int64_t>(heads.size(1)), H = static_cast<std::int64_t>(count);
  const Tensor split = reshape(heads, {B, T, H, -1});
  return log(mean(split * split, -1) + real(1e-12));
}

struct Probe {
  double r2, error;  // share of the position's variance explained; mean of |estimate - position|
};

/// Ridge regression from features (B, T, F) to positions 1, …, T, fitted on the first two thirds of
/// the texts and judged on the rest.
Probe probe(const Tensor& features) {
  const std::size_t B = features.size(0), T = features.size(1), F = features.size(2);
  const auto fitted = static_cast<std::int64_t>(2 * B / 3), all = static_cast<std::int64_t>(B);
  const Tensor centre = mean(features, {0, 1}), shifted = features - centre;
  const Tensor scaled = shifted / (sqrt(mean(shifted * shifted, {0, 1})) + real(1e-6));
  const Tensor position = arange(1, static_cast<real>(T + 1));
  const double middle = static_cast<double>(T + 1) / 2;
  const auto flat = [&](const Tensor& x) { return reshape(x, {-1, static_cast<std::int64_t>(F)}); };
  const Tensor x = flat(slice(scaled, 0, 0, fitted));
  const Tensor y = reshape(
      broadcast_to(position - static_cast<real>(middle), {static_cast<std::size_t>(fitted), T}),
      {-1, 1});
  const auto ridge = static_cast<real>(1e-3 * static_cast<double>(x.size(0)));
  const Tensor weight = solve(matmul(x, x, {.transpose_a = true}) + diag(full({F}, ridge)),
                              matmul(x, y, {.transpose_a = true}));
  const Tensor estimate = matmul(flat(slice(scaled, 0, fitted, all)), weight);  // (…, 1)
  double residual = 0, total = 0, error = 0;
  for (std::size_t i = 0; i < estimate.size(); ++i) {
    const double wanted = static_cast<double>(i % T + 1) - middle;
    const double off = static_cast<double>(estimate.data()[i]) - wanted;
    residual += off * off;
    total += wanted * wanted;
    error += std::abs(off);
  }
  return {1 - residual / total, error / static_cast<double>(estimate.size())};
}

}  // namespace

void measure_probe(Context& context, const std::vector<std::shared_ptr<Gpt>>& models,
                   const Text& text) {
  const Pause no_tape;
  const Batch batch =
      examples::spread_windows(text.held_out, context.settings.quick ? 24 : 96, language.length);
  const auto measure = [&](const std::string& scheme, const Gpt& model, bool trained) {
    const States all = states(model, batch.x);
    for (std::size_t layer = 0; layer < all.stream.size(); ++layer) {
      const auto add = [&](const char* features, const Tensor& x) {
        const Probe found = probe(x);
        context.results.add({{"study", "probe"},
                             {"scheme", scheme},
                             {"length", language.length},
                             {"model", scheme + (trained ? "" : ", untrained")},
                             {"features", features},
                             {"layer", layer},
                             {"r2", found.r2},
                             {"mean_error", found.error}});
      };
      add("stream", all.stream[layer]);
      if (layer > 0) add("heads", log_squares(all.heads[layer - 1], model.options.heads));
    }
  };
  for (std::size_t i = 0; i < schemes().size(); ++i) {
    if (schemes()[i] == "nope") {
      GptOptions same = models[i]->options;
      same.position = make_scheme("nope", language);
      measure("nope", Gpt(same), false);
    }
    measure(schemes()[i], *models[i], true);
  }

  const auto of = [&](const char* features) {
    return context.results.where({{"study", "probe"}, {"features", features}});
  };
  context.show(
      "2. Where NoPE keeps it: R2 of a linear probe for the position, from the residual "
      "stream after each layer",
      cross_table(of("stream"), "model", "layer", "r2"));
  context.show("   R2 from the log mean squares of that layer's heads",
               cross_table(of("heads"), "model", "layer", "r2"));
  std::vector<examples::Series> curves;
  for (const std::string features : {"stream", "heads"})
    for (const std::string model : {"nope", "nope, untrained"}) {
      examples::Series curve{model + ": " + features, {}, {}};
      for (const Row& row :
           context.results.where({{"study", "probe"}, {"features", features}, {"model", model}})) {
        curve.xs.push_back(row["layer"]);
        curve.ys.push_back(row["r2"]);
      }
      curves.push_back(std::move(curve));
    }
  context.draw("probe.svg", examples::line_chart("NoPE: position, read by a linear probe", "layer",
                                                 "R2", curves));
  const auto best = [&](const char* model, const char* features) {
    Row most;
    for (const Row& row :
         context.results.where({{"study", "probe"}, {"model", model}, {"features", features}}))
      if (most.is_null() || row["r2"] > most["r2"]) most = row;
    return "R2 " + shown(most["r2"]) + " in layer " + shown(most["layer"]) + ", off by " +
           shown(most["mean_error"]) + " positions of " + shown(most["length"]) + " on average";
  };
  context.read("The trained NoPE model's stream tells the position best with " +
               best("nope", "stream") + "; the untrained one's with " +
               best("nope, untrained", "stream") +
               ". The sizes of the heads' outputs: " + best("nope", "heads") + " when trained, " +
               best("nope, untrained", "heads") + " when not.");
}

}  // namespace study
