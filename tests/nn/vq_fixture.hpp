// The fixture of the quantizers' tests: four codes, three vectors, and the gradient of a task that
// is linear in what the decoder sees. Results were computed in double by another program.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/vq.hpp>

#include "catch.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {

/// Code 1 is nobody's nearest.
inline Tensor fixture_codes() {
  return tensor({1, 0, real(.5), 0, 1, real(-.5), -1, real(.5), 0, real(.5), real(-.5), 1}, {4, 3});
}
inline Tensor fixture_vectors() {
  return tensor({real(.9), real(.2), real(.1), real(-.4), real(.8), real(.3), real(.2), real(-.3),
                 real(.7)},
                {3, 3})
      .requires_grad_();
}
inline Tensor fixture_gradient() {
  return tensor({1, -2, real(.5), real(.3), real(.4), real(-.1), real(-.5), real(.25), 2}, {3, 3});
}

/// The elements of x are those expected, to `digits` in double and 2e-5 in float.
inline void check_digits(const Tensor& x, const std::vector<double>& expected,
                         double digits = 1e-9) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(static_cast<double>(x.data()[i]),
               WithinAbs(expected[i],
                         sizeof(real) == 8 ? digits : 2e-5 * std::max(1.0, std::abs(expected[i]))));
  }
}

inline void check_codes(const Indices& codes, const std::vector<std::int64_t>& expected) {
  CHECK(std::vector<std::int64_t>(codes.begin(), codes.end()) == expected);
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0;
}

inline Tensor random(const Ints& shape, std::uint64_t seed) {
  Rng rng(seed);
  return randn(shape, rng);
}

inline void fill(Tensor x, const Tensor& values) {
  REQUIRE(x.shape() == values.shape());
  std::copy_n(values.data(), x.size(), x.mutable_data());
}

/// The fixture's codes as a codebook that does not choose its own.
inline std::shared_ptr<Codebook> fixture_codebook(double scale = 1) {
  auto codebook = std::make_shared<Codebook>(
      CodebookOptions{.codes = 4, .dim = 3, .init = CodebookInit::normal});
  fill(codebook->weight, fixture_codes() * static_cast<real>(scale));
  return codebook;
}

/// The loss of the task, whose gradient in `quantized` is the fixture's.
inline Tensor task_loss(const Tensor& quantized) { return sum(quantized * fixture_gradient()); }

}  // namespace xgrad::inline XGRAD_PRECISION::testing
