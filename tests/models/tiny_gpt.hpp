// A Gpt small enough to be looked at from all sides, and what tests of it share.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/models/gpt.hpp>
#include <xgrad/nn/position.hpp>
#include <xgrad/optim/adam.hpp>

namespace xgrad::inline XGRAD_PRECISION::testing {

inline const std::vector<std::string> schemes = position_names();

inline GptOptions tiny(const std::string& position, std::size_t layers = 1) {
  return {.vocab = 11,
          .layers = layers,
          .heads = 2,
          .dim = 16,
          .position = make_position(position, {.length = 16, .dim = 16, .heads = 2})};
}

inline Indices random_ids(std::size_t B, std::size_t T, std::size_t vocab, std::uint64_t seed = 1) {
  Rng rng(seed);
  Indices ids = Indices::from_shape({B, T});
  for (std::int64_t& id : ids) id = static_cast<std::int64_t>(rng.below(vocab));
  return ids;
}

/// One row: (1, T).
inline Indices one_row(const std::vector<std::int64_t>& tokens) {
  Indices ids = Indices::from_shape({1, tokens.size()});
  std::copy(tokens.begin(), tokens.end(), ids.begin());
  return ids;
}

/// Mean loss of predicting `targets`, with gradients left in the parameters.
inline real backward(const Gpt& model, const Indices& ids, const Indices& targets) {
  Tape tape;
  const Tensor loss = cross_entropy(model(ids), targets);
  tape.backward(loss);
  return loss.item();
}

inline std::vector<real> train(const Gpt& model, const Indices& ids, const Indices& targets,
                               int steps, double lr = 1e-2) {
  AdamW optimizer(model.parameters(), {.lr = lr});
  std::vector<real> losses;
  for (int step = 0; step < steps; ++step) {
    losses.push_back(backward(model, ids, targets));
    optimizer.step();
    optimizer.zero_grad();
  }
  return losses;
}

inline bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

struct RestoreThreads {
  ~RestoreThreads() { set_num_threads(before); }
  const int before = num_threads();
};

}  // namespace xgrad::inline XGRAD_PRECISION::testing
