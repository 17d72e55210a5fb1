// FixedCodebook: a table that nothing moves, such as k-means of a data set.
#pragma once

#include <xgrad/nn/vq/codebook.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// The given codes (K, d), K at least 2, as the buffer "weight"; the encoder alone adapts. Its
/// VectorQuantizer has .codebook_weight = 0.
struct FixedCodebook : CodebookBase {
  explicit FixedCodebook(const Tensor& codes)
      : weight(this, "weight",
               (require<ShapeError>(codes.ndim() == 2 && codes.size(0) >= 2 && codes.size(1) >= 1,
                                    "FixedCodebook: needs a table (K, d) with K >= 2, got shape ",
                                    codes.shape()),
                codes.clone())) {}
  Tensor table() const override { return weight; }
  std::size_t codes() const override { return weight.size(0); }
  std::size_t dim() const override { return weight.size(1); }

  StateBuffer weight;

 protected:
  std::string describe() const override { return concat_text(codes(), " x ", dim()); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
