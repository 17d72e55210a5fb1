// LoRA-Pro: low-rank adapters that move the weight as full training would, as nearly as they can.
// Adapters are nn/lora; here they are pairs of factors. How they should start is nn/lora/init.hpp.
#pragma once

#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/optimizer.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace lora {

/// Which of the directions that move the weight alike; see pro_directions().
enum class XMode {
  zero,       ///< X = 0: the cheapest
  symmetric,  ///< B dA and dB A as like each other, and as like the gradient, as can be
  sylvester,  ///< dA and dB as near to the gradients of A and B as can be
};

struct ProOptions {
  XMode x_mode = XMode::sylvester;
  double delta = 1e-8;  ///< added to the eigenvalues that are divided by, at least 0
};

/// One matrix for each factor: a direction, or a gradient.
struct Directions {
  Tensor A, B;  // (rank, in), (out, rank)
};

/// For W + s B A with A (rank, in), B (out, rank) and their gradients, the directions dA, dB for
/// which s (B dA + dB A) is as near as can be to the full gradient G, which is never formed:
///
///     a = A A^T,  b = B^T B,  S = B^T grad_B                               (rank, rank)
///     dA = s^-2 b^-1 grad_A + X A
///     dB = s^-2 (grad_B - B b^-1 S) a^-1 - B X
///     zero:  X = 0     symmetric:  X = -s^-2 b^-1 S a^-1 / 2     sylvester:  b X + X a = -s^-2
///     b^-1 S
///
/// X moves the factors, not to first order the weight: s (B dA + dB A) is always G minus its part
/// (1 - P_B) G (1 - P_A) outside of the column space of B and the row space of A.
///
/// Inverses are (eigenvalue + delta)^-1 in double, without eigenvalues below rank * 2^-52 of the
/// largest, so that factors of lower rank, and B = 0, give the projection too. The gradients must
/// come from one G: clip them by their common norm or not at all. NaN in them stays. 4 (in + out)
/// rank^2 multiplications and O(rank^3); the same with any number of threads.
///
/// Throws std::invalid_argument (ShapeError) for shapes that do not fit, a rank that is 0 or above
/// in or out, s = 0, NaN or Inf in A or B, and A = B = 0.
/// Wang et al. 2024 (2407.18242), theorems 2.1 to 2.3; its code has a wrong `symmetric`.
Directions pro_directions(const Tensor& A, const Tensor& B, const Directions& gradients,
                          double scale, ProOptions options = {});

/// s (B dA + dB A), (out, in): how the effective weight moves, to first order, when A and B move by
/// dA and dB. Of gradients it is what plain LoRA makes of G, of pro_directions() what LoRA-Pro
/// does. For tests and studies: it is as large as the weight.
Tensor equivalent_gradient(const Tensor& A, const Tensor& B, const Directions& directions,
                           double scale);

struct Spectra;  // eigenvalues and -vectors of a and b

}  // namespace lora

/// One adapter as LoraPro sees it: the effective weight is weight + scale * B A.
struct LoraPair {
  Tensor A, B;                    ///< leaves, (rank, in) and (out, rank)
  double scale = 1;               ///< the adapter's own: alpha / rank, or alpha / sqrt(rank)
  Tensor weight = {};             ///< the frozen one; only LoraProFullAdamW's decay writes it
  std::optional<double> lr = {};  ///< the optimizer's unless given
  std::optional<double> weight_decay = {};  ///< likewise
};

namespace lora {
struct Adapter;
/// The pairs of adapters that are trained, with their scale and weight. Throws
/// std::invalid_argument for DoRA, whose B A is not what the weight moves by, and std::logic_error
/// while merged.
std::vector<LoraPair> pairs(const std::vector<Adapter*>& adapters);
}  // namespace lora

/// What the flavours below share: A and B of each pair go against pro_directions() instead of their
/// gradients, other parameters against their gradients. Parameters count in this order: A and B of
/// each pair, then the others.
///
/// Where it starts matters. At B = 0 the first step is harmless, but then B is of the size of lr,
/// the direction of A of the size of 1 / lr, and the second step as large as A, whatever lr is:
/// start from lora_ga (nn/lora/init.hpp). Clip by the norm of all gradients (clip_grad_norm), never
/// A and B apart. Not for DoRA, nor for factors that several layers share; do not combine with
/// LoRA+.
///
/// step() throws std::invalid_argument, and changes nothing, where one of a pair has a gradient and
/// the other none, holds NaN or Inf, or both are 0. NaN in gradients goes into both factors.
class LoraPro : public Optimizer {
 public:
  void step() override;
  const std::vector<LoraPair>& pairs() const { return pairs_; }

