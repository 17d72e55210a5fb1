// Low-rank factors from decompositions; see factors.hpp.
#include <xgrad/nn/lora/factors.hpp>

#include <algorithm>
#include <cmath>

#include <xgrad/core/kernels/decompose.hpp>
#include <xgrad/core/random.hpp>

namespace xgrad::inline XGRAD_PRECISION::lora {
namespace {

using Doubles = std::vector<double>;

/// The leading singular triplets of a matrix (m, n).
struct Triplets {
  std::size_t count;
  Doubles left, sigma, right;  // (m, count), (count), (count, n)
};

void check(const char* method, const char* what, const Tensor& matrix, std::size_t rank) {
  require(matrix.defined(), method, ": the ", what, " is undefined");
  require<ShapeError>(matrix.ndim() == 2, method, ": needs a ", what, " (out, in), got shape ",
                      matrix.shape());
  const std::size_t limit = std::min(matrix.size(0), matrix.size(1));
  require(rank >= 1 && rank <= limit, method, ": rank ", rank, " is outside [1, ", limit,
          "] for a ", what, " ", matrix.shape());
  require(std::all_of(matrix.data(), matrix.data() + matrix.size(),
                      [](real x) { return std::isfinite(x); }),
          method, ": NaN or Inf in the ", what, " ", matrix.shape());
}

void check_scale(const char* method, double scale) {
  require(scale > 0 && std::isfinite(scale), method, ": scale must be finite and above 0, got ",
          scale);
}

/// The factor that makes the first of a vector's largest entries positive. What differs by rounding
/// alone counts as equal, so that the sign is not the rounding's.
double sign_of(const double* vector, std::size_t count) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(vector[i]));
  const double* first = std::find_if(
      vector, vector + count, [largest](double x) { return std::abs(x) >= largest * (1 - 1e-9); });
  return *first < 0 ? -1 : 1;
}

Triplets exact(std::size_t m, std::size_t n, Doubles matrix) {
  const std::size_t k = std::min(m, n);
  Triplets t{k, Doubles(m * k), Doubles(k), Doubles(k * n)};
  kernels::svd(m, n, matrix.data(), t.left.data(), t.sigma.data(), t.right.data());
  return t;
}

/// An orthonormal basis of what `width` columns span: (m, width), width <= m.
Doubles basis(std::size_t m, std::size_t width, Doubles columns) {
  Doubles q(m * width);
  kernels::qr(m, width, columns.data(), q.data(), nullptr);
  return q;
}

Triplets randomized(std::size_t m, std::size_t n, const Doubles& matrix, std::size_t width,
                    const SvdOptions& options) {
  const auto multiply = [&](bool transposed, const Doubles& x) {  // the matrix times (…, width)
    Doubles y((transposed ? n : m) * width);
    kernels::multiply(transposed ? n : m, width, transposed ? m : n, matrix.data(), transposed,
                      x.data(), false, y.data());
    return y;
  };
  Rng rng(options.seed);
  Doubles omega(n * width);
  for (double& x : omega) x = normal_quantile(rng.uniform64() + 0x1p-54);  // never 0
  Doubles q = basis(m, width, multiply(false, omega));
  for (std::size_t i = 0; i < options.power_iterations; ++i)
    q = basis(m, width, multiply(false, basis(n, width, multiply(true, q))));
  Doubles projected(width * n);
  kernels::multiply(width, n, m, q.data(), true, matrix.data(), false, projected.data());
  Triplets t = exact(width, n, std::move(projected));
  Doubles left(m * t.count);
  kernels::multiply(m, t.count, width, q.data(), false, t.left.data(), false, left.data());
  t.left = std::move(left);
  return t;
}

Triplets leading_triplets(const Tensor& x, std::size_t count, const SvdOptions& options) {
  const std::size_t m = x.size(0), n = x.size(1), shorter = std::min(m, n);
  const bool all = options.method == SvdOptions::exact ||
                   (options.method == SvdOptions::automatic && shorter <= 1024);
  Doubles matrix(x.data(), x.data() + x.size());
  // Twice as many as wanted, and at least 8 more.
  const std::size_t width = std::min(shorter, std::max(2 * count, count + 8));
  Triplets t = all ? exact(m, n, std::move(matrix)) : randomized(m, n, matrix, width, options);
  for (std::size_t i = 0; i < t.count; ++i)
    if (sign_of(&t.right[i * n], n) < 0) {
      for (std::size_t j = 0; j < n; ++j) t.right[i * n + j] *= -1;
      for (std::size_t j = 0; j < m; ++j) t.left[j * t.count + i] *= -1;
    }
  return t;
}

