// Order: what stands where, ties, NaN, and where gradients go.
#include <cmath>
#include <limits>

#include <xgrad/core/ops.hpp>
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
