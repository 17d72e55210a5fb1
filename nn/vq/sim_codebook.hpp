// SimCodebook: a fixed cloud of points under a linear map that is trained.
#pragma once

#include <xgrad/nn/vq/base_table.hpp>
#include <xgrad/nn/vq/codebook.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Where the map of a SimCodebook begins.
enum class SimInit {
  uniform,   ///< in ±1/sqrt(base_dim), PyTorch's for a linear layer
  identity,  ///< needs base_dim = dim
};

struct SimCodebookOptions {
  std::size_t codes, dim;    ///< K, at least 2, and d
  std::size_t base_dim = 0;  ///< width d0 of the points; 0: dim
  bool bias = false;
  bool train_base = false;  ///< train the points too
  SimInit init = SimInit::uniform;
  std::uint64_t seed = 0;
};

/// C = E W + b: "base" E (K, d0) ~ N(0, 1/d0), "weight" W (d0, d), "bias" b (d). A step on W moves
/// every code, used or not: C_i by -lr sum_j (E_i E_j^T) dL/dC_j, so that the unused follow the
/// used and few die. E stands still unless it is trained, but is saved: it is a buffer. Table: O(K
/// d0 d) each time. No weight decay on W: it would shrink all codes. Neither moving averages nor
/// restarts here: both would write into codes that W makes. Zhu et al. 2024, SimVQ (2411.02038);
/// Su, Scientific Spaces, archive 10519.
struct SimCodebook : CodebookBase {
  explicit SimCodebook(SimCodebookOptions options);
  Tensor table() const override;
  std::size_t codes() const override { return options.codes; }
  std::size_t dim() const override { return options.dim; }

  const SimCodebookOptions options;
  const detail::BaseTable base;
  Parameter weight, bias;

 protected:
  std::string describe() const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