 protected:
  LoraPro(const char* name, std::vector<LoraPair> pairs, const ParameterGroups& others, double lr,
          double weight_decay, std::vector<std::string> state_names, lora::ProOptions options);
  /// The step of one pair whose gradients are there.
  virtual void update_pair(const LoraPair& pair, Slot& a, Slot& b, const lora::Spectra& spectra);

  const lora::ProOptions& options() const { return options_; }

 private:
  const std::vector<LoraPair> pairs_;
  const lora::ProOptions options_;
};

struct LoraProSGDOptions {
  double lr = 1e-3;
  double momentum = 0;      ///< share of the running sum of directions that each step keeps
  double weight_decay = 0;  ///< decoupled: each step takes lr * weight_decay of A and of B away
  lora::XMode x_mode = lora::XMode::sylvester;
  double delta = 1e-8;
};

/// With h the direction of A or B, or the gradient of another parameter p,
///
///     p <- (1 - lr weight_decay) p
///     m <- momentum m + h
///     p <- p - lr m
///
/// Without momentum and decay, W + s B A moves by -lr times the projected gradient, plus
/// lr^2 s dB dA. State: "momentum_buffer" (m), if momentum > 0.
class LoraProSGD : public LoraPro {
 public:
  explicit LoraProSGD(std::vector<LoraPair> pairs, LoraProSGDOptions options = {});
  LoraProSGD(std::vector<LoraPair> pairs, const ParameterGroups& others,
             LoraProSGDOptions options = {});

 protected:
  void update(Slot& slot, const Tensor& grad, double lr) override;

 private:
  const double momentum_;
};

struct LoraProAdamWOptions {
  double lr = 1e-3;
  Betas betas = {};
  double eps = 1e-8;
  double weight_decay = 0;  ///< decoupled
  lora::XMode x_mode = lora::XMode::sylvester;
  double delta = 1e-8;
};

/// AdamW on the directions of A and B, "efficient" in the paper: what it keeps is of their size.
/// Weight decay takes lr * weight_decay of A and of B away, so twice that of B A; the frozen weight
/// stays. State: "exp_avg", "exp_avg_sq", as AdamW.
class LoraProAdamW : public LoraPro {
 public:
  explicit LoraProAdamW(std::vector<LoraPair> pairs, LoraProAdamWOptions options = {});
  LoraProAdamW(std::vector<LoraPair> pairs, const ParameterGroups& others,
               LoraProAdamWOptions options = {});

 protected:
  LoraProAdamW(const char* name, std::vector<LoraPair> pairs, const ParameterGroups& others,
               LoraProAdamWOptions options);
  void update(Slot& slot, const Tensor& grad, double lr) override;
  const Betas betas_;
  const double eps_;
};

/// AdamW on the full weight, as nearly as A and B can follow it: the moments are those of the
/// projected gradient, and what AdamW would subtract from the weight takes the place of its
/// gradient:
///
///     G = s (B dA + dB A)                                          at X = 0, (out, in)
///     U = Adam's step for G, before the learning rate
///     dA, dB = pro_directions of the gradients s B^T U, s U A^T
///     A, B <- sqrt(1 - lr weight_decay) (A, B);  weight <- (1 - lr weight_decay) weight
///     A <- A - lr dA;  B <- B - lr dB
///
/// Memory is that of full training, less the weight's gradient: two moments as large as the weight
/// for each pair, and one temporary while its step runs. Weight decay is that of the effective
/// weight and writes the frozen one, which must be in the pair then, and in one pair only; lr *
/// weight_decay above 1 counts as 1. Do not step while adapters are merged. State: of A "exp_avg",
/// "exp_avg_sq", both (out, in), of B nothing, of other parameters as AdamW.
class LoraProFullAdamW : public LoraProAdamW {
 public:
  explicit LoraProFullAdamW(std::vector<LoraPair> pairs, LoraProAdamWOptions options = {});
  LoraProFullAdamW(std::vector<LoraPair> pairs, const ParameterGroups& others,
                   LoraProAdamWOptions options = {});

 protected:
  void update_pair(const LoraPair& pair, Slot& a, Slot& b, const lora::Spectra& spectra) override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
