// The methods, by name: each prepares a pre-trained model and makes its optimizer.
#include <algorithm>

#include "study.hpp"
#include "support/flags.hpp"

namespace study {
namespace {

constexpr Betas betas{0.9, 0.99};

/// The same layers, rank and alpha for all: every Linear, alpha twice the rank.
lora::Options adapters(const Settings& s) {
  return {.rank = s.rank, .alpha = 2 * static_cast<double>(s.rank)};
}
lora::Options stabilized(const Settings& s) {
  lora::Options options = adapters(s);
  options.rank_stabilized = true;
  return options;
}
lora::Options dora(const Settings& s) {
  lora::Options options = adapters(s);
  options.dora = true;
  return options;
}

using Prepare = decltype(Method::prepare);
using MakeOptimizer = decltype(Method::optimizer);

Prepare attach(lora::Options (*options)(const Settings&)) {
  return [=](Gpt& model, const Settings& s, const BatchLoss&) { lora::attach(model, options(s)); };
}

void pissa(Gpt& model, const Settings& s, const BatchLoss&) {
  lora::attach(model, adapters(s));
  lora::pissa(model);
}

/// With the scale alpha / sqrt(rank) of its paper.
void lora_ga(Gpt& model, const Settings& s, const BatchLoss& loss) {
  lora::attach(model, stabilized(s));
  lora::lora_ga(model, loss, {.batches = 8, .layers_at_once = 0});
}

void nothing(Gpt&, const Settings&, const BatchLoss&) {}

std::unique_ptr<Optimizer> adamw(Gpt& model, double lr) {
  return std::make_unique<AdamW>(model.trainable_parameters(),
                                 AdamWOptions{.lr = lr, .betas = betas, .weight_decay = 0});
}

/// lr is A's, B's is 16 times as high.
std::unique_ptr<Optimizer> plus(Gpt& model, double lr) {
  return std::make_unique<AdamW>(lora::plus_groups(model, {.lr = lr, .ratio = 16}),
                                 AdamWOptions{.betas = betas, .weight_decay = 0});
}

template <class Pro>
std::unique_ptr<Optimizer> pro(Gpt& model, double lr) {
  return std::make_unique<Pro>(lora::pairs(lora::adapters(model)),
                               LoraProAdamWOptions{.lr = lr, .betas = betas});
}

const std::vector<Method>& all_methods() {
  static const std::vector<Method> methods{
      {"full", 2e-3, nothing, adamw},
      {"lora", 1e-2, attach(adapters), adamw},
      {"rslora", 1e-2, attach(stabilized), adamw},
      {"lora+", 5e-3, attach(adapters), plus},
      {"pissa", 5e-3, pissa, adamw},
      {"dora", 1e-2, attach(dora), adamw},
      {"lora-ga", 5e-3, lora_ga, adamw},
      {"lora-pro", 1e-3, attach(adapters), pro<LoraProFullAdamW>},
      {"lora-ga+pro", 1e-3, lora_ga, pro<LoraProFullAdamW>},
      {"lora-pro-efficient", 1e-2, attach(adapters), pro<LoraProAdamW>},
      {"lora-ga+pro-efficient", 1e-2, lora_ga, pro<LoraProAdamW>},
  };
  return methods;
}

}  // namespace

std::vector<Method> methods_named(const std::string& names) {
  if (names == "all") return all_methods();
  std::vector<std::string> wanted{"full", "lora"};
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t comma = std::min(names.find(',', at), names.size());
    wanted.push_back(names.substr(at, comma - at));
    at = comma + 1;
  }
  std::vector<Method> chosen;
  std::string known;
  for (const Method& method : all_methods()) {
    known += (known.empty() ? "" : ", ") + method.name;
    if (std::erase(wanted, method.name)) chosen.push_back(method);
  }
  if (!wanted.empty())
    throw examples::UsageError("--methods: there is no \"" + wanted.front() +
                               "\": the methods are " + known);
  return chosen;
}

}  // namespace study
