// Clipping against PyTorch (reference.py beside this file made the numbers), and at its edges.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/optim/clip.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr double tolerance = sizeof(real) == 4 ? 2e-6 : 1e-12;

const std::vector<double> unclipped{0.41530230586813977,  -0.5411468365471424, -0.9899924966004454,
                                    -0.40364362086361194, 0.9086621854632262,  2.085170286650366,
                                    0.6153023058681397,   -0.5161468365471424, -0.9149924966004455};

Tensor with_gradient(const std::vector<double>& values) {
  Tensor p = zeros({values.size()}).requires_grad_();
  p.set_grad(tensor(std::vector<real>(values.begin(), values.end()), {values.size()}));
  return p;
}

/// Two parameters with gradients, and one without.
std::vector<Tensor> parameters() {
  return {with_gradient({unclipped.begin(), unclipped.begin() + 6}), zeros({2}).requires_grad_(),
          with_gradient({unclipped.begin() + 6, unclipped.end()})};
}

void check_gradients(const std::vector<Tensor>& all, const std::vector<double>& expected) {
  std::size_t i = 0;
  for (const Tensor& p : all) {
    if (!p.grad().defined()) continue;
    for (std::size_t k = 0; k < p.size(); ++k)
      CHECK_THAT(static_cast<double>(p.grad().data()[k]), WithinAbs(expected.at(i++), tolerance));
  }
  CHECK(i == expected.size());
}

const real inf = std::numeric_limits<real>::infinity(),
           quiet_nan = std::numeric_limits<real>::quiet_NaN();

}  // namespace

TEST_CASE("clip_grad_norm scales gradients that are too long, as PyTorch does", "[optim]") {
  const std::vector<Tensor> p = parameters();
  CHECK_THAT(static_cast<double>(clip_grad_norm(p, 1)), WithinAbs(2.8747429563168265, 1e-6));
  check_gradients(p, {0.14446584189022263, -0.18824175118554537, -0.34437588586805534,
                      -0.1404102859236088, 0.3160845624065318, 0.7253412193696455,
                      0.2140372552192356, -0.17954532451941876, -0.3182866058696755});
  CHECK_FALSE(p[1].grad().defined());
}

TEST_CASE("clip_grad_norm leaves short gradients alone", "[optim]") {
  for (const real max_norm : {real(100), inf}) {
    const std::vector<Tensor> p = parameters();
    CHECK_THAT(static_cast<double>(clip_grad_norm(p, max_norm)),
               WithinAbs(2.8747429563168265, 1e-6));
    check_gradients(p, unclipped);
  }
}

TEST_CASE("clip_grad_norm of nothing is 0", "[optim]") {
  CHECK(clip_grad_norm(std::vector<Tensor>{}, 1) == 0);
  CHECK(clip_grad_norm(std::vector<Tensor>{zeros({3}).requires_grad_()}, 1) == 0);
  CHECK(clip_grad_norm(std::vector<Tensor>{with_gradient({0, 0})}, 0) == 0);
}

TEST_CASE("clip_grad_norm passes NaN and infinity on, as PyTorch does", "[optim]") {
  std::vector<Tensor> p{with_gradient({1, quiet_nan}), with_gradient({2})};
  CHECK(std::isnan(clip_grad_norm(p, 1)));
  CHECK(std::isnan(p[0].grad().data()[0]));
  CHECK(std::isnan(p[1].grad().data()[0]));
  p = {with_gradient({1, inf}), with_gradient({2})};
  CHECK(clip_grad_norm(p, 1) == inf);
  CHECK(p[0].grad().data()[0] == 0);
  CHECK(std::isnan(p[0].grad().data()[1]));
  CHECK(p[1].grad().data()[0] == 0);
}

TEST_CASE("the norm of many elements is exact to rounding and the same on any number of threads",
          "[optim]") {
  const int threads_before = num_threads();
  const std::size_t count = 1'000'003;
  Tensor p = zeros({count}).requires_grad_();
  p.set_grad(full({count}, 1));
  CHECK(clip_grad_norm(std::vector<Tensor>{p}, inf) == static_cast<real>(std::sqrt(1'000'003.0)));
  Rng rng(3);
  const Tensor noise = randn({count}, rng);
  const auto clipped = [&](int threads) {
    set_num_threads(threads);
    p.set_grad(noise.clone());
    const real norm = clip_grad_norm(std::vector<Tensor>{p}, 1);
    return std::pair(norm, p.grad());
  };
  const auto [norm, grad] = clipped(1);
  for (const int threads : {2, 3}) {
    const auto [other_norm, other_grad] = clipped(threads);
    CHECK(other_norm == norm);
    CHECK(std::memcmp(other_grad.data(), grad.data(), count * sizeof(real)) == 0);
  }
  set_num_threads(threads_before);
}

TEST_CASE("clip_grad_value limits every element, and NaN stays", "[optim]") {
  const std::vector<Tensor> p = parameters();
  clip_grad_value(p, real(0.5));
  check_gradients(
      p, {0.41530230586813977, -0.5, -0.5, -0.40364362086361194, 0.5, 0.5, 0.5, -0.5, -0.5});
  const Tensor odd = with_gradient({quiet_nan, inf, -inf, 0.25});
  clip_grad_value(std::vector<Tensor>{odd}, 1);
  CHECK(std::isnan(odd.grad().data()[0]));
  CHECK(odd.grad().data()[1] == 1);
  CHECK(odd.grad().data()[2] == -1);
  CHECK(odd.grad().data()[3] == real(0.25));
}

TEST_CASE("limits below 0 are refused, and nothing changes", "[optim]") {
  const std::vector<Tensor> p = parameters();
  const auto message = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "(nothing was thrown)";
  };
  CHECK(message([&] { clip_grad_norm(p, -1); }) ==
        "clip_grad_norm: max_norm must be at least 0, got -1");
  CHECK(message([&] { clip_grad_norm(p, quiet_nan); }) ==
        "clip_grad_norm: max_norm must be at least 0, got nan");
  CHECK(message([&] { clip_grad_value(p, -2); }) ==
        "clip_grad_value: limit must be at least 0, got -2");
  check_gradients(p, unclipped);
}
