// What the parts of this study share: its settings, the methods it compares, and one fine-tuning
// run. Each part measures, adds its rows to the results, draws, and says what it saw.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <xgrad/xgrad.hpp>

#include "support/language_model.hpp"
#include "support/report.hpp"
#include "support/text_training.hpp"

namespace study {

using namespace xgrad;
using examples::Batch;
using examples::cross_table;
using examples::listed;
using examples::number;
using examples::percent;
using examples::Row;
using examples::Rows;
using examples::shown;
using examples::table;

struct Settings {
  std::string text, target, out = "runs/lora_study", methods = "all";
  bool quick = false;
  std::size_t rank = 4;
  std::int64_t steps = 240;
  std::uint64_t seed = 0;
  int threads = 1;
};

// ---- what is fine-tuned, and on what: task.cpp

struct Task {
  examples::ModelSettings model;
  std::size_t vocabulary, batch;
  std::vector<std::int64_t> target;  // the text to learn
  Batch held_out;                    // of its last tenth
  StateDict start;                   // the model that has learned another text

  /// A model at the start. The seed fixes what is still drawn: adapters.
  std::unique_ptr<Gpt> make_model(std::uint64_t seed) const;
  Batch batch_of(std::uint64_t seed, std::int64_t step) const;
  double held_out_loss(Gpt& model) const;
};

/// Trains the model on one text and holds out the end of the other. Throws std::invalid_argument
/// for a text that is too short.
Task make_task(const Settings& settings, const std::string& text, const std::string& target);

// ---- methods: methods.cpp

/// The loss on a batch, by the batch's number, of those that only look for a start.
using BatchLoss = std::function<Tensor(std::size_t number)>;

struct Method {
  std::string name;
  double lr;  // in the middle of what is tried
  std::function<void(Gpt& model, const Settings& settings, const BatchLoss& loss)> prepare;
  std::function<std::unique_ptr<Optimizer>(Gpt& model, double lr)> optimizer;
};

/// The methods with these names, separated by commas, or "all"; always full fine-tuning and LoRA,
/// which come first and which the others are measured by. Throws UsageError for unknown ones.
std::vector<Method> methods_named(const std::string& names);

struct Context : examples::Report {
  const Settings& settings;
};

// ---- one run: fine_tuning.cpp

/// The weights of all layers that may have an adapter, one after the other, as they act.
using Weights = std::vector<real>;
Weights effective_weights(Gpt& model);

/// A model on its way.
struct Look {
  std::int64_t step;
  double loss;    // on held-out text
  Weights moved;  // effective weights less those at the start
};

struct Run {
  std::vector<Look> looks;  // at the start, after step 1, and after equal parts
  double seconds_per_step;  // the median
  std::size_t peak_bytes;   // of tensors: model, batch, gradients, state
  std::size_t trainable;

  double final_loss() const { return looks.back().loss; }
};

/// AdamW's steps or the method's own, without weight decay; a short warm-up and a cosine to a
/// tenth. A run whose loss is no longer finite ends there, with NaN.
Run fine_tune(const Task& task, const Settings& settings, const Method& method, double lr,
              std::uint64_t seed);

// ---- the parts

/// 1. A linear layer with quadratic loss, where the best alignment is known.
void measure_exact(Context& context);
/// 2. All methods on the task.
void measure_methods(Context& context, const Task& task, const std::vector<Method>& methods);

}  // namespace study
