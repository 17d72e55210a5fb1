// The nearest row: against brute force, ties, and what memory it takes.
// What it refuses is in the table of operations.
#include <cmath>

#include <xgrad/core/memory.hpp>
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

using Ids = std::vector<std::int64_t>;

Ids list(const Indices& ids) { return {ids.begin(), ids.end()}; }

struct Pair {
  Tensor z, codebook;
};
Pair random_pair(std::size_t rows, std::size_t codes, std::size_t d, std::uint64_t seed = 1,
                 real offset = 0) {
  Rng rng(seed);
  return {randn({rows, d}, rng) + offset, randn({codes, d}, rng) + offset};
}

double squared_distance(const Pair& p, std::size_t i, std::size_t k) {
  const std::size_t d = p.codebook.size(1);
  double sum = 0;
  for (std::size_t j = 0; j < d; ++j) {
    const double difference =
        static_cast<double>(p.z.data()[i * d + j]) - p.codebook.data()[k * d + j];
    sum += difference * difference;
  }
  return sum;
}

double squared_length(const Tensor& x, std::size_t row) {
  const std::size_t d = x.size(-1);
  double sum = 0;
  for (std::size_t j = row * d; j < (row + 1) * d; ++j)
    sum += static_cast<double>(x.data()[j]) * x.data()[j];
  return sum;
}

std::size_t nearest_by_force(const Pair& p, std::size_t i) {
  std::size_t best = 0;
  for (std::size_t k = 1; k < p.codebook.size(0); ++k)
    if (squared_distance(p, i, k) < squared_distance(p, i, best)) best = k;
  return best;
}

std::size_t count_wrong(const Pair& p, NearestOptions options = {}) {
  const Indices ids = nearest(p.z, p.codebook, options);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < ids.size(); ++i)
    wrong += ids.data()[i] != static_cast<std::int64_t>(nearest_by_force(p, i));
  return wrong;
}

/// Another code than by brute force must be as near but for rounding.
void check_by_force(const Pair& p, NearestOptions options = {}) {
  const double tolerance = sizeof(real) == 4 ? 1e-5 : 1e-13;
  const Indices ids = nearest(p.z, p.codebook, options);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto k = static_cast<std::size_t>(ids.data()[i]), expected = nearest_by_force(p, i);
    INFO("row " << i << " of " << to_string(p.z.shape()) << " among "
                << to_string(p.codebook.shape()) << ": " << k << ", expected " << expected);
    REQUIRE(k < p.codebook.size(0));
    if (k != expected)
      REQUIRE(std::abs(squared_distance(p, i, k) - squared_distance(p, i, expected)) <=
              tolerance * (squared_length(p.z, i) + squared_length(p.codebook, k)));
  }
}

}  // namespace

TEST_CASE("nearest finds the code of least distance", "[ops][nearest]") {
  const Tensor codebook =
      tensor({1, 0, real(.5), 0, 1, real(-.5), -1, real(.5), 0, real(.5), real(-.5), 1}, {4, 3});
  const Tensor z = tensor(
      {real(.9), real(.2), real(.1), real(-.4), real(.8), real(.3), real(.2), real(-.3), real(.7)},
      {3, 3});
  CHECK(list(nearest(z, codebook)) == Ids{0, 2, 3});
  CHECK(list(nearest(z, codebook, {.center = true})) == Ids{0, 2, 3});
  const Indices ids = nearest(reshape(z, {1, 3, 3}), codebook);
  CHECK(ids.dimension() == 2);
  CHECK(ids.shape(1) == 3);
  CHECK(nearest(tensor({0, 1, 0}), codebook).dimension() == 0);
}

TEST_CASE("nearest agrees with brute force at all widths of tiles and blocks", "[ops][nearest]") {
  for (const std::size_t d : {1, 3, 16, 33})
    for (const std::size_t codes : {1, 2, 15, 16, 17, 33, 48, 49, 100})
      for (const std::size_t rows : {1, 7, 8, 13, 97}) {
        const Pair p = random_pair(rows, codes, d);
        check_by_force(p);
        check_by_force(p, {.center = true});
      }
}

