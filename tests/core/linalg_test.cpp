// Linear algebra: values and gradients against PyTorch, what the results must satisfy, empty and
// batched matrices. Finite differences and errors are in the rows of the table.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

void check(const Tensor& x, const std::vector<double>& expected) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK_THAT(x.data()[i], WithinAbs(expected[i], 1e-5));
}

double distance(const Tensor& a, const Tensor& b) { return max(abs(a - b)).item(); }

Tensor random(const Ints& shape) {
  Rng rng(5);
  return randn(shape, rng);
}

/// Gradients of sum(weights * f(xs)), weights 1, 2, 3, …
template <class F>
std::vector<Tensor> gradients_of(const F& f, std::vector<Tensor> xs) {
  for (Tensor& x : xs) x.requires_grad_();
  Tape tape;
  const Tensor y = f(xs);
  return tape.gradient(y, xs, {}, reshape(arange(1, static_cast<real>(y.size() + 1)), y.shape()));
}

const double accuracy = sizeof(real) == 8 ? 1e-12 : 2e-4;

}  // namespace

TEST_CASE("solve, inverse, cholesky and svd_values agree with PyTorch", "[ops][linalg]") {
  const Tensor a = tensor({4, 1, 2, 1, 3, 0, 2, -1, 5}, {3, 3}),
               b = tensor({1, 2, 3, 4, 5, 6}, {3, 2}),
               symmetric = tensor({4, 1, 2, 1, 3, 0, 2, 0, 5}, {3, 3}),
               wide = tensor({1, 2, 3, 4, 5, 7}, {2, 3}), tall = tensor({1, 2, 3, 4, 5, 7}, {3, 2});
  check(solve(a, b), {-0.87804878, -0.829268293, 1.29268293, 1.6097561, 1.6097561, 1.85365854});
  const auto of_solve = gradients_of([](const auto& x) { return solve(x[0], x[1]); }, {a, b});
  check(of_solve[0], {-1.39678763, 2.35990482, 2.82093992, 3.25996431, -5.61511005, -6.67578822,
                      2.43188578, -4.16835217, -4.96252231});
  check(of_solve[1], {-0.853658537, -0.780487805, 1.73170732, 2.09756098, 1.34146341, 1.51219512});
  check(inverse(a), {0.365853659, -0.170731707, -0.146341463, -0.12195122, 0.390243902,
                     0.0487804878, -0.170731707, 0.146341463, 0.268292683});
  check(gradients_of([](const auto& x) { return inverse(x[0]); }, {a})[0],
        {0.0981558596, 0.381915526, 0.271267103, 0.0517549078, -0.944080904, -0.838786437,
         -0.0148720999, -0.694229625, -0.586555622});
  check(cholesky(symmetric), {2, 0, 0, 0.5, 1.6583124, 0, 1, -0.301511345, 1.97714211});
  check(gradients_of([](const auto& x) { return cholesky(x[0]); }, {symmetric})[0],
        {0.526815828, -0.918295288, -0.0944840118, -0.918295288, 2.02135876, 2.8259112,
         -0.0944840118, 2.8259112, 2.27601242});
  check(svd_values(wide), {10.1814717, 0.581063325});
  check(gradients_of([](const auto& x) { return svd_values(x[0]); }, {wide})[0],
        {-1.53078604, 0.336390231, 1.0709124, 1.02875747, 0.436456255, 0.384507937});
  check(svd_values(tall), {10.1914283, 0.367137686});
  check(gradients_of([](const auto& x) { return svd_values(x[0]); }, {tall})[0],
        {-1.40437297, 1.26532072, 0.840786564, 0.00368870037, 0.558993362, 0.638193408});
}

TEST_CASE("decompositions of random batches put the matrices together again", "[ops][linalg]") {
  const Tensor a = random({4, 3, 20, 20}), b = random({3, 20, 7});
  CHECK(distance(matmul(a, solve(a, b)), broadcast_to(b, {4, 3, 20, 7})) < 100 * accuracy);
  CHECK(distance(matmul(a, inverse(a)), matmul(inverse(a), a)) < 100 * accuracy);
  const Tensor square = matmul(a, a, {.transpose_b = true}), l = cholesky(square);
  CHECK(distance(matmul(l, l, {.transpose_b = true}), square) < accuracy);
  CHECK(values(tril(l)) == values(l));
  const Tensor s = svd_values(a);
  CHECK(distance(sum(s * s, -1), sum(a * a, {2, 3})) < 20 * accuracy);
}

TEST_CASE("a vector on the right is solved for every matrix", "[ops][linalg]") {
  const Tensor a = tensor({2, 0, 0, 4, 1, 1, 0, 1}, {2, 2, 2});
  CHECK(values(solve(a, tensor({2, 4}))) == std::vector<real>{1, 1, -2, 4});
  CHECK(solve(a, ones({2, 1})).shape() == Shape{2, 2, 1});
}

TEST_CASE("NaN on the right stays in its column", "[ops][linalg]") {
  const real nan = std::numeric_limits<real>::quiet_NaN();
  const Tensor x = solve(tensor({2, 1, 0, 4}, {2, 2}), tensor({nan, 3, 1, 4}, {2, 2}));
  CHECK(std::isnan(x.data()[0]));
  CHECK(x.data()[1] == 1);
  CHECK(x.data()[3] == 1);
}

TEST_CASE("cholesky reads the lower triangle alone", "[ops][linalg]") {
  CHECK(values(cholesky(tensor({4, -100, 2, 5}, {2, 2}))) == std::vector<real>{2, 0, 1, 2});
}

TEST_CASE("empty matrices and empty batches are no error", "[ops][linalg]") {
  CHECK(inverse(zeros({0, 0})).shape() == Shape{0, 0});
  CHECK(inverse(zeros({0, 3, 3})).shape() == Shape{0, 3, 3});
  CHECK(solve(zeros({0, 0}), zeros({0, 2})).shape() == Shape{0, 2});
  CHECK(solve(ones({1, 1}), zeros({1, 0})).shape() == Shape{1, 0});
  CHECK(solve(zeros({2, 0, 0}), zeros({0})).shape() == Shape{2, 0});
  CHECK(cholesky(zeros({2, 0, 0})).shape() == Shape{2, 0, 0});
  CHECK(svd_values(zeros({3, 0})).shape() == Shape{0});
  CHECK(svd_values(zeros({0, 3, 2})).shape() == Shape{0, 2});
}

TEST_CASE("the error names the first matrix that fails, on any number of threads",
          "[ops][linalg]") {
  Tensor a = random({500, 8, 8});
  for (const std::size_t i : {499, 321, 77}) {
    std::fill_n(a.mutable_data() + i * 64, 64, real(1));
    for (const int threads : {1, 3}) {
      set_num_threads(threads);
      CHECK(error_of([&] { inverse(a); }) ==
            "inverse: matrix " + std::to_string(i) + " of shape (500, 8, 8) is singular");
    }
  }
}

TEST_CASE("svd_values says that it has no second derivative", "[ops][linalg]") {
  Tensor a = random({3, 3});
  a.requires_grad_();
  Tape tape;
  const Tensor s = sum(svd_values(a));
  CHECK(error_of([&] { tape.gradient(s, a, {.record = true}); }) ==
        "svd_values: has no second derivative: its rule takes the singular vectors for constants");
}
