// Order: what stands where, ties, NaN, and where gradients go.
#include <algorithm>
#include <limits>
#include <numeric>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr real none = std::numeric_limits<real>::quiet_NaN();  // NaN
constexpr real inf = std::numeric_limits<real>::infinity();

std::vector<std::int64_t> list(const Indices& ids) { return {ids.begin(), ids.end()}; }
std::vector<real> list(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

using Ids = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("sort orders rows and columns, equal elements as they stood", "[ops][sort]") {
  const Tensor x = tensor({3, 1, 2, 1, 1, 0}, {2, 3});
  CHECK(list(sort(x).values) == std::vector<real>{1, 2, 3, 0, 1, 1});
  CHECK(list(argsort(x)) == Ids{1, 2, 0, 2, 0, 1});
  CHECK(list(argsort(x, -1, true)) == Ids{0, 2, 1, 0, 1, 2});
  CHECK(list(sort(x, 0).values) == std::vector<real>{1, 1, 0, 3, 1, 2});
  CHECK(list(argsort(x, 0)) == Ids{1, 0, 1, 0, 1, 0});
}

TEST_CASE("NaN counts as the greatest", "[ops][sort]") {
  const Tensor x = tensor({none, inf, -inf, none, 0});
  CHECK(list(argsort(x)) == Ids{2, 4, 1, 0, 3});
  CHECK(list(argsort(x, 0, true)) == Ids{0, 3, 1, 4, 2});
  CHECK(list(topk(x, 3).ids) == Ids{0, 3, 1});
}

TEST_CASE("the two zeros, and all kinds of NaN, are equal", "[ops][sort]") {
  CHECK(list(argsort(tensor({0, real(-0.0), none, -none, real(-0.0), -1}))) ==
        Ids{5, 0, 1, 4, 2, 3});
  CHECK(list(argsort(tensor({real(-0.0), 0, -none, none, inf}), 0, true)) == Ids{2, 3, 4, 0, 1});
  const real tiny = std::numeric_limits<real>::denorm_min();
  CHECK(list(argsort(tensor({tiny, 0, -tiny, -inf}))) == Ids{3, 2, 1, 0});
}

TEST_CASE("sort agrees with std::stable_sort on any thread", "[ops][sort]") {
  const int before = num_threads();
  Rng rng(4);
  Tensor x = randn({7, 3000}, rng);
  x = Tensor(xt::round(x.array() * real(100)));
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const Sorted sorted = sort(x), down = sort(x, -1, true);
    for (std::size_t row = 0; row < 7; ++row) {
      const real* numbers = x.data() + row * 3000;
      Ids ids(3000);
      std::iota(ids.begin(), ids.end(), 0);
      std::stable_sort(ids.begin(), ids.end(),
                       [&](auto a, auto b) { return numbers[a] < numbers[b]; });
      CHECK(std::equal(ids.begin(), ids.end(), sorted.ids.begin() + std::ptrdiff_t(row * 3000)));
      std::iota(ids.begin(), ids.end(), 0);
      std::stable_sort(ids.begin(), ids.end(),
                       [&](auto a, auto b) { return numbers[a] > numbers[b]; });
      CHECK(std::equal(ids.begin(), ids.end(), down.ids.begin() + std::ptrdiff_t(row * 3000)));
    }
  }
  set_num_threads(before);
}

TEST_CASE("topk is the head of sort", "[ops][sort]") {
  Rng rng(3);
  Tensor x = randn({4, 50, 3}, rng);
  x = Tensor(xt::round(x.array() * real(3)));  // many ties
  for (const std::int64_t axis : {0, 1, 2})
    for (const bool largest : {true, false})
      for (const std::size_t k : {std::size_t{0}, std::size_t{1}, x.size(axis)}) {
        const Sorted top = topk(x, k, axis, largest), all = sort(x, axis, largest);
        const Tensor head = slice(all.values, axis, 0, static_cast<std::int64_t>(k));
        CHECK(top.values.shape() == head.shape());
        CHECK(list(top.values) == list(head));
      }
  const Tensor row = reshape(x, -1);  // 600: a small k takes another way
  for (const std::size_t k : {1U, 5U, 200U, 600U}) {
    Ids head = list(argsort(row, 0, true));
    head.resize(k);
    CHECK(list(topk(row, k).ids) == head);
  }
}

TEST_CASE("a sorted value's gradient goes to where it stood", "[ops][sort]") {
  const Tensor x = tensor({3, 1, 2}).requires_grad_();
  Tape tape;
  const Tensor y = topk(x, 2).values;
  CHECK(list(tape.gradient(y, x, {}, tensor({10, 20}))) == std::vector<real>{10, 0, 20});
}

TEST_CASE("sort takes empty and single axes", "[ops][sort]") {
  CHECK(sort(ones({2, 0})).values.shape() == Shape{2, 0});
  CHECK(sort(ones({0, 3})).ids.shape()[1] == 3);
  CHECK(list(argsort(ones({3, 1}))) == Ids{0, 0, 0});
  CHECK(topk(ones({2, 3}), 0).values.shape() == Shape{2, 0});
}
