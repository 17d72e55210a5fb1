// Starting adapters from their layer's weight, or from its gradient on a few batches.
// The mathematics is factors.hpp; the usual start, one factor 0, is attach()'s.
#pragma once

#include <functional>

#include <xgrad/nn/lora/adapter.hpp>
#include <xgrad/nn/lora/factors.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

// All of these start the adapters of one name and leave unchanged what the model computes: see
// Reference. Once attached and not yet trained:
//
//     lora::attach(model, {.rank = 8, .alpha = 16, .rank_stabilized = true});
//     lora::lora_ga(model, [&](std::size_t k) { return loss(model, batch[k]); }, {.batches = 8});
//
// All throw std::invalid_argument if there are no adapters of the name, for a rank that the layer
// has not (the error names the layer), NaN or Inf, Reference::keep with DoRA, and for adapters of
// an Embedding, which have no such start, unless told to leave them as they are; std::logic_error
// for adapters that were started so before, and while merged. No adapter has changed then.

struct StartOptions {
  Reference mode = Reference::fold;
  SvdOptions svd = {};
  bool skip_embeddings = false;  ///< leave an Embedding's adapter at its usual start
  std::string name = "default";  ///< of the adapters
};

/// Adapters start as what is largest of their weight, pissa_factors().
void pissa(Module& model, const StartOptions& options = {});
/// Adapters start as the first columns of their weight, olora_factors().
void olora(Module& model, const StartOptions& options = {});

struct LoraGaOptions {
  std::size_t batches = 8;  ///< over which the gradient is averaged; with fewer rows (tokens) than
                            ///< 2 rank in all of them it has too low a rank
  GaScale scale = GaScale::stable;
  double gamma = 16;               ///< of GaScale::stable
  std::size_t layers_at_once = 1;  ///< 1 keeps one gradient of a weight's size, at the price of a
                                   ///< pass over the batches for each layer; 0 means all layers
  bool training = false;           ///< estimate in training mode: with dropout, and running
                                   ///< statistics change
  Reference mode = Reference::fold;
  SvdOptions svd = {};
  bool skip_embeddings = false;
  std::string name = "default";
};

/// What became of one adapter.
struct GaReport {
  std::string layer;
  double kappa;      ///< the length of A's rows and B's columns
  double zeta;       ///< (s kappa)^2: the first SGD step is full training's with lr zeta
  double alignment;  ///< cos of the angle between the two, to first order
  bool has_rank;     ///< false: the gradient has a rank below 2 rank, estimate it from more rows
};

/// Adapters start so that the first step of SGD is as near to full training's as it can be:
/// lora_ga_factors() of the gradient of the mean of loss_of_batch(k), k < batches, at the weights
/// without these adapters. It is called under a tape and must give the same loss whenever it is
/// called for the same k: a mean over the batch, or its sum if batches differ in size.
///
/// Only the layers' weights are differentiated, a few at a time; gradients, what requires one, and
/// the training mode are as before afterwards, also after an exception. Keep zeta in mind when
/// choosing lr for SGD; Adam wants about what full training wants. Besides what pissa() throws:
/// std::invalid_argument for a layer that a loss does not depend on, and for a gradient of 0.
std::vector<GaReport> lora_ga(Module& model,
                              const std::function<Tensor(std::size_t)>& loss_of_batch,
                              const LoraGaOptions& options = {});

}  // namespace xgrad::inline XGRAD_PRECISION::lora
