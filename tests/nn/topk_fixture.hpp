// What the tests of top-k operators share: all operators, gradients, and comparison with printed
// numbers.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/topk.hpp>

#include "catch.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {

using Numbers = std::vector<double>;

struct Named {
  std::string name;
  std::shared_ptr<const TopK> op;
};

inline std::vector<Named> threshold_operators() {
  return {{"sigmoid", std::make_shared<SigmoidTopK>()},
          {"min(1, exp)", std::make_shared<MinExpTopK>()},
          {"Laplace", std::make_shared<LaplaceTopK>()},
          {"p = 2", std::make_shared<SparseTopK<1>>()},
          {"p = 3/2", std::make_shared<SparseTopK<2>>()},
          {"p = 4/3", std::make_shared<SparseTopK<3>>()}};
}

/// Those that promise a mask in [0, 1], of sum k, in order, unchanged by a shift.
inline std::vector<Named> convex_operators() {
  std::vector<Named> all = threshold_operators();
  all.push_back({"GradTopK", std::make_shared<GradTopK>()});
  all.push_back({"GradTopK halved", std::make_shared<GradTopK>(GradTopKOptions{.leaf = 3})});
  return all;
}

inline std::vector<Named> all_operators() {
  std::vector<Named> all = convex_operators();
  all.push_back({"SoftKMax", std::make_shared<SoftKMax>()});
  all.push_back({"SequentialSoftmax", std::make_shared<SequentialSoftmax>()});
  return all;
}

inline Tensor tensor_of(const Numbers& numbers) {
  return tensor(std::vector<real>(numbers.begin(), numbers.end()), {numbers.size()});
}
inline Tensor tensor_of(const Numbers& numbers, const Ints& shape) {
  return tensor(std::vector<real>(numbers.begin(), numbers.end()), shape);
}

/// A mask, and the gradients of <g, mask>.
struct Masked {
  Tensor y, dx, dtau, dk;
};

inline Masked mask(const TopK& op, const Tensor& scores, const TopKCount& k, real tau,
                   const Tensor& g) {
  Tensor x = scores.clone(), t = scalar(tau), count = k.tensor().clone();
  x.requires_grad_();
  t.requires_grad_();
  count.requires_grad_();
  Tape tape;
  const Tensor y = op(x, k.is_at_most() ? at_most(count) : TopKCount(count), t);
  tape.backward(y, g);
  return {y.detach(), x.grad(), t.grad(), count.grad()};
}

/// As printed in double, to half of the last digit; to `single` in float.
inline void check_printed(const Tensor& x, const Numbers& expected, double last_digit = 1e-10,
                          double single = 2e-6) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(expected[i], sizeof(real) == 8 ? 0.6 * last_digit : single));
  }
}

inline double sum_of(const Tensor& x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x.data()[i];
  return sum;
}

inline double largest(const Tensor& x) {
  double most = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    most = std::isnan(x.data()[i]) ? INFINITY : std::max(most, std::abs(double(x.data()[i])));
  return most;
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