TEST_CASE("nearest does not depend on how rows fall into blocks", "[ops][nearest]") {
  const Pair p = random_pair(203, 130, 5);
  const Indices ids = nearest(p.z, p.codebook);
  for (std::size_t i = 0; i < 203; ++i)
    REQUIRE(nearest(index_select(p.z, 0, Indices{static_cast<std::int64_t>(i)}), p.codebook)(0) ==
            ids(i));
}

TEST_CASE("a codebook too large to be copied at once is searched in strips", "[ops][nearest]") {
  const Pair p = random_pair(20, 520, 4096);
  check_by_force(p);
  check_by_force(p, {.center = true});
  // The same 130 codes four times over.
  const Tensor some = slice(p.codebook, 0, 0, 130);
  CHECK(list(nearest(p.z, concat({some, some, some, some}, 0))) == list(nearest(p.z, some)));
}

TEST_CASE("of codes equally near the first is taken", "[ops][nearest]") {
  CHECK(nearest(zeros(3), tensor({1, 0, 0, 0, 1, 0}, {2, 3}))() == 0);
  const Pair p = random_pair(50, 37, 3);
  const std::vector<Tensor> many(20, p.codebook);
  CHECK(list(nearest(p.z, concat(many, 0))) == list(nearest(p.z, p.codebook)));
  CHECK(list(nearest(p.z, zeros({100, 3}))) == Ids(50, 0));
}

TEST_CASE("far from the origin, centring restores the digits that scores lose", "[ops][nearest]") {
  const Pair p = random_pair(2000, 512, 16, 7, 50);
  CHECK(count_wrong(p, {.center = true}) == 0);
  if (sizeof(real) == 4) CHECK(count_wrong(p) > 0);
}

TEST_CASE("nearest gives the same with any number of threads", "[ops][nearest][threads]") {
  const int before = num_threads();
  const Pair p = random_pair(3000, 700, 40);
  set_num_threads(1);
  const Ids one = list(nearest(p.z, p.codebook));
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    CHECK(list(nearest(p.z, p.codebook)) == one);
  }
  set_num_threads(before);
}

TEST_CASE("nearest takes the memory of one more codebook", "[ops][nearest][memory]") {
  const auto scratch = [](std::size_t rows, std::size_t codes, std::size_t d) {
    const Pair p = random_pair(rows, codes, d);
    const std::size_t before = memory::stats().current;
    memory::reset_peak();
    nearest(p.z, p.codebook);
    return memory::stats().peak - before;
  };
  const std::size_t slack = std::size_t{1} << 19;
  CHECK(scratch(300, 8192, 64) < sizeof(real) * 8192 * 65 + slack);
  CHECK(scratch(65536, 48, 64) < sizeof(real) * 65536 + slack);
  // Never more than a million numbers of codes at once.
  CHECK(scratch(20, 40000, 64) < sizeof(real) * (std::size_t{1} << 20) + slack);
}

TEST_CASE("nearest of nothing, and among vectors of no numbers", "[ops][nearest]") {
  CHECK(nearest(zeros({0, 3}), ones({4, 3})).size() == 0);
  CHECK(nearest(zeros({2, 0, 3}), ones({4, 3})).size() == 0);
  CHECK(list(nearest(zeros({2, 0}), zeros({4, 0}))) == Ids{0, 0});
  CHECK(list(nearest(ones({2, 3}), ones({1, 3}))) == Ids{0, 0});
}

TEST_CASE("nearest leaves no trace on the tape", "[ops][nearest]") {
  const Pair p = random_pair(4, 5, 3);
  Tensor z = p.z, codebook = p.codebook;
  z.requires_grad_();
  codebook.requires_grad_();
  Tape tape;
  nearest(z, codebook);
  CHECK(tape.size() == 0);
}
