// generate: text from a model, token by token, and the choice of a token from what the model says.
// The model and the cache that makes a token cost what it alone costs are gpt.hpp's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <xgrad/models/gpt.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct GenerateOptions {
  std::size_t max_tokens = 100;   ///< of each text, without its prompt
  double temperature = 1;         ///< divides the logits; 0: always the likeliest token
  std::size_t top_k = 0;          ///< only the k likeliest tokens, and ties with the last; 0: all
  double top_p = 1;               ///< only the likeliest tokens, down to this mass; in (0, 1]
  double repetition_penalty = 1;  ///< > 1: tokens of the text so far are less likely; > 0
  std::uint64_t seed = 0;
  std::vector<std::int64_t> stop{};  ///< a text ends with the first of these, which is part of it
  /// What attention sees of the text, for this generation in place of the model's own: time per
  /// token no longer grows with the text. Size 0: the model's own.
  AttentionWindow window{};
  /// A text that outgrows it goes on from its last `context` tokens, which are read anew at
  /// positions 0, 1, … for every token. 0: as many as the model has positions, if it has a last
  /// one.
  std::size_t context = 0;
  /// Called with each token as it comes: step by step, the texts of a batch in their order. What it
  /// throws ends the generation.
  std::function<void(std::size_t text, std::int64_t token)> on_token{};
};

/// The probability of each token to follow a text: logits (V,) -> V numbers that add up to 1. In
/// the order of Hugging Face's transformers: a logit s of a token in `seen` becomes s/penalty if
/// positive, else s penalty, however often it was seen (Keskar et al. 2019, CTRL, 1909.05858);
/// division by the temperature; top-k; top-p, which keeps the fewest likeliest tokens whose mass
/// reaches p, of equal ones the first (Holtzman et al. 2020, 1904.09751); softmax. In double.
/// Throws std::invalid_argument for an option out of its range, and for logits of which one is NaN
/// or +inf, or none is above -inf.
std::vector<double> next_token_probabilities(std::span<const real> logits,
                                             std::span<const std::int64_t> seen,
                                             const GenerateOptions& options);

/// Continues a prompt of at least one token, and returns what was added. Each token costs what it
/// alone costs, thanks to a cache, until the text outgrows `context`; the first costs the prompt.
/// The cache has room for prompt and max_tokens, or for the context, if that is less. The same seed
/// gives the same text, with any number of threads. Nothing is recorded. A model with dropout must
/// be in evaluation mode.
///
/// Throws std::invalid_argument, before any work, for an empty prompt, tokens outside the
/// vocabulary, options out of their range, and a context beyond the model's positions;
/// std::runtime_error if the model gives NaN or infinity.
std::vector<std::int64_t> generate(const Gpt& model, const std::vector<std::int64_t>& prompt,
                                   const GenerateOptions& options);

/// The same for several prompts at once, which share the reading of the weights. Each draws from a
/// stream of its own; the first text is the one that it would be alone, and so is any at
/// temperature 0, up to rounding; not so under rope_scaling::dynamic, which goes by the room in the
/// cache, and that by the longest prompt. A text that has ended leaves the batch. While the prompts
/// are read, and once a text has outgrown `context`, each text costs what the longest one costs.
std::vector<std::vector<std::int64_t>> generate(const Gpt& model,
                                                std::span<const std::vector<std::int64_t>> prompts,
                                                const GenerateOptions& options);

}  // namespace xgrad::inline XGRAD_PRECISION
