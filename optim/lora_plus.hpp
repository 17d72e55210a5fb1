// LoRA+: adapters whose two factors have learning rates of their own.
// It is a way of grouping parameters; any optimizer takes the groups.
#pragma once

#include <xgrad/optim/optimizer.hpp>

namespace xgrad::inline XGRAD_PRECISION {

class Module;

namespace lora {

struct PlusOptions {
  double lr = 1e-4;            ///< of A, and of what is trained besides adapters
  double ratio = 16;           ///< B has ratio * lr; at least 1
  double embedding_lr = 1e-6;  ///< of both factors of an Embedding's adapter
  double weight_decay = 0;     ///< not of biases
};

/// Groups for all that the model trains: B, the output side's factor that starts at 0, and DoRA's
/// magnitudes learn `ratio` times as fast, since with one rate for both, one of them hardly moves
/// in a wide layer. Start with a lower lr than without. In this order, those that are not empty: A
/// and others; biases; B and magnitudes; embeddings' factors. As in PEFT, but for biases of the
/// base, which have lr here.
///
///     AdamW optimizer(lora::plus_groups(model, {.lr = 2e-4}), {});
///
/// Not for LoraPro, which leaves no choice of lengths. Throws std::invalid_argument if the model
/// has no adapters, or ratio is below 1.
/// Hayou, Ghosh & Yu 2024 (2402.12354); Su 2024, archives 10001.
ParameterGroups plus_groups(Module& model, PlusOptions options = {});

}  // namespace lora
}  // namespace xgrad::inline XGRAD_PRECISION
