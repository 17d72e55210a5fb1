// LoRA-Pro; see lora_pro.hpp. Products with a long side are float or double as the parameters are;
// everything (rank, rank) is double, since a Gram matrix squares the condition of its factor.
#include <xgrad/optim/lora_pro.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>

#include <xgrad/core/kernels/decompose.hpp>
#include <xgrad/core/kernels/gemm.hpp>
#include <xgrad/core/kernels/update.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/nn/lora/adapter.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace lora {
namespace {

using Square = std::vector<double>;  // (rank, rank), row-major

kernels::Matrix as_is(const Tensor& x) { return {x.data(), x.size(-1)}; }
kernels::Matrix transposed(const Tensor& x) { return {x.data(), x.size(-1), true}; }

/// x y of matrices as read; (m, n) with k summed over.
Tensor product(std::size_t m, std::size_t n, std::size_t k, kernels::Matrix x, kernels::Matrix y) {
  Tensor z = Tensor::empty({m, n});
  kernels::gemm(m, n, k, x, y, z.mutable_data(), n);
  return z;
}

void add_product(Tensor& z, std::size_t k, kernels::Matrix x, kernels::Matrix y) {
  kernels::gemm(z.size(0), z.size(1), k, x, y, z.mutable_data(), z.size(1), {.accumulate = true});
}

Square to_square(const Tensor& x) { return Square(x.data(), x.data() + x.size()); }

Tensor to_tensor(std::size_t rank, const Square& x, double factor) {
  Tensor y = Tensor::empty({rank, rank});
  std::transform(x.begin(), x.end(), y.mutable_data(),
                 [factor](double value) { return static_cast<real>(factor * value); });
  return y;
}

/// The eigenvalues and -vectors of a Gram matrix, and which of the values count.
struct Spectrum {
  explicit Spectrum(const Tensor& gram)
      : rank(gram.size(0)), values(rank), vectors(to_square(gram)) {
    finite = std::all_of(vectors.begin(), vectors.end(), [](double x) { return std::isfinite(x); });
    if (finite) kernels::eigh(rank, vectors.data(), values.data());
  }

  double largest() const { return values.back(); }
  /// What counts as zero.
  double noise() const {
    return static_cast<double>(rank) * std::numeric_limits<double>::epsilon() * largest();
  }
  double inverse(std::size_t i, double delta) const {
    return values[i] <= noise() ? 0 : 1 / (values[i] + delta);
  }

  std::size_t rank;
  std::vector<double> values;  // ascending
  Square vectors;              // row i belongs to value i
  bool finite;
};

}  // namespace

struct Spectra {
  Spectra(const Tensor& A, const Tensor& B)
      : a(product(A.size(0), A.size(0), A.size(1), as_is(A), transposed(A))),
        b(product(B.size(1), B.size(1), B.size(0), transposed(B), as_is(B))) {}

  Spectrum a, b;
};

