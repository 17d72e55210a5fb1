// Dropout: which elements go, that backward drops the same ones, and that the bits depend on the
// seed alone.
#include <algorithm>
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

}  // namespace

TEST_CASE("dropout zeroes a share p and keeps the mean", "[ops]") {
  for (const real p : {real(0.1), real(0.5), real(0.9)}) {
    Rng rng(11);
    const std::size_t n = 200'000;
    const auto y = values(dropout(ones(n), p, rng));
    const double kept =
        static_cast<double>(n - static_cast<std::size_t>(std::count(y.begin(), y.end(), real(0))));
    const double deviation = std::sqrt(n * p * (1 - p));
    CHECK(std::abs(kept - n * (1 - static_cast<double>(p))) < 4 * deviation);
    CHECK(*std::max_element(y.begin(), y.end()) == 1 / (1 - p));
  }
}

TEST_CASE("dropout follows the words of its stream", "[ops]") {
  Rng rng(3, 40);
  const Tensor y = dropout(ones(4099), real(0.25), rng);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const bool dropped = Rng(3).block(40 + i / 4)[i % 4] < 0x40000000;
    wrong += y.data()[i] != (dropped ? 0 : 1 / real(0.75));
  }
  CHECK(wrong == 0);
  CHECK(rng.position() == 40 + 1025);
}

TEST_CASE("the gradient of dropout passes where the value did, at any order", "[ops]") {
  Rng rng(4);
  Tensor x = ones(1000).requires_grad_();
  Tape tape;
  const Tensor y = dropout(x, real(0.3), rng);
  const Tensor g = tape.gradient(y, x, {.record = true}, ones(1000));
  CHECK(values(g) == values(y));
  const Tensor z = sum(square(y));
  const Tensor first = tape.gradient(z, x, {.record = true});
  const Tensor second = tape.gradient(sum(first), x);
  const real scale = 1 / (1 - real(0.3));
  for (std::size_t i = 0; i < 1000; ++i)
    if (const real want = y.data()[i] == 0 ? 0 : 2 * scale * scale;
        std::abs(second.data()[i] - want) > 1e-5)
      FAIL("element " << i << " is " << second.data()[i] << ", expected " << want);
  SUCCEED();
}

TEST_CASE("dropout has the same bits for any number of threads", "[ops]") {
  const auto draw = [](int threads) {
    set_num_threads(threads);
    Rng rng(8);
    return values(dropout(ones(100'001), real(0.5), rng));
  };
  const auto one = draw(1);
  CHECK(draw(2) == one);
  CHECK(draw(3) == one);
}

TEST_CASE("the position of the stream moves alike for every p", "[ops]") {
  const Tensor x = ones(10);
  Rng none(1), some(1), all(1);
  CHECK(dropout(x, 0, none).data() == x.data());
  dropout(x, real(0.5), some);
  CHECK(values(dropout(x * std::numeric_limits<real>::infinity(), 1, all)) ==
        std::vector<real>(10, 0));
  CHECK(none.position() == 3);
  CHECK(some.position() == 3);
  CHECK(all.position() == 3);
}

TEST_CASE("dropout refuses a p that is no probability", "[ops][errors]") {
  Rng rng(1);
  CHECK_THROWS_WITH(dropout(ones(2), real(1.5), rng), "dropout: needs p in [0, 1], got 1.5");
  CHECK_THROWS_WITH(dropout(ones(2), real(-0.5), rng), "dropout: needs p in [0, 1], got -0.5");
  CHECK_THROWS_AS(dropout(ones(2), std::numeric_limits<real>::quiet_NaN(), rng),
                  std::invalid_argument);
  CHECK(rng.position() == 0);
}
