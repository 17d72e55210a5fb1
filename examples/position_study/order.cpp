// Part 1, what a position scheme does for attention. Attention alone treats its keys as a bag: a
// permuted text gives the permuted output. Positions end that, and so does causality, partly.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "study.hpp"

namespace study {
namespace {

constexpr std::size_t length = 12, dim = 16, heads = 2;

/// Attention layer upon attention layer with random weights, and nothing else.
struct Layers {
  Layers(std::size_t count, std::shared_ptr<Position> position, Rng rng)
      : position(std::move(position)) {
    const auto deviation = static_cast<real>(1 / std::sqrt(static_cast<double>(dim)));
    for (std::size_t i = 0; i < count; ++i) {
      projections.push_back(deviation * randn({dim, 3 * dim}, rng));
      outputs.push_back(deviation * randn({dim, dim}, rng));
    }
  }

  Tensor operator()(const Tensor& text, bool causal, std::size_t start = 0) const {
    Tensor x = position->on_embedding(text, start);
    for (std::size_t i = 0; i < projections.size(); ++i) {
      const AttentionOptions how{
          .causal = causal, .positions = position->in_attention(heads, dim / heads, start, length)};
      x = x + matmul(self_attention(matmul(x, projections[i]), heads, heads, how), outputs[i]);
    }
    return x;
  }

  std::shared_ptr<Position> position;
  std::vector<Tensor> projections, outputs;
};

double largest_difference(const Tensor& a, const Tensor& b) {
  return static_cast<double>(max(abs(a - b)).item());
}

/// 0, …, T - 1, the first `count` of them turned by one place.
Indices turned(std::size_t count) {
  Indices order = Indices::from_shape({length});
  std::iota(order.begin(), order.end(), 0);
  std::rotate(order.begin(), order.begin() + 1, order.begin() + static_cast<std::ptrdiff_t>(count));
  return order;
}

void measure_permutations(Context& context, const Tensor& text) {
  const Sizes sizes{.length = length, .dim = dim, .heads = heads};
  const Indices all = turned(length), prefix = turned(length - 1);
  Indices last = Indices::from_shape({1});
  last(0) = static_cast<std::int64_t>(length) - 1;
  for (const bool causal : {false, true})
    for (const std::size_t count : {1, 2})
      for (const std::string& scheme : schemes()) {
        if (!causal && scheme == "relative") continue;  // its buckets look back only
        const Layers f(count, make_scheme(scheme, sizes),
                       Rng(context.settings.seed).fork("layers"));
        const auto permuted = [&](const Indices& order) {
          return f(index_select(text, 1, order), causal);
        };
        const Tensor y = f(text, causal);
        context.results.add(
            {{"study", "permutation"},
             {"scheme", scheme},
             {"length", length},
             {"attention", causal ? "causal" : "bidirectional"},
             {"layers", count},
             {"whole_permuted", largest_difference(permuted(all), index_select(y, 1, all))},
             {"prefix_permuted", largest_difference(index_select(permuted(prefix), 1, last),
                                                    index_select(y, 1, last))}});
      }
}

void measure_shifts(Context& context, const Tensor& text) {
  for (const std::string& scheme : schemes()) {
    const Layers f(2, make_scheme(scheme, {.length = 2 * length, .dim = dim, .heads = heads}),
                   Rng(context.settings.seed).fork("layers"));
    const Tensor y = f(text, true);
    for (const std::size_t shift : {1, 10, 1000})
      context.results.add({{"study", "shift"},
                           {"scheme", scheme},
                           {"length", length},
                           {"shift", shift},
                           {"change", largest_difference(f(text, true, shift), y)}});
  }
}

constexpr double rounding = 1e-4;  // in float, on outputs of size about 1

std::string verdict(double difference) {
  return (difference < rounding ? "agree to rounding (" : "differ (by up to ") +
         number(difference) + ')';
}

}  // namespace

void measure_order(Context& context) {
  Rng rng = Rng(context.settings.seed).fork("order");
  const Tensor text = randn({1, length, dim}, rng);
  const Results& results = context.results;

  measure_permutations(context, text);
  context.show(
      "1. What positions do for attention: random layers over 12 random tokens, permuted.\n"
      "   whole permuted: max |f(Px) - P f(x)|; prefix permuted: how far the last output moves",
      table(results.where({{"study", "permutation"}}),
            {"scheme", "attention", "layers", "whole_permuted", "prefix_permuted"}));
  const auto nope = [&](const char* attention, int layers, const char* column) {
    const Rows found = results.where({{"study", "permutation"},
                                      {"scheme", "nope"},
                                      {"attention", attention},
                                      {"layers", layers}});
    return verdict(found.front()[column].get<double>());
  };
  std::vector<std::string> ordered;
  for (const Row& row :
       results.where({{"study", "permutation"}, {"attention", "bidirectional"}, {"layers", 1}}))
    if (row["whole_permuted"] > rounding) ordered.push_back(row["scheme"]);
  context.read(
      "Without positions, the bidirectional output of the permuted text and the permuted output " +
      nope("bidirectional", 1, "whole_permuted") + " with one layer and " +
      nope("bidirectional", 2, "whole_permuted") + " with two; causal, they " +
      nope("causal", 1, "whole_permuted") +
      ". The last outputs of one causal layer before and after its prefix is permuted " +
      nope("causal", 1, "prefix_permuted") + ", those of two " +
      nope("causal", 2, "prefix_permuted") +
      ". Schemes with which one bidirectional layer sees order: " + listed(ordered) + '.');

  measure_shifts(context, text);
  context.show(
      "   All positions moved on by 1, 10 and 1000: how far the output of two causal layers moves",
      cross_table(results.where({{"study", "shift"}}), "scheme", "shift", "change"));
  std::vector<std::string> relative, absolute;
  for (const std::string& scheme : schemes()) {
    double most = 0;
    for (const Row& row : results.where({{"study", "shift"}, {"scheme", scheme}}))
      most = std::max(most, row["change"].get<double>());
    (most < rounding ? relative : absolute).push_back(scheme);
  }
  context.read("Unmoved by a common shift of all positions: " + listed(relative) +
               ". Moved: " + listed(absolute) + '.');
}

}  // namespace study