namespace {

/// The Spectra of a pair, whose place in error texts is `where`.
template <class... Where>
Spectra decompose(const Tensor& A, const Tensor& B, const Where&... where) {
  Spectra spectra(A, B);
  require(spectra.a.finite && spectra.b.finite, where..., ": NaN or Inf in A ", A.shape(), " or B ",
          B.shape());
  require(spectra.a.largest() > 0 || spectra.b.largest() > 0, where...,
          ": A and B are both zero: no direction moves their product");
  return spectra;
}

template <class... Where>
void check_factors(const Tensor& A, const Tensor& B, double scale, const Where&... where) {
  require(A.defined() && B.defined(), where..., ": ", A.defined() ? "B" : "A", " is undefined");
  require<ShapeError>(A.ndim() == 2 && B.ndim() == 2 && A.size(0) == B.size(1), where...,
                      ": A is (rank, in) and B (out, rank), got ", A.shape(), " and ", B.shape());
  const std::size_t rank = A.size(0), limit = std::min(A.size(1), B.size(0));
  require(rank >= 1 && rank <= limit, where..., ": rank ", rank, " is outside [1, ", limit,
          "] for A ", A.shape(), " and B ", B.shape());
  require(std::isfinite(scale) && scale != 0, where..., ": scale must be finite and not 0, got ",
          scale);
}

void check_directions(const char* name, const Tensor& A, const Tensor& B, const Directions& d) {
  require(d.A.defined() && d.B.defined(), name, ": ", d.A.defined() ? "that of B" : "that of A",
          " is undefined");
  require<ShapeError>(d.A.shape() == A.shape() && d.B.shape() == B.shape(), name, ": A ", A.shape(),
                      " and B ", B.shape(), " come with ", d.A.shape(), " and ", d.B.shape());
}

void check(const char* name, const ProOptions& options) {
  require(options.delta >= 0 && std::isfinite(options.delta), name,
          ": delta must be finite and at least 0, got ", options.delta);
}

/// Where the derivation is easiest: with b = R^T g R and a = Q^T l Q, F = R S Q^T, all that is
/// inverted is diagonal. In those bases b^-1 S a^-1 is F_ij / (g_i l_j), and X the same but for a
/// factor: -1/2 is symmetric, and b X + X a = -b^-1 S reads X_ij (g_i + l_j) = -F_ij / g_i.
Directions directions(const Tensor& A, const Tensor& B, const Directions& gradients, double scale,
                      const Spectra& spectra, const ProOptions& options) {
  const std::size_t in = A.size(1), out = B.size(0), r = A.size(0);
  const Spectrum &a = spectra.a, &b = spectra.b;
  const double factor = 1 / (scale * scale);  // one s is in the gradients, one comes with B dA
  const auto multiply = [r](const Square& x, bool tx, const Square& y, bool ty) {
    Square z(r * r);
    kernels::multiply(r, r, r, x.data(), tx, y.data(), ty, z.data());
    return z;
  };
  const auto inverse = [&](const Spectrum& s) {
    Square scaled = s.vectors;
    for (std::size_t i = 0; i < r; ++i)
      for (std::size_t j = 0; j < r; ++j) scaled[i * r + j] *= s.inverse(i, options.delta);
    return to_tensor(r, multiply(s.vectors, true, scaled, false), factor);
  };

  const Square S = to_square(product(r, r, out, transposed(B), as_is(gradients.B)));
  const Square F = multiply(multiply(b.vectors, false, S, false), false, a.vectors, true);
  Square X(r * r), Y(r * r);  // Y: what B is multiplied by, b^-1 S a^-1 + X
  for (std::size_t i = 0; i < r; ++i)
    for (std::size_t j = 0; j < r; ++j) {
      const double g = b.inverse(i, options.delta), l = a.inverse(j, options.delta);
      const double f = F[i * r + j], sum = b.values[i] + a.values[j];
      double x = 0;
      switch (options.x_mode) {
        case XMode::zero:
          break;
        case XMode::symmetric:
          x = -f * g * l / 2;
          break;
        case XMode::sylvester:
          if (sum > b.noise() + a.noise()) x = -f * g / sum;
          break;
      }
      X[i * r + j] = x;
      Y[i * r + j] = f * g * l + x;
    }
  const auto back = [&](const Square& x, double sign) {
    return to_tensor(r, multiply(multiply(b.vectors, true, x, false), false, a.vectors, false),
                     sign * factor);
  };

  Directions d{product(r, in, r, as_is(inverse(b)), as_is(gradients.A)),
               product(out, r, r, as_is(gradients.B), as_is(inverse(a)))};
  if (options.x_mode != XMode::zero) add_product(d.A, r, as_is(back(X, 1)), as_is(A));
  add_product(d.B, r, as_is(B), as_is(back(Y, -1)));
  return d;
}

/// s (B dA + dB A), once the factor is in d.
Tensor combine(const Tensor& A, const Tensor& B, const Directions& d) {
  const std::size_t r = A.size(0);
  Tensor sum = product(B.size(0), A.size(1), r, as_is(B), as_is(d.A));
  add_product(sum, r, as_is(d.B), as_is(A));
  return sum;
}

Tensor scaled(Tensor x, double factor) {
  kernels::scale(x.size(), x.mutable_data(), static_cast<real>(factor));
  return x;
}

}  // namespace

Directions pro_directions(const Tensor& A, const Tensor& B, const Directions& gradients,
                          double scale, ProOptions options) {
  check_factors(A, B, scale, "pro_directions");
  check_directions("pro_directions", A, B, gradients);
  check("pro_directions", options);
  return directions(A, B, gradients, scale, decompose(A, B, "pro_directions"), options);
}

Tensor equivalent_gradient(const Tensor& A, const Tensor& B, const Directions& d, double scale) {
  check_factors(A, B, scale, "equivalent_gradient");
  check_directions("equivalent_gradient", A, B, d);
  return combine(A, B, {scaled(d.A.clone(), scale), scaled(d.B.clone(), scale)});
}

