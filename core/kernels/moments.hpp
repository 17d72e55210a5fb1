// Mean and squared deviations of rows of plain memory, in one visit.
// Axes, derivatives and var itself: ops/reduce.cpp. Normalization has its own: norm.hpp.
#pragma once

#include <cstddef>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// mean = sum_j x_j / n and squares = sum_j (x_j - mean)^2 of each row: (rows, n) -> (rows) twice.
void moments(const real* x, std::size_t rows, std::size_t n, real* mean, real* squares);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
