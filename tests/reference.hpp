// Numbers that a short PyTorch program printed: its inputs, and comparison with its results.
#pragma once

#include <cmath>
#include <vector>

#include <xgrad/core/ops.hpp>
#include <xgrad/nn/module.hpp>

#include "catch.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {

/// The elements of x are those expected, to 1e-11 in double and 2e-6 in float.
inline void check_near(const Tensor& x, const std::vector<double>& expected) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    if (std::isinf(expected[i]))
      CHECK(x.data()[i] == static_cast<real>(expected[i]));
    else
      CHECK_THAT(x.data()[i], WithinAbs(expected[i], sizeof(real) == 8 ? 1e-11 : 2e-6));
  }
}

/// scale sin(0.7 i + phase) as element i, as in that program.
inline void fill_wave(Tensor x, double phase, double scale = 1) {
  for (std::size_t i = 0; i < x.size(); ++i)
    x.mutable_data()[i] = static_cast<real>(scale * std::sin(0.7 * static_cast<double>(i) + phase));
}

inline Tensor wave(const Ints& shape, double phase) {
  Tensor x = zeros(shape);
  fill_wave(x, phase);
  return x;
}

/// Each parameter a wave of half the height and a phase of its own.
inline void fill_waves(const Module& layer) {
  double phase = 0;
  for (const Tensor& parameter : layer.parameters()) fill_wave(parameter, phase += 0.1, 0.5);
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