std::vector<LoraPair> pairs(const std::vector<Adapter*>& adapters) {
  std::vector<LoraPair> result;
  for (const Adapter* adapter : adapters) {
    require(!adapter->magnitude.defined(), "LoraPro: \"", adapter->layer,
            "\": not for DoRA, whose weight does not move by the product of its factors alone");
    require<std::logic_error>(!adapter->merged(), "LoraPro: \"", adapter->layer,
                              "\": adapters are merged; unmerge() first");
    result.push_back({adapter->A, adapter->B, adapter->scale(), adapter->weight(), {}, {}});
  }
  return result;
}

}  // namespace lora

// ---- the optimizers

namespace {

/// A and B of each pair as a group of their own, then the other groups.
ParameterGroups with_pairs(const char* name, const std::vector<LoraPair>& pairs,
                           const ParameterGroups& others) {
  require(!pairs.empty(), name, ": there are no pairs to optimize");
  std::vector<ParameterGroup> groups;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const LoraPair& p = pairs[i];
    lora::check_factors(p.A, p.B, p.scale, name, ": pair ", i);
    if (p.weight.defined()) {
      const std::size_t in = p.A.size(1), out = p.B.size(0);
      const Shape &shape = p.weight.shape(), linear{out, in}, embedding{in, out};
      require<ShapeError>(shape == linear || shape == embedding, name, ": pair ", i, ": weight is ",
                          shape, ", B A is ", linear);
    }
    groups.push_back({.parameters = {p.A, p.B}, .lr = p.lr, .weight_decay = p.weight_decay});
  }
  groups.insert(groups.end(), others.begin(), others.end());
  return groups;
}

ParameterGroups none() { return std::vector<ParameterGroup>{}; }

void decay(Tensor& p, double keep) {
  if (keep != 1) kernels::scale(p.size(), p.mutable_data(), static_cast<real>(keep));
}

void subtract(Tensor& p, double lr, const Tensor& direction) {
  kernels::sgd(p.size(), p.mutable_data(), direction.data(), nullptr,
               {.lr = static_cast<real>(lr),
                .weight_decay = 0,
                .momentum = 0,
                .new_share = 1,
                .nesterov = false});
}

}  // namespace

LoraPro::LoraPro(const char* name, std::vector<LoraPair> pairs, const ParameterGroups& others,
                 double lr, double weight_decay, std::vector<std::string> state_names,
                 lora::ProOptions options)
    : Optimizer(name, with_pairs(name, pairs, others), lr, weight_decay, std::move(state_names)),
      pairs_(std::move(pairs)),
      options_(options) {
  lora::check(name, options);
}

void LoraPro::step() {
  std::vector<lora::Spectra> spectra;  // first what can fail
  std::vector<std::size_t> moving;
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const auto& [A, B, scale, weight, lr, weight_decay] = pairs_[i];
    const bool has_a = A.grad().defined(), has_b = B.grad().defined();
    require(has_a == has_b, name(), ": pair ", i, ": ", has_a ? "A" : "B", " has a gradient and ",
            has_a ? "B" : "A", " none");
    if (!has_a) continue;
    spectra.push_back(lora::decompose(A, B, name(), ": pair ", i));
    moving.push_back(i);
  }
  for (std::size_t k = 0; k < moving.size(); ++k) {
    Slot &a = slots()[2 * moving[k]], &b = slots()[2 * moving[k] + 1];
    ++a.step;
    ++b.step;
    update_pair(pairs_[moving[k]], a, b, spectra[k]);
  }
  step_from(2 * pairs_.size());
}

void LoraPro::update_pair(const LoraPair& pair, Slot& a, Slot& b, const lora::Spectra& spectra) {
  const lora::Directions d = lora::directions(pair.A, pair.B, {pair.A.grad(), pair.B.grad()},
                                              pair.scale, spectra, options_);
  update(a, d.A, a.lr * lr_factor());
  update(b, d.B, b.lr * lr_factor());
}

LoraProSGD::LoraProSGD(std::vector<LoraPair> pairs, LoraProSGDOptions options)
    : LoraProSGD(std::move(pairs), none(), options) {}

LoraProSGD::LoraProSGD(std::vector<LoraPair> pairs, const ParameterGroups& others,
                       LoraProSGDOptions options)
    : LoraPro("LoraProSGD", std::move(pairs), others, options.lr, options.weight_decay,
              options.momentum == 0 ? std::vector<std::string>{}
                                    : std::vector<std::string>{"momentum_buffer"},
              {options.x_mode, options.delta}),
      momentum_(options.momentum) {
  require(momentum_ >= 0 && std::isfinite(momentum_), name(),
          ": momentum must be finite and at least 0, got ", momentum_);
}

