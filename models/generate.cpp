// Generation and sampling; see generate.hpp.
#include <xgrad/models/generate.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max() / 2;  // sums stay right

void check_sampling(const char* op, const GenerateOptions& o) {
  require(o.temperature >= 0 && o.temperature < infinity, op, ": temperature must be >= 0, got ",
          o.temperature);
  require(o.top_p > 0 && o.top_p <= 1, op, ": top_p must be in (0, 1], got ", o.top_p);
  require(o.repetition_penalty > 0 && o.repetition_penalty < infinity, op,
          ": repetition_penalty must be > 0, got ", o.repetition_penalty);
}

bool in_vocabulary(std::int64_t token, std::size_t vocab) {
  return token >= 0 && static_cast<std::size_t>(token) < vocab;
}

/// How many there are.
std::size_t positions_of(const Gpt& model) {
  const Position* scheme = model.options.position.get();
  return scheme ? scheme->max_length().value_or(unlimited) : unlimited;
}

void check(const Gpt& model, std::span<const std::vector<std::int64_t>> prompts,
           const GenerateOptions& o) {
  check_sampling("generate", o);
  const std::size_t vocab = model.options.vocab;
  for (const std::int64_t token : o.stop)
    require(in_vocabulary(token, vocab), "generate: stop token ", token,
            " is not in the vocabulary of ", vocab);
  require(o.window.size > 0 || o.window.sinks == 0, "generate: window has ", o.window.sinks,
          " sinks, but no size");
  require(o.context <= positions_of(model), "generate: context ", o.context,
          " is more than the model's ", positions_of(model), " positions");
  for (std::size_t b = 0; b < prompts.size(); ++b) {
    require(!prompts[b].empty(), "generate: prompt ", b, " is empty");
    for (std::size_t t = 0; t < prompts[b].size(); ++t)
      require(in_vocabulary(prompts[b][t], vocab), "generate: prompt ", b, " has token ",
              prompts[b][t], " at ", t, ", which is not in the vocabulary of ", vocab);
  }
}

/// Whether a softmax of these numbers is a distribution.
template <class Numbers>
bool have_softmax(const Numbers& scores) {
  return std::none_of(scores.begin(), scores.end(),
                      [](auto s) { return std::isnan(s) || s == infinity; }) &&
         std::any_of(scores.begin(), scores.end(), [](auto s) { return s > -infinity; });
}

/// Sets to 0 all but the fewest largest numbers that add up to `mass`; of equal ones the first
/// stay.
void keep_nucleus(std::vector<double>& p, double mass) {
  std::vector<std::size_t> rest(p.size());
  std::iota(rest.begin(), rest.end(), 0);
  const auto after = [&](std::size_t a, std::size_t b) {
    return p[a] < p[b] || (p[a] == p[b] && a > b);
  };
  std::make_heap(rest.begin(), rest.end(), after);  // no sort: few of many are kept, as a rule
  for (double kept = 0; kept < mass && !rest.empty(); rest.pop_back()) {
    std::pop_heap(rest.begin(), rest.end(), after);
    kept += p[rest.back()];
  }
  for (const std::size_t token : rest) p[token] = 0;
}

/// Draws by the inverse distribution function.
std::int64_t draw(const std::vector<double>& p, Rng& rng) {
  const double u = rng.uniform64();
  double below = 0;
  std::size_t token = 0;  // the last possible one, if rounding leaves the sum below u
  for (std::size_t i = 0; i < p.size() && below <= u; ++i)
    if (p[i] > 0) {
      token = i;
      below += p[i];
    }
  return static_cast<std::int64_t>(token);
}

}  // namespace

