// What the parts of this study share: its settings and the schemes it compares. Each part measures,
// adds its rows to the results, draws, and says what it saw.
#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <xgrad/xgrad.hpp>

#include "support/report.hpp"
#include "support/text_training.hpp"

namespace study {

using namespace xgrad;
using examples::Batch;
using examples::cross_table;
using examples::listed;
using examples::number;
using examples::percent;
using examples::Results;
using examples::Row;
using examples::Rows;
using examples::shown;
using examples::table;
using examples::train;
using examples::Training;

struct Settings {
  std::string data, out = "runs/position_study";
  bool quick = false;
  std::uint64_t seed = 1;
  int threads = std::min(num_threads(), 256);
};

struct Context : examples::Report {
  const Settings& settings;
};

struct Sizes {
  std::size_t length, dim, heads;  // length: of the training texts
};

/// What is compared. A learned table wraps, or it could not be asked about longer texts.
const std::vector<std::string>& schemes();
std::shared_ptr<Position> make_scheme(const std::string& name, const Sizes& sizes);

// ---- the parts

/// A text for language models, and the sizes of these.
struct Text {
  std::vector<std::int64_t> train, held_out;
  std::size_t vocab;
};
constexpr Sizes language{.length = 64, .dim = 64, .heads = 4};

/// 1. What a position scheme does for attention: order-independence, and its loss.
void measure_order(Context& context);
/// 2a. How causal attention without positions knows them: the variance of what it averages.
void measure_variance(Context& context, const Text& text);
/// 3a. Language models with each scheme, at the training length and beyond it; as trained.
std::vector<std::shared_ptr<Gpt>> measure_language(Context& context, const Text& text);
/// 2b. Positions read off the states of these models by a linear probe.
void measure_probe(Context& context, const std::vector<std::shared_ptr<Gpt>>& models,
                   const Text& text);
/// 3b. Tasks that need positions: look back, copy, induction.
void measure_tasks(Context& context);

}  // namespace study
