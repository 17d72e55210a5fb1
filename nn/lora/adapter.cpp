// What an adapter computes; see adapter.hpp.
#include <xgrad/nn/lora/adapter.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/kernels/gemm.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/lora/slot.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

Tensor uniform(const Ints& shape, std::size_t fan_in, Rng rng) {
  const auto bound = static_cast<real>(1 / std::sqrt(static_cast<double>(fan_in)));
  return init::uniform(zeros(shape), -bound, bound, rng);
}

Tensor initial_A(const Adaptable& base, Init how, std::size_t rank, Rng rng) {
  const Ints shape{rank, base.inputs()};
  if (how == Init::random) return uniform(shape, base.inputs(), rng);
  if (base.looks_up()) return zeros(shape);
  if (how == Init::uniform) return uniform(shape, base.inputs(), rng);
  return init::normal(zeros(shape), 0, real(1) / static_cast<real>(rank), rng);
}

Tensor initial_B(const Adaptable& base, Init how, std::size_t rank, Rng rng) {
  const Ints shape{base.outputs(), rank};
  if (how == Init::random) return uniform(shape, rank, rng);
  return base.looks_up() ? init::normal(zeros(shape), 0, 1, rng) : zeros(shape);
}

/// factor B A, (out, in).
Tensor product(const Tensor& A, const Tensor& B, double factor) {
  return matmul(B * static_cast<real>(factor), A);
}

const char* name_of(const Adaptable& base, const char* factor) {
  if (!base.looks_up()) return *factor == 'A' ? "lora_A" : "lora_B";
  return *factor == 'A' ? "lora_embedding_A" : "lora_embedding_B";
}

}  // namespace

ReferenceFactors::ReferenceFactors(Module* owner, const Tensor& A0, const Tensor& B0, Reference m)
    : Module(owner, "reference"), A(this, "A", A0.clone()), B(this, "B", B0.clone()), mode(m) {}

Adapter::Adapter(Slot& slot, Adaptable& adapted, std::string path,
                 std::shared_ptr<const Options> shared, std::size_t r, double a)
    : Module(&slot, shared->name),
      base(adapted),
      layer(std::move(path)),
      name(shared->name),
      rank(r),
      alpha(a),
      options(std::move(shared)),
      A(this, name_of(base, "A"), initial_A(base, options->init, r, init_rng("lora_A"))),
      B(this, name_of(base, "B"), initial_B(base, options->init, r, init_rng("lora_B"))),
      magnitude(this, "lora_magnitude_vector", options->dora ? row_lengths() : Tensor()),
      dropout(this, "dropout", options->dropout),
      slot_(slot) {
  train(base.is_training());
}

double Adapter::scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (options->rank_stabilized ? std::sqrt(r) : r);
}

Tensor Adapter::gain(const Tensor& plain, const InputRows& input) const {
  const bool drops = dropout.is_training() && dropout.p > 0;
  const std::unique_ptr<InputRows> rest = drops ? input.dropped(dropout) : nullptr;
  const InputRows& x = rest ? *rest : input;
  const auto s = static_cast<real>(scale());
  const Tensor t = x.times(A) * s;  // scaled where it is smallest
  if (magnitude.defined()) {
    // x (l V)^T, l = m/c, is x W^T + (l - 1) x W^T + t (l B)^T. The first is in `plain`, and so is
    // the second, unless it takes other numbers, but for (l - 1) bias.
    const Tensor l = magnitude / row_lengths(), more = l - real(1), bias = base.stored_bias(),
                 lB = unsqueeze(l, 1) * B;
    if (drops) return more * x.times(base.stored_weight()) + linear(t, lB);
    return more * plain + linear(t, lB, bias.defined() ? -(more * bias) : Tensor());
  }
  if (!reference_ || reference_->mode == Reference::fold) return linear(t, B);
  // Two products of the same numbers as long as A and B have not moved: their difference is 0 then.
  return linear(t, B) - linear(x.times(reference_->A) * s, reference_->B);
}

