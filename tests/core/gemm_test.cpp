// The matrix product's kernel against three loops in double: every edge of tiles, panels and
// passes. Products as operations are in tests/op_table/math.cpp.
#include <xgrad/core/kernels/gemm.hpp>

#include <cmath>
#include <limits>
#include <vector>

#include <xgrad/core/parallel.hpp>
#include <xgrad/core/random.hpp>
#include "catch.hpp"

using namespace xgrad;
using kernels::Matrix;

namespace {

struct Case {
  std::size_t m, n, k;
  bool transpose_a, transpose_b;
  kernels::GemmOptions options = {};
};

std::vector<real> numbers(std::size_t count, Rng& rng) {
  std::vector<real> values(count);
  for (real& value : values) value = static_cast<real>(rng.uniform64() - 0.5);
  return values;
}

/// The largest difference from the product in double, in units of what rounding explains. Rows of
/// all matrices lie further apart than they are long; what lies between must stay untouched.
double error_of(const Case& c, Rng& rng) {
  const std::size_t gap = 3, a_stride = (c.transpose_a ? c.m : c.k) + gap,
                    b_stride = (c.transpose_b ? c.k : c.n) + gap, c_stride = c.n + gap;
  const std::vector<real> a = numbers((c.transpose_a ? c.k : c.m) * a_stride, rng),
                          b = numbers((c.transpose_b ? c.n : c.k) * b_stride, rng),
                          before = numbers(c.m * c_stride, rng);
  std::vector<real> result = before;
  kernels::gemm(c.m, c.n, c.k, {a.data(), a_stride, c.transpose_a},
                {b.data(), b_stride, c.transpose_b}, result.data(), c_stride, c.options);
  double worst = 0;
  for (std::size_t i = 0; i < c.m; ++i) {
    for (std::size_t j = 0; j < c.n; ++j) {
      double sum = c.options.accumulate ? before[i * c_stride + j] : 0;
      if (c.options.bias) sum += c.options.bias[j];
      for (std::size_t p = 0; p < c.k; ++p)
        sum += static_cast<double>(a[c.transpose_a ? p * a_stride + i : i * a_stride + p]) *
               b[c.transpose_b ? j * b_stride + p : p * b_stride + j];
      worst = std::max(worst, std::abs(result[i * c_stride + j] - sum));
    }
    for (std::size_t j = c.n; j < c_stride; ++j)
      if (result[i * c_stride + j] != before[i * c_stride + j]) return 1e9;
  }
  return worst / (std::numeric_limits<real>::epsilon() * (static_cast<double>(c.k) + 8));
}

}  // namespace

TEST_CASE("products are right at every edge of tiles, panels and passes", "[gemm]") {
  Rng rng(1);
  const std::vector<real> bias = numbers(1000, rng);
  for (const std::size_t m : {1, 3, 8, 20, 103})
    for (const std::size_t n : {1, 16, 17, 48, 82})
      for (const std::size_t k : {1, 16, 391})
        for (const int flags : {0, 1, 2, 3}) {
          INFO(m << " x " << n << " x " << k << ", transposed " << flags);
          const bool ta = flags & 1, tb = flags & 2;
          REQUIRE(error_of({m, n, k, ta, tb}, rng) < 0.25);
          REQUIRE(error_of({m, n, k, ta, tb, {.accumulate = true, .bias = bias.data()}}, rng) <
                  0.25);
        }
}

TEST_CASE("a product whose right factor is packed in strips is right", "[gemm]") {
  Rng rng(2);
  CHECK(error_of({2, 110, 40000, false, true}, rng) < 0.25);
  CHECK(error_of({3, 50, 90000, true, false}, rng) < 0.25);
}

TEST_CASE("an empty product is the bias, or what was there", "[gemm]") {
  const std::vector<real> bias = {1, 2};
  std::vector<real> c = {5, 6, 7, 8};
  kernels::gemm(2, 2, 0, {nullptr, 0}, {nullptr, 2}, c.data(), 2,
                {.accumulate = true, .bias = bias.data()});
  CHECK(c == std::vector<real>{6, 8, 8, 10});
  kernels::gemm(2, 2, 0, {nullptr, 0}, {nullptr, 2}, c.data(), 2);
  CHECK(c == std::vector<real>{0, 0, 0, 0});
}

TEST_CASE("NaN and infinity reach their row and column of a product, and no other", "[gemm]") {
  constexpr std::size_t size = 50;
  std::vector<real> a(size * size, 1), b(size * size, 1), c(size * size);
  a[3 * size + 7] = std::numeric_limits<real>::quiet_NaN();
  b[9 * size + 49] = std::numeric_limits<real>::infinity();
  kernels::gemm(size, size, size, {a.data(), size}, {b.data(), size}, c.data(), size);
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) {
      const real value = c[i * size + j];
      INFO(i << ", " << j);
      REQUIRE((i == 3 ? std::isnan(value) : j == 49 ? std::isinf(value) : value == size));
    }
}

TEST_CASE("a product has the same bits on any number of threads", "[gemm]") {
  Rng rng(3);
  const std::size_t m = 300, n = 500, k = 700;
  const std::vector<real> a = numbers(m * k, rng), b = numbers(n * k, rng);
  std::vector<real> first(m * n), c(m * n);
  const int threads = num_threads();
  for (const int count : {1, 2, 3}) {
    set_num_threads(count);
    kernels::gemm(m, n, k, {a.data(), k}, {b.data(), k, true}, c.data(), n);
    if (count == 1) first = c;
    CHECK(c == first);
  }
  set_num_threads(threads);
}
