// What training a language model takes, whoever does it: windows of a text as batches, the
// parameters in groups, and a plain training run. What is measured meanwhile is not here.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <xgrad/models/gpt.hpp>
#include <xgrad/optim/optimizer.hpp>

namespace examples {

struct Batch {
  xgrad::Indices x, y;  ///< (B, T) each; y is what the model should say at x
};

/// The windows of `length` tokens that begin at `starts`, and in y the token after each of theirs.
Batch windows(std::span<const std::int64_t> text, std::span<const std::size_t> starts,
              std::size_t length);
/// `count` windows spread evenly over the text.
Batch spread_windows(std::span<const std::int64_t> text, std::size_t count, std::size_t length);
/// `count` windows at random: a function of seed and step alone, so that a resumed run needs no
/// other memory and every method sees the same.
Batch random_windows(std::span<const std::int64_t> text, std::size_t count, std::size_t length,
                     std::uint64_t seed, std::int64_t step);

/// Two groups: the matrices, and the vectors without weight decay.
std::vector<xgrad::ParameterGroup> decaying_matrices(const std::vector<xgrad::Tensor>& parameters);

struct Training {
  std::int64_t steps;
  double lr, weight_decay;
};
/// AdamW with clipping, a short warm-up and a cosine to a tenth; y may hold cross_entropy's
/// ignored index. Returns the seconds it took.
double train(const xgrad::Gpt& model, const Training& how,
             const std::function<Batch(std::int64_t step)>& batch_of);

}  // namespace examples