Tensor Adapter::update() const {
  const Pause pause;
  const Tensor change = product(A, B, scale());
  if (magnitude.defined()) {
    const Tensor W = base.stored_weight();
    return unsqueeze(magnitude / row_lengths(), 1) * (W + change) - W;
  }
  if (!reference_ || reference_->mode == Reference::fold) return change;
  return change - product(reference_->A, reference_->B, scale());
}

Tensor Adapter::row_lengths() const {
  const Pause pause;
  const Tensor W = base.stored_weight(), scaled = B * static_cast<real>(scale());
  const std::size_t in = base.inputs(), out = base.outputs(), block = 32;
  Tensor lengths = zeros({out});
  real* const result = lengths.mutable_data();
  // V = W + s B A by a few rows at a time. Its entries, rather than three products, since a sum of
  // squares cannot cancel.
  parallel_for((out + block - 1) / block, 1, [&](std::size_t first, std::size_t last) {
    std::vector<real> V(block * in);
    for (std::size_t begin = first * block; begin < std::min(out, last * block); begin += block) {
      const std::size_t rows = std::min(block, out - begin);
      std::copy_n(W.data() + begin * in, rows * in, V.data());
      kernels::gemm(rows, in, rank, {scaled.data() + begin * rank, rank}, {A.data(), in}, V.data(),
                    in, {.accumulate = true});
      for (std::size_t j = 0; j < rows; ++j) {
        double sum = 0;
        for (std::size_t i = 0; i < in; ++i)
          sum += static_cast<double>(V[j * in + i]) * V[j * in + i];
        result[begin + j] = static_cast<real>(std::sqrt(sum));
      }
    }
  });
  return lengths;
}

void Adapter::check_start(Reference mode) const {
  require<std::logic_error>(!reference_, "lora: \"", layer, "\": adapter \"", name,
                            "\" has been initialised already; doing it twice would take its start "
                            "off twice");
  require<std::logic_error>(!merged(), "lora: \"", layer,
                            "\": adapters are merged; unmerge() first");
  require(mode == Reference::fold || !magnitude.defined(), "lora: \"", layer,
          "\": DoRA needs Reference::fold, since it rescales the base weight");
}

void Adapter::start_from(const Tensor& A0, const Tensor& B0, Reference mode) {
  require<ShapeError>(A0.shape() == A.shape() && B0.shape() == B.shape(), "lora: \"", layer,
                      "\": factors ", A0.shape(), " and ", B0.shape(), ", adapter \"", name,
                      "\" has ", A.shape(), " and ", B.shape());
  check_start(mode);
  reference_ = std::make_unique<ReferenceFactors>(this, A0, B0, mode);
  std::copy_n(A0.data(), A0.size(), A.mutable_data());
  std::copy_n(B0.data(), B0.size(), B.mutable_data());
  if (mode == Reference::fold) add_to_base(-scale(), A0, B0);
  if (magnitude.defined()) {
    const Tensor lengths = row_lengths();
    std::copy_n(lengths.data(), lengths.size(), magnitude.mutable_data());
  }
}

bool Adapter::merged() const { return slot_.merged(); }

void Adapter::drop_reference() {
  if (!reference_) return;
  if (reference_->mode == Reference::fold) add_to_base(scale(), reference_->A, reference_->B);
  reference_.reset();
}

/// W + factor B A in W's place.
void Adapter::add_to_base(double factor, const Tensor& a, const Tensor& b) const {
  const Pause pause;
  Tensor W = base.stored_weight(), change = product(a, b, factor);
  if (base.looks_up()) change = transpose(change);
  W.mutable_array() += change.array();
}

std::string Adapter::describe() const {
  return concat_text("rank ", rank, ", scale ", scale(), magnitude.defined() ? ", DoRA" : "");
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
