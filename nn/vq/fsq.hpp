// Fsq: each coordinate rounded by itself, to one of a few levels. No codebook, nothing to train.
#pragma once

#include <xgrad/nn/vq/quantized.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// How a coordinate x is brought into the range of L levels, and rounded there.
enum class FsqBound {
  tanh,     ///< round(tanh(x + shift) h - o), h = (L - 1)(1 + 1e-3)/2; shift so that 0 stays 0
  sigmoid,  ///< floor((L - 1) sigmoid(x) + 1/2): symmetric for even L, too, but then with 0 on the
            ///< border of two levels: do not begin there. Su, archive 9826
};

struct FsqOptions {
  std::vector<std::int64_t> levels;  ///< of each coordinate, in [3, 1000], better at least 5
  FsqBound bound = FsqBound::tanh;
};

/// Finite scalar quantization: z (..., d), d the number of levels' entries -> codes whose
/// coordinates stand at L equal steps in [-1, 1]; for even L and tanh -1, ..., 1 - 2/L. There are
/// prod L codes, the first coordinate the fastest. The gradient passes the rounding unchanged;
/// there is no loss. About 1024 codes: {8, 5, 5, 5}; 256: {8, 6, 5}. 2 levels are Lfq's affair.
/// Usage measures |z - q| after the bound. Mentzer et al. 2023 (2309.15505), where the appendix has
/// tan for atanh.
struct Fsq : Quantizer {
  explicit Fsq(FsqOptions options) : Fsq(nullptr, "", std::move(options)) {}
  Fsq(Module* owner, std::string name, FsqOptions options);
  Quantized operator()(const Tensor& z) override;
  Indices encode(const Tensor& z) const override;
  Tensor decode(const Indices& codes) const override;
  std::size_t codes() const override { return codes_; }
  std::size_t dim() const override { return options.levels.size(); }

  const FsqOptions options;

 protected:
  std::string describe() const override { return concat_text(options.levels); }

 private:
  Tensor bounded(const Tensor& z) const;
  Tensor rounded(const Tensor& bounded) const;  // to 0, ..., L - 1
  Tensor codes_at(const Tensor& levels) const;  // there, or between
  Indices index_of(const Tensor& levels) const;

  std::size_t codes_ = 1;
  Tensor half_, offset_, shift_;  // (d,): of the bound
  Tensor lowest_, middle_,
      radius_;  // (d,): where the bounded begin; levels at 0, and to either end
};

}  // namespace xgrad::inline XGRAD_PRECISION
