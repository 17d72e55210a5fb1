// The feed-forward halves of a transformer block.
#pragma once

#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/linear.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct FeedForwardOptions {
  std::size_t dim;
  std::size_t hidden =
      0;  ///< 0: 4 dim (FeedForward), 8/3 dim rounded up to a multiple of 8 (SwiGlu)
  bool bias = true;
  double dropout = 0;
};

/// c_proj(gelu(c_fc(x))), GPT-2's feed-forward with the tanh GELU. (..., dim) -> (..., dim).
struct FeedForward : Module {
  FeedForward(Module* owner, std::string name, FeedForwardOptions options);
  explicit FeedForward(FeedForwardOptions options) : FeedForward(nullptr, "", options) {}
  Tensor operator()(const Tensor& x) const {
    const Scope here = enter();
    return dropout(c_proj(gelu(c_fc(x), Gelu::tanh)));
  }

  Linear c_fc, c_proj;
  Dropout dropout;
};

/// down_proj(silu(gate_proj(x)) * up_proj(x)): Shazeer 2020, 2002.05202, with Llama's names. (...,
/// dim) -> (..., dim).
struct SwiGlu : Module {
  SwiGlu(Module* owner, std::string name, FeedForwardOptions options);
  explicit SwiGlu(FeedForwardOptions options) : SwiGlu(nullptr, "", options) {}
  Tensor operator()(const Tensor& x) const {
    const Scope here = enter();
    return dropout(down_proj(swiglu(gate_proj(x), up_proj(x))));
  }

  Linear gate_proj, up_proj, down_proj;
  Dropout dropout;
};

}  // namespace xgrad::inline XGRAD_PRECISION
