// The small problem on which low-rank adapters are checked by hand, and matrices as text.
// Texts are (in, out) for weights, (in, rank) for A, (rank, out) for B; tensors are the transposes,
// which is what layers store.
#pragma once

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <xgrad/core/ops.hpp>

#include "catch.hpp"

namespace xgrad::inline XGRAD_PRECISION::testing {

/// "1 2/3; .5 -1" / divisor, transposed: (2, 2) here.
inline Tensor matrix(const std::string& text, double divisor = 1) {
  std::vector<std::vector<double>> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line, ';');) {
    std::istringstream words(line);
    rows.emplace_back();
    for (std::string word; words >> word;) {
      const std::size_t slash = word.find('/');
      const double below = slash == std::string::npos ? 1 : std::stod(word.substr(slash + 1));
      rows.back().push_back(std::stod(word) / below / divisor);
    }
  }
  Tensor x = Tensor::empty({rows[0].size(), rows.size()});
  for (std::size_t i = 0; i < rows.size(); ++i) {
    REQUIRE(rows[i].size() == rows[0].size());
    for (std::size_t j = 0; j < rows[i].size(); ++j)
      x.mutable_data()[j * rows.size() + i] = static_cast<real>(rows[i][j]);
  }
  return x;
}

/// n = 4 in, m = 3 out, r = 2, alpha = 4, s = 2.
struct SmallProblem {
  Tensor W = matrix("2 -1 0; 0 1 3; 1 1 -2; -1 0 1"), A = matrix("1 0; 2 1; 0 -1; 1 1"),
         B = matrix("1 0 2; -1 1 0"), G = matrix("1 2 0; 0 -1 1; 3 0 -1; 1 1 2"),
         Y = matrix("1 0 2; 0 -1 1; 2 1 0; 1 1 1");
  double s = 2;
};

inline double frobenius(const Tensor& x) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(x.data()[i]) * x.data()[i];
  return std::sqrt(sum);
}

inline double dot(const Tensor& x, const Tensor& y) {
  REQUIRE(x.shape() == y.shape());
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(x.data()[i]) * y.data()[i];
  return sum;
}

/// All elements agree: to `digits` in double, to 1e-5 of the largest element in float.
inline void check_close(const Tensor& x, const Tensor& expected, double digits = 1e-12) {
  REQUIRE(x.shape() == expected.shape());
  double largest = 1;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(expected.data()[i])));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(static_cast<double>(expected.data()[i]),
                                      sizeof(real) == 8 ? digits * largest : 1e-5 * largest));
  }
}

inline void check_close(double x, double expected, double digits = 1e-12) {
  CHECK_THAT(x, WithinAbs(expected,
                          (sizeof(real) == 8 ? digits : 1e-5) * std::max(1.0, std::abs(expected))));
}

}  // namespace xgrad::inline XGRAD_PRECISION::testing
