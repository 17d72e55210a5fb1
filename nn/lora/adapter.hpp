// Adapter: the trainable low-rank update of one layer's frozen weight.
// Attaching it to the layers of a model is attach.hpp; initial values that look at the weight or
// its gradient are init.hpp.
#pragma once

#include <xgrad/nn/adaptable.hpp>
#include <xgrad/nn/lora/options.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {

class Slot;

/// Where the update that an adapter starts from, s B0 A0, is taken off again, so that the model
/// starts as it was.
enum class Reference {
  keep,  ///< in the forward pass, by frozen factors: the base stays as it is, bit for bit, for
         ///< 2 rank (in + out) operations per row more
  fold,  ///< in the base weight, W - s B0 A0, rounded once: free, but the base has changed for
         ///< every other adapter and without any
};

/// The factors that an adapter started from, constants; part of the state.
struct ReferenceFactors : Module {
  ReferenceFactors(Module* owner, const Tensor& A0, const Tensor& B0, Reference mode);
  StateBuffer A, B;
  const Reference mode;
};

/// W + s B A for a frozen W (out, in): trains rank (in + out) numbers. The layer computes
/// x W^T + bias + s (x A^T) B^T, in this order of products, so that nothing of W's size is made.
///
/// With DoRA it computes x (m/c V)^T + bias instead, V = W + s B A, c the lengths of V's rows and m
/// (`magnitude`) trained from |W|. c counts as a constant in backward, as in the paper's section
/// 4.3; it costs the products W A^T and A A^T per call, and nothing of W's size.
///
/// Made by attach(); lives as long as its layer, or until it is detached.
struct Adapter : Module {
  Adapter(Slot& slot, Adaptable& layer, std::string path, std::shared_ptr<const Options> options,
          std::size_t rank, double alpha);

  /// s: alpha/rank, or alpha/sqrt(rank) if rank-stabilized.
  double scale() const;
  /// The adapted layer's weight as stored: (out, in), for an Embedding (in, out). A handle.
  Tensor weight() const { return base.stored_weight(); }
  /// s B A, (out, in); with DoRA m/c V - W. A tensor of W's size.
  Tensor update() const;
  /// c: the lengths of the rows of W + s B A, (out,), from the products W A^T and A A^T.
  Tensor row_lengths() const;

  /// Starts from these factors, A0 (rank, in) and B0 (out, rank), without a change of what the
  /// layer computes: the update counts from s B0 A0 on. With `fold` and DoRA, magnitude starts from
  /// the new row_lengths(), which are |W|. Throws std::logic_error if done before, since it would
  /// be taken off twice, or while merged; std::invalid_argument for `keep` with DoRA; ShapeError.
  void start_from(const Tensor& A0, const Tensor& B0, Reference mode);
  /// Throws what start_from would, whatever the factors are: for those that cost time to make.
  void check_start(Reference mode) const;
  /// Whether its layer's weight holds it now: merge().
  bool merged() const;
  /// What start_from set, or nullptr.
  const ReferenceFactors* reference() const { return reference_.get(); }
  /// Undoes start_from: W as it was (with `fold` to rounding), A and B as they are. For detach().
  void drop_reference();

  /// What the layer's output gains, given its own `plain` output: (..., out).
  Tensor gain(const Tensor& plain, const InputRows& x) const;

  Adaptable& base;
  const std::string layer;  ///< dotted name of the layer in the model that it was attached to
  const std::string name;
  const std::size_t rank;
  const double alpha;
  const std::shared_ptr<const Options> options;  ///< all adapters of this name share them

  Parameter A;          ///< lora_A (rank, in); of an Embedding lora_embedding_A
  Parameter B;          ///< lora_B (out, rank); of an Embedding lora_embedding_B
  Parameter magnitude;  ///< lora_magnitude_vector (out,); undefined without DoRA
  Dropout dropout;

 protected:
  std::string describe() const override;

 private:
  void add_to_base(double factor, const Tensor& a, const Tensor& b) const;

  const Slot& slot_;
  std::unique_ptr<ReferenceFactors> reference_;
};

}  // namespace xgrad::inline XGRAD_PRECISION::lora
