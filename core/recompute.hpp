// checkpoint(): memory for time. What it saves from the tape it computes again in backward.
#pragma once

#include <functional>

#include <xgrad/core/random.hpp>
#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// fn(inputs), of which the tape keeps the inputs alone. Backward computes fn a second time to
/// learn what its rules read, so a model whose blocks are checkpointed holds the activations of one
/// block at a time. Gradients are the same to the last bit, dropout included, and reach everything
/// that fn uses: inputs, parameters, captured tensors. Chen et al. 2016 (1604.06174).
///
///     Tensor y = checkpoint([&](const std::vector<Tensor>& in) { return block(in[0]); }, {x});
///
/// What fn refers to must live until backward. It must compute the same both times: draws of
/// dropout(), rand() and randn() are repeated, batch_norm() moves its running statistics the first
/// time only; other side effects happen twice. It has no second derivative.
Tensor checkpoint(std::function<Tensor(const std::vector<Tensor>&)> fn,
                  const std::vector<Tensor>& inputs);

/// Takes the next `blocks` of `rng` for one operation; within a recomputation those that the
/// operation took the first time, and rng stays where it is.
Rng take_stream(Rng& rng, std::uint64_t blocks);

/// Whether this thread computes something for the second time, so that what an operation does
/// besides giving a value is done already.
bool is_recomputing();

}  // namespace xgrad::inline XGRAD_PRECISION
