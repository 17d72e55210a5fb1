// DiagonalCodebook: a cloud of points under trained scales, one per coordinate.
#pragma once

#include <xgrad/nn/vq/base_table.hpp>
#include <xgrad/nn/vq/codebook.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct DiagonalCodebookOptions {
  std::size_t codes, dim;  ///< K, at least 2, and d
  bool train_base = true;  ///< train the points too; with the scales alone little can be said
  std::uint64_t seed = 0;
};

/// C = E * w: "base" E (K, d) ~ N(0, 1/d), "weight" w (d,), ones. Coordinates that all codes share
/// move together: between Codebook and SimCodebook, in formula as in what it reaches. Su,
/// Scientific Spaces, archive 10519.
struct DiagonalCodebook : CodebookBase {
  explicit DiagonalCodebook(DiagonalCodebookOptions options);
  Tensor table() const override { return base() * weight; }
  std::size_t codes() const override { return options.codes; }
  std::size_t dim() const override { return options.dim; }

  const DiagonalCodebookOptions options;
  const detail::BaseTable base;
  Parameter weight;

 protected:
  std::string describe() const override { return concat_text(codes(), " x ", dim()); }
};

}  // namespace xgrad::inline XGRAD_PRECISION