/// scales[i] times right vector `first` + i as row i, (rank, n).
Tensor rows_of(const Triplets& t, std::size_t n, std::size_t first, const Doubles& scales) {
  Tensor x = Tensor::empty({scales.size(), n});
  for (std::size_t i = 0; i < scales.size(); ++i)
    for (std::size_t j = 0; j < n; ++j)
      x.mutable_data()[i * n + j] = static_cast<real>(scales[i] * t.right[(first + i) * n + j]);
  return x;
}

/// scales[i] times left vector `first` + i as column i, (m, rank).
Tensor columns_of(const Triplets& t, std::size_t m, std::size_t first, const Doubles& scales) {
  Tensor x = Tensor::empty({m, scales.size()});
  for (std::size_t j = 0; j < m; ++j)
    for (std::size_t i = 0; i < scales.size(); ++i)
      x.mutable_data()[j * scales.size() + i] =
          static_cast<real>(scales[i] * t.left[j * t.count + first + i]);
  return x;
}

/// The roots of the first `rank` of sigma / scale.
Doubles roots(const Doubles& sigma, std::size_t rank, double scale) {
  Doubles result(rank);
  for (std::size_t i = 0; i < rank; ++i) result[i] = std::sqrt(sigma[i] / scale);
  return result;
}

}  // namespace

Factors pissa_factors(const Tensor& weight, std::size_t rank, double scale, SvdOptions svd) {
  check("PiSSA", "weight", weight, rank);
  check_scale("PiSSA", scale);
  const Triplets t = leading_triplets(weight, rank, svd);
  const Doubles halves = roots(t.sigma, rank, scale);
  return {rows_of(t, weight.size(1), 0, halves), columns_of(t, weight.size(0), 0, halves)};
}

Factors olora_factors(const Tensor& weight, std::size_t rank) {
  check("OLoRA", "weight", weight, rank);
  const std::size_t m = weight.size(0), n = weight.size(1), k = std::min(m, n);
  Doubles matrix(weight.data(), weight.data() + weight.size()), q(m * k), r(k * n);
  kernels::qr(m, n, matrix.data(), q.data(), r.data());
  Factors f{Tensor::empty({rank, n}), Tensor::empty({m, rank})};
  for (std::size_t i = 0; i < rank; ++i) {
    const double sign = r[i * n + i] < 0 ? -1 : 1;
    for (std::size_t j = 0; j < n; ++j)
      f.A.mutable_data()[i * n + j] = static_cast<real>(sign * r[i * n + j]);
    for (std::size_t j = 0; j < m; ++j)
      f.B.mutable_data()[j * rank + i] = static_cast<real>(sign * q[j * k + i]);
  }
  return f;
}

double ga_kappa(GaScale how, const Tensor& weight, std::size_t rank, double scale, double gamma,
                SvdOptions svd) {
  check("LoraGa", "weight", weight, rank);
  check_scale("LoraGa", scale);
  require(gamma > 0 && std::isfinite(gamma), "LoraGa: gamma must be finite and above 0, got ",
          gamma);
  switch (how) {
    case GaScale::stable:
      return std::pow(static_cast<double>(weight.size(0)), 0.25) / std::sqrt(gamma);
    case GaScale::gd:
      return 1 / scale;
    case GaScale::unit:
      return 1;
    case GaScale::weight:
      break;
  }
  double sum = 0;
  for (const double root : roots(leading_triplets(weight, rank, svd).sigma, rank, scale))
    sum += root;
  return sum / static_cast<double>(rank);
}

double GaStart::alignment() const {
  double square = 0;
  for (const double s : sigma) square += s * s;
  return std::min(1.0, std::sqrt(square) / norm);
}

GaStart lora_ga_factors(const Tensor& gradient, std::size_t rank, double kappa, SvdOptions svd) {
  check("LoraGa", "gradient", gradient, rank);
  check_scale("LoraGa", kappa);
  const std::size_t m = gradient.size(0), n = gradient.size(1), both = 2 * rank;
  require(both <= std::min(m, n), "LoraGa: rank ", rank, " needs ", both,
          " singular vectors, weight [", m, ", ", n, "] has ", std::min(m, n));
  double square = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i)
    square += static_cast<double>(gradient.data()[i]) * gradient.data()[i];
  require(square > 0, "LoraGa: the gradient ", gradient.shape(), " is 0 everywhere");
  Triplets t = leading_triplets(gradient, both, svd);
  t.sigma.resize(both);
  const Doubles kappas(rank, kappa);
  return {{rows_of(t, n, 0, kappas), columns_of(t, m, rank, kappas)}, t.sigma, std::sqrt(square)};
}

}  // namespace xgrad::inline XGRAD_PRECISION::lora