void LoraProSGD::update(Slot& slot, const Tensor& grad, double lr) {
  Tensor& p = slot.parameter;
  decay(p, 1 - lr * slot.weight_decay);
  kernels::sgd(p.size(), p.mutable_data(), grad.data(),
               slot.state.empty() ? nullptr : slot.state[0].mutable_data(),
               {.lr = static_cast<real>(lr),
                .weight_decay = 0,
                .momentum = static_cast<real>(momentum_),
                .new_share = 1,
                .nesterov = false});
}

LoraProAdamW::LoraProAdamW(std::vector<LoraPair> pairs, LoraProAdamWOptions options)
    : LoraProAdamW(std::move(pairs), none(), options) {}

LoraProAdamW::LoraProAdamW(std::vector<LoraPair> pairs, const ParameterGroups& others,
                           LoraProAdamWOptions options)
    : LoraProAdamW("LoraProAdamW", std::move(pairs), others, options) {}

LoraProAdamW::LoraProAdamW(const char* name, std::vector<LoraPair> pairs,
                           const ParameterGroups& others, LoraProAdamWOptions options)
    : LoraPro(name, std::move(pairs), others, options.lr, options.weight_decay,
              {"exp_avg", "exp_avg_sq"}, {options.x_mode, options.delta}),
      betas_(options.betas),
      eps_(options.eps) {
  detail::check_adam(name, betas_, eps_);
}

void LoraProAdamW::update(Slot& slot, const Tensor& grad, double lr) {
  Tensor& p = slot.parameter;
  kernels::adam(p.size(), p.mutable_data(), grad.data(), slot.state[0].mutable_data(),
                slot.state[1].mutable_data(),
                detail::adamw_step(lr, betas_, eps_, slot.weight_decay, slot.step));
}

LoraProFullAdamW::LoraProFullAdamW(std::vector<LoraPair> pairs, LoraProAdamWOptions options)
    : LoraProFullAdamW(std::move(pairs), none(), options) {}

LoraProFullAdamW::LoraProFullAdamW(std::vector<LoraPair> pairs, const ParameterGroups& others,
                                   LoraProAdamWOptions options)
    : LoraProAdamW("LoraProFullAdamW", std::move(pairs), others, options) {
  std::unordered_set<const real*> decaying;
  for (std::size_t i = 0; i < this->pairs().size(); ++i) {
    Slot &a = slots()[2 * i], &b = slots()[2 * i + 1];
    const Tensor& weight = this->pairs()[i].weight;
    require(a.weight_decay == 0 || weight.defined(), name(), ": pair ", i,
            ": weight_decay is that of the effective weight: the pair must have its weight");
    require(a.weight_decay == 0 || decaying.insert(weight.data()).second, name(), ": pair ", i,
            ": weight_decay would reach a weight twice that several pairs share");
    for (Tensor& moment : a.state) moment = zeros({b.parameter.size(0), a.parameter.size(1)});
    b.state.clear();
  }
}

void LoraProFullAdamW::update_pair(const LoraPair& pair, Slot& a, Slot& b,
                                   const lora::Spectra& spectra) {
  const auto& [A, B, s, weight, own_lr, own_decay] = pair;
  const double lr = a.lr * lr_factor();
  const std::size_t in = A.size(1), out = B.size(0), rank = A.size(0);
  lora::Directions d = lora::directions(A, B, {A.grad(), B.grad()}, s, spectra,
                                        {lora::XMode::zero, options().delta});
  Tensor U = lora::combine(A, B, {lora::scaled(d.A, s), lora::scaled(d.B, s)});
  // From G to U in place: p <- 0 p - (-1) m' / (sqrt(v') + eps), where p is G itself.
  kernels::AdamStep step = detail::adamw_step(-1, betas_, eps_, 0, a.step);
  step.keep = 0;
  kernels::adam(U.size(), U.mutable_data(), U.data(), a.state[0].mutable_data(),
                a.state[1].mutable_data(), step);
  // U is the left factor of both products, since gemm copies the right one.
  const Tensor U_A = lora::product(in, rank, out, lora::transposed(U), lora::as_is(B));
  d = {lora::scaled(transpose(U_A), s),
       lora::scaled(lora::product(out, rank, in, lora::as_is(U), lora::transposed(A)), s)};
  d = lora::directions(A, B, d, s, spectra, options());

  const double keep = std::max(0.0, 1 - lr * a.weight_decay);
  if (Tensor w = weight; w.defined()) decay(w, keep);
  for (auto [slot, direction] : {std::pair{&a, &d.A}, {&b, &d.B}}) {
    decay(slot->parameter, std::sqrt(keep));
    subtract(slot->parameter, lr, *direction);
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