std::vector<double> next_token_probabilities(std::span<const real> logits,
                                             std::span<const std::int64_t> seen,
                                             const GenerateOptions& o) {
  constexpr const char* op = "next_token_probabilities";
  check_sampling(op, o);
  std::vector<double> scores(logits.begin(), logits.end());
  if (o.repetition_penalty != 1)
    for (const std::int64_t token : seen) {
      require(in_vocabulary(token, scores.size()), op, ": token ", token,
              " is not in the vocabulary of ", scores.size());
      const auto i = static_cast<std::size_t>(token);
      const double logit = logits[i];
      scores[i] = logit > 0 ? logit / o.repetition_penalty : logit * o.repetition_penalty;
    }
  require(have_softmax(scores), op, ": logits must be below +inf, not NaN, and one above -inf");

  const auto likeliest = std::max_element(scores.begin(), scores.end());
  std::vector<double> p(scores.size());
  if (o.temperature == 0) {
    p[static_cast<std::size_t>(likeliest - scores.begin())] = 1;
    return p;
  }
  double least = -infinity;
  if (o.top_k > 0 && o.top_k < scores.size()) {
    std::vector<double> sorted = scores;
    const auto kth = sorted.begin() + static_cast<std::ptrdiff_t>(o.top_k - 1);
    std::nth_element(sorted.begin(), kth, sorted.end(), std::greater());
    least = *kth;
  }
  std::transform(scores.begin(), scores.end(), p.begin(), [&](double s) {
    return s >= least ? std::exp((s - *likeliest) / o.temperature) : 0;
  });
  if (o.top_p < 1) keep_nucleus(p, o.top_p * std::accumulate(p.begin(), p.end(), 0.0));
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= total;
  return p;
}

std::vector<std::int64_t> generate(const Gpt& model, const std::vector<std::int64_t>& prompt,
                                   const GenerateOptions& options) {
  return generate(model, std::span(&prompt, 1), options).front();
}

std::vector<std::vector<std::int64_t>> generate(const Gpt& model,
                                                std::span<const std::vector<std::int64_t>> prompts,
                                                const GenerateOptions& options) {
  check(model, prompts, options);
  const std::size_t vocab = model.options.vocab,
                    context = options.context ? options.context : positions_of(model);
  struct Text {
    std::vector<std::int64_t> tokens, added;
    Rng rng;
  };
  std::vector<Text> texts;
  std::vector<std::size_t> going;  // the texts that have not ended, in the order of the cache
  std::size_t longest = 0;
  for (const std::vector<std::int64_t>& prompt : prompts) {
    going.push_back(texts.size());
    longest = std::max(longest, prompt.size());
    texts.push_back({prompt, {}, Rng(options.seed).fork(texts.size())});
  }
  GptCache cache = model.make_cache(
      texts.size(), std::min(context, longest + std::min(options.max_tokens, unlimited)));
  if (options.window.size > 0)
    for (KeyValueCache& block : cache.blocks) block.window = options.window;

  for (std::size_t step = 0; step < options.max_tokens && !going.empty(); ++step) {
    // Past the context every token takes another position: then nothing in the cache serves.
    if (std::any_of(going.begin(), going.end(),
                    [&](std::size_t b) { return texts[b].tokens.size() > context; }))
      cache.truncate(std::vector<std::size_t>(going.size()));
    std::vector<std::span<const std::int64_t>> unread;
    for (std::size_t row = 0; row < going.size(); ++row) {
      const std::vector<std::int64_t>& tokens = texts[going[row]].tokens;
      const std::size_t count = std::min(tokens.size() - cache.lengths()[row], context);
      unread.push_back(std::span(tokens).last(count));
    }
    const Tensor logits = model.next(unread, cache);  // (texts that go on, V)

    std::vector<std::size_t> rows, left;  // of those that do not end here
    for (std::size_t row = 0; row < going.size(); ++row) {
      const std::size_t b = going[row];
      Text& text = texts[b];
      const std::span<const real> said(logits.data() + row * vocab, vocab);
      require<std::runtime_error>(have_softmax(said), "generate: the model gives NaN or infinity",
                                  " for token ", step, " of text ", b);
      const std::int64_t token =
          draw(next_token_probabilities(said, text.tokens, options), text.rng);
      text.tokens.push_back(token);
      text.added.push_back(token);
      if (options.on_token) options.on_token(b, token);
      if (std::find(options.stop.begin(), options.stop.end(), token) != options.stop.end())
        continue;
      rows.push_back(row);
      left.push_back(b);
    }
    if (left.size() < going.size()) cache.keep(rows);
    going = std::move(left);
  }

  std::vector<std::vector<std::int64_t>> result;
  for (Text& text : texts) result.push_back(std::move(text.added));
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION
