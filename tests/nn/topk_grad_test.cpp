// GradTopK against its definition, the sum over all subsets, against logarithms, and its engines
// against each other.
#include "topk_fixture.hpp"

#include <bit>
#include <limits>

using namespace xgrad;
using namespace xgrad::testing;

namespace {

/// y and J g by enumeration of all subsets of k of n.
struct Enumerated {
  Numbers y, dx;
};

Enumerated enumerate(const Tensor& x, std::size_t k, double tau, const Tensor& g) {
  const std::size_t n = x.size();
  double highest = -INFINITY, total = 0, mean = 0;
  Numbers y(n), with(n);
  const auto energy = [&](unsigned set, const Tensor& t) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i)
      if (set >> i & 1) sum += t.data()[i];
    return sum;
  };
  for (unsigned set = 0; set < 1U << n; ++set)
    if (std::popcount(set) == int(k)) highest = std::max(highest, energy(set, x) / tau);
  for (unsigned set = 0; set < 1U << n; ++set) {
    if (std::popcount(set) != int(k)) continue;
    const double weight = std::exp(energy(set, x) / tau - highest), gain = energy(set, g);
    total += weight;
    mean += weight * gain;
    for (std::size_t i = 0; i < n; ++i)
      if (set >> i & 1) {
        y[i] += weight;
        with[i] += weight * gain;
      }
  }
  Numbers dx(n);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] /= total;
    dx[i] = (with[i] / total - y[i] * mean / total) / tau;
  }
  return {y, dx};
}

double difference(const Tensor& a, const Numbers& b) {
  double most = 0;
  for (std::size_t i = 0; i < b.size(); ++i) most = std::max(most, std::abs(a.data()[i] - b[i]));
  return most;
}

/// log e_j(exp u) for all j <= k and prefixes, in logarithms throughout: slow and safe.
Numbers log_inclusion(const Numbers& u, std::size_t k) {
  const std::size_t n = u.size();
  const auto add = [](double a, double b) {
    const double most = std::max(a, b);
    return std::isinf(most) ? most : most + std::log(std::exp(a - most) + std::exp(b - most));
  };
  const auto extend = [&](Numbers row, double ui) {
    for (std::size_t j = k; j > 0; --j) row[j] = add(row[j], ui + row[j - 1]);
    return row;
  };
  Numbers empty(k + 1, -INFINITY);
  empty[0] = 0;
  std::vector<Numbers> before{empty}, after{empty};
  for (std::size_t i = 0; i < n; ++i) before.push_back(extend(before.back(), u[i]));
  for (std::size_t i = n; i-- > 0;) after.push_back(extend(after.back(), u[i]));
  Numbers y(n);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = -INFINITY;
    for (std::size_t j = 0; j < k; ++j) sum = add(sum, before[i][j] + after[n - 1 - i][k - 1 - j]);
    y[i] = std::exp(u[i] + sum - before[n][k]);
  }
  return y;
}

}  // namespace

TEST_CASE("GradTopK is the sum over all subsets", "[nn][topk]") {
  Rng rng(21);
  double worst_y = 0, worst_dx = 0;
  for (std::size_t problem = 0; problem < 400; ++problem) {
    const std::size_t n = 2 + problem % 9, k = 1 + problem / 9 % (n - 1);
    const double spread = std::pow(10, double(problem % 5) / 2 - 1), tau = .5 + problem % 3;
    Tensor x = randn({n}, rng) * static_cast<real>(spread);
    if (problem % 4 == 0) x = round(x);  // ties
    const Tensor g = randn({n}, rng);
    const Enumerated expected = enumerate(x, k, tau, g);
    for (const std::size_t leaf : {0, 1, 3}) {
      const Masked m = mask(GradTopK({.leaf = leaf}), x, k, static_cast<real>(tau), g);
      worst_y = std::max(worst_y, difference(m.y, expected.y));
      worst_dx = std::max(worst_dx, difference(m.dx, expected.dx));
    }
  }
  INFO("y " << worst_y << ", dx " << worst_dx);
  CHECK(worst_y < (sizeof(real) == 8 ? 1e-14 : 1e-6));
  CHECK(worst_dx < (sizeof(real) == 8 ? 3e-14 : 4e-6));
}

TEST_CASE("GradTopK agrees with a recursion of logarithms", "[nn][topk]") {
  Rng rng(22);
  for (const auto& [n, k, spread] :
       {std::tuple(100UL, 30UL, 1.), {100UL, 50UL, 5.}, {300UL, 7UL, 30.}, {300UL, 290UL, .1}}) {
    const Tensor x = randn({n}, rng) * static_cast<real>(spread);
    const Numbers expected = log_inclusion({x.data(), x.data() + n}, k);
    for (const std::size_t leaf : {0, 8, 32}) {
      INFO("n = " << n << ", k = " << k << ", spread " << spread << ", leaf " << leaf);
      CHECK(difference(GradTopK({.leaf = leaf})(x, k), expected) <
            (sizeof(real) == 8 ? 1e-12 : 1e-6));
    }
  }
}

TEST_CASE("GradTopK's engines agree on long rows", "[nn][topk]") {
  Rng rng(23);
  for (const auto& [n, k] : {std::pair(1000UL, 100UL), {5000UL, 10UL}, {2000UL, 1500UL}}) {
    const Tensor x = randn({n}, rng), g = randn({n}, rng);
    const Masked whole = mask(GradTopK({.leaf = n}), x, k, 1, g);
    for (const std::size_t leaf : {8, 32, 100}) {
      const Masked halved = mask(GradTopK({.leaf = leaf}), x, k, 1, g);
      INFO("n = " << n << ", k = " << k << ", leaf " << leaf);
      CHECK(largest(halved.y - whole.y) < (sizeof(real) == 8 ? 1e-13 : 5e-7));
      CHECK(largest(halved.dx - whole.dx) < (sizeof(real) == 8 ? 1e-12 : 8e-6));
      CHECK_THAT(double(halved.dtau.item()),
                 WithinRel(double(whole.dtau.item()), sizeof(real) == 8 ? 1e-9 : 1e-3));
    }
  }
}

TEST_CASE("GradTopK's Fenchel-Young loss is the likelihood of a set", "[nn][topk]") {
  Rng rng(24);
  const Tensor x = randn({7}, rng);
  double total = 0;
  Numbers likelihood;
  for (unsigned set = 0; set < 1U << 7; ++set) {
    if (std::popcount(set) != 2) continue;
    Indices members = Indices::from_shape({2});
    for (unsigned i = 0, at = 0; i < 7; ++i)
      if (set >> i & 1) members.data()[at++] = i;
    total += std::exp(-GradTopK().fenchel_young(x, members, real(.8)).item());
  }
  CHECK_THAT(total, WithinAbs(1, sizeof(real) == 8 ? 1e-13 : 1e-5));
}
