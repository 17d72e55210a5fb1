// SinusoidalPosition: fixed waves of many lengths, added to the embeddings.
#pragma once

#include <xgrad/nn/position/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Embeddings times sqrt(D), plus PE[p, 2i] = sin(p 10000^(-2i/D)), PE[p, 2i+1] = cos(same):
/// Vaswani et al. 2017 (1706.03762), section 3.5.
struct SinusoidalPosition : Position {
  Tensor on_embedding(const Tensor& x, std::size_t start) const override;
};

}  // namespace xgrad::inline XGRAD_PRECISION
