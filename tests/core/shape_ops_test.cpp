// Operations that rearrange: against naive index arithmetic, there and back again, and their
// errors. Their gradients are checked by the table of operations.
#include <algorithm>
#include <limits>
#include <numeric>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

// 0, 1, 2, … in the given shape: every element tells where it came from.
Tensor numbered(const Shape& shape) {
  return reshape(arange(0, static_cast<real>(element_count(shape))), shape);
}

// The index of the i-th element in row-major order, and back.
std::vector<std::size_t> index_of(std::size_t i, const Shape& shape) {
  std::vector<std::size_t> index(shape.size());
  for (std::size_t k = shape.size(); k-- > 0; i /= shape[k]) index[k] = i % shape[k];
  return index;
}
std::size_t offset_of(const std::vector<std::size_t>& index, const Shape& shape) {
  std::size_t offset = 0;
  for (std::size_t k = 0; k < shape.size(); ++k) offset = offset * shape[k] + index[k];
  return offset;
}

bool permutes(const Tensor& x, const std::vector<std::int64_t>& order) {
  const Tensor y = permute(x, order);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto to = index_of(i, y.shape());
    std::vector<std::size_t> from(order.size());
    for (std::size_t k = 0; k < order.size(); ++k) from[static_cast<std::size_t>(order[k])] = to[k];
    if (y.data()[i] != x.data()[offset_of(from, x.shape())]) return false;
  }
  return y.size() == x.size();
}

}  // namespace

TEST_CASE("permute agrees with index arithmetic for random shapes and orders", "[ops]") {
  Rng rng(1);
  bool all = true;
  for (int trial = 0; trial < 400; ++trial) {
    Shape shape;
    for (std::uint64_t k = rng.below(6); k > 0; --k)
      shape.push_back(rng.below(12) == 0 ? 0 : 1 + rng.below(trial % 4 == 0 ? 20 : 6));
    all =
        all && permutes(numbered(shape), rng.permutation(static_cast<std::int64_t>(shape.size())));
  }
  CHECK(all);
}

TEST_CASE("permute agrees with index arithmetic where several threads work", "[ops]") {
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    CHECK(permutes(numbered({300, 257}), {1, 0}));
    CHECK(permutes(numbered({3, 130, 200}), {0, 2, 1}));
    CHECK(permutes(numbered({4, 33, 6, 100}), {0, 2, 1, 3}));
    CHECK(permutes(numbered({40, 33, 70}), {2, 0, 1}));
    CHECK(permutes(numbered({40, 33, 70}), {2, 1, 0}));
  }
}

TEST_CASE("transpose swaps the last two axes, or any two", "[ops]") {
  CHECK(values(transpose(numbered({2, 3}))) == std::vector<real>{0, 3, 1, 4, 2, 5});
  CHECK(transpose(numbered({2, 3, 4}), 0, -1).shape() == Shape{4, 3, 2});
  CHECK(permute(numbered({2, 3, 4}), {-1, 0, 1}).shape() == Shape{4, 2, 3});
}

TEST_CASE("reshape shares storage, infers one size and passes the gradient back", "[ops]") {
  Tensor x = numbered({2, 3, 4});
  CHECK(reshape(x, {4, -1}).shape() == Shape{4, 6});
  CHECK(reshape(x, -1).data() == x.data());
  CHECK(reshape(numbered({0, 3}), {0, 7}).shape() == Shape{0, 7});
  CHECK(reshape(numbered({1}), Ints{}).ndim() == 0);
  x.requires_grad_();
  Tape tape;
  const Tensor g = tape.gradient(reshape(x, {6, 4}), x, {}, numbered({6, 4}));
  CHECK(g.shape() == x.shape());
  CHECK(values(g) == values(x));
}

TEST_CASE("slice takes every step-th place, with NumPy's clamping", "[ops]") {
  const Tensor x = numbered({7});
  CHECK(values(xgrad::slice(x, 0, 1, 6, 2)) == std::vector<real>{1, 3, 5});
  CHECK(values(xgrad::slice(x, 0, -3, -1)) == std::vector<real>{4, 5});
  CHECK(values(xgrad::slice(x, -1, -100, 100, 3)) == std::vector<real>{0, 3, 6});
  CHECK(xgrad::slice(x, 0, 5, 2).shape() == Shape{0});
  CHECK(values(xgrad::slice(numbered({2, 3, 2}), 1, 1, 3)) ==
        std::vector<real>{2, 3, 4, 5, 8, 9, 10, 11});
}

TEST_CASE("the gradient of a slice is zero where nothing was taken", "[ops]") {
  Tensor x = numbered({6}).requires_grad_();
  Tape tape;
  const Tensor y = xgrad::slice(x, 0, 1, 6, 3), nothing = xgrad::slice(x, 0, 0, 0, 2);
  CHECK(values(tape.gradient(y, x, {.retain = true}, tensor({5, 7}))) ==
        std::vector<real>{0, 5, 0, 0, 7, 0});
  CHECK(values(tape.gradient(nothing, x, {.record = true}, zeros(0))) == std::vector<real>(6, 0));
}

TEST_CASE("parts taken from a tensor, and put into one, add up in its gradient", "[ops]") {
  const auto f = [](const Tensor& x) {
    const Tensor a = xgrad::slice(x, 0, 1, 4), b = xgrad::slice(x, 1, 0, 5, 2),
                 padded = pad(x, {{1, 2}, {0, 1}}, Pad::constant, 3);
    return sum(square(a)) + sum(b * b * real(3)) + sum(square(diag(x, 1))) + trace(x) +
           sum(square(concat({x, a, x}, 0) * real(0.5))) + sum(square(padded) * padded) +
           sum(diag(x, std::numeric_limits<std::int64_t>::max()));
  };
  for (const bool leaf : {true, false}) {
    Tensor x = numbered({5, 6}).requires_grad_();
    Tape tape;
    const Tensor y = f(leaf ? x : x * real(1));
    const Tensor expected = tape.gradient(y, x, {.record = true, .retain = true});
    CHECK(values(tape.gradient(y, x)) == values(expected));
  }
}

TEST_CASE("concat undoes split along every axis", "[ops]") {
  const Tensor x = numbered({3, 5, 4});
  for (const std::int64_t axis : {0, 1, 2, -1, -2})
    for (const std::int64_t size : {1, 2, 3, 9}) {
      const auto parts = split(x, size, axis);
      CHECK(values(concat(parts, axis)) == values(x));
    }
  const auto parts = split(x, 2, 1);
  REQUIRE(parts.size() == 3);
  CHECK(parts[2].shape() == Shape{3, 1, 4});
  CHECK(split(zeros({0, 2}), 3).size() == 1);
  CHECK(concat({zeros({2, 0}), ones({2, 1})}, 1).shape() == Shape{2, 1});
}

TEST_CASE("stack makes a new axis anywhere", "[ops]") {
  const Tensor a = tensor({1, 2}), b = tensor({3, 4});
  CHECK(values(stack({a, b})) == std::vector<real>{1, 2, 3, 4});
  CHECK(values(stack({a, b}, -1)) == std::vector<real>{1, 3, 2, 4});
  CHECK(stack({zeros({2, 3}), zeros({2, 3})}, 1).shape() == Shape{2, 2, 3});
  CHECK(stack({scalar(1), scalar(2)}).shape() == Shape{2});
}

TEST_CASE("broadcast_to repeats rows, columns and inner axes", "[ops]") {
  CHECK(values(broadcast_to(tensor({1, 2}), {2, 2})) == std::vector<real>{1, 2, 1, 2});
  CHECK(values(broadcast_to(tensor({1, 2}, {2, 1}), {-1, 2})) == std::vector<real>{1, 1, 2, 2});
  CHECK(values(broadcast_to(tensor({1, 2, 3, 4}, {2, 1, 2}), {2, 2, 2})) ==
        std::vector<real>{1, 2, 1, 2, 3, 4, 3, 4});
  CHECK(values(broadcast_to(scalar(3), {2, 2})) == std::vector<real>(4, 3));
  CHECK(broadcast_to(zeros({2, 1}), {2, 0}).size() == 0);
}

TEST_CASE("tril keeps the lower triangle, and zeros NaN above it", "[ops]") {
  const Tensor x = full({2, 3}, std::numeric_limits<real>::quiet_NaN());
  CHECK(values(xgrad::tril(numbered({3, 3}) + real(1))) ==
        std::vector<real>{1, 0, 0, 4, 5, 0, 7, 8, 9});
  CHECK(values(xgrad::tril(ones({2, 3}), 1)) == std::vector<real>{1, 1, 0, 1, 1, 1});
  CHECK(values(xgrad::tril(ones({2, 3}), -1)) == std::vector<real>{0, 0, 0, 1, 0, 0});
  CHECK(values(xgrad::tril(x, -5)) == std::vector<real>(6, 0));
  CHECK(xgrad::tril(zeros({0, 3})).size() == 0);
}

TEST_CASE("shape operations say what does not fit", "[ops][errors]") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH(reshape(x, {4, -1}), "reshape: cannot turn shape (2, 3) into (4, -1)");
  CHECK_THROWS_WITH(reshape(x, {-1, -1}), "reshape: cannot turn shape (2, 3) into (-1, -1)");
  CHECK_THROWS_WITH(reshape(x, {7}), "reshape: cannot turn shape (2, 3) into (7,)");
  CHECK_THROWS_WITH(reshape(zeros({0, 3}), {0, -1}),
                    "reshape: cannot turn shape (0, 3) into (0, -1)");
  CHECK_THROWS_AS(reshape(x, {7}), ShapeError);
  CHECK_THROWS_WITH(permute(x, {0, 0}),
                    "permute: order (0, 0) is not a permutation of the axes of shape (2, 3)");
  CHECK_THROWS_WITH(permute(x, 0),
                    "permute: order (0,) is not a permutation of the axes of shape (2, 3)");
  CHECK_THROWS_WITH(permute(x, {0, 2}), "permute: axis 2 is out of range for 2 axes");
  CHECK_THROWS_WITH(transpose(zeros(3)), "transpose: axis -2 is out of range for 1 axis");
  CHECK_THROWS_WITH(xgrad::slice(x, 2, 0, 1), "slice: axis 2 is out of range for 2 axes");
  CHECK_THROWS_WITH(xgrad::slice(x, 0, 0, 1, 0), "slice: needs step >= 1, got 0");
  CHECK_THROWS_WITH(concat({}), "concat: needs at least one tensor");
  CHECK_THROWS_WITH(concat({x, zeros({2, 4})}),
                    "concat: shapes (2, 3) and (2, 4) do not join along axis 0: axis 1 is 3 and 4");
  CHECK_THROWS_WITH(concat({x, zeros(3)}),
                    "concat: shapes (2, 3) and (3,) do not join: 2 and 1 axes");
  CHECK_THROWS_WITH(concat({scalar(1)}), "concat: axis 0 is out of range for 0 axes");
  CHECK_THROWS_WITH(stack({}), "stack: needs at least one tensor");
  CHECK_THROWS_WITH(stack({x, zeros({3, 2})}), "stack: needs equal shapes, got (2, 3) and (3, 2)");
  CHECK_THROWS_WITH(split(x, 0), "split: needs size >= 1, got 0");
  CHECK_THROWS_WITH(broadcast_to(x, {2, 4}),
                    "broadcast_to: cannot turn shape (2, 3) into (2, 4): axis 1 is 3 and 4");
  CHECK_THROWS_WITH(broadcast_to(x, 3), "broadcast_to: shape (2, 3) has more axes than (3,)");
  CHECK_THROWS_WITH(broadcast_to(x, {-1, 2, 3}),
                    "broadcast_to: cannot turn shape (2, 3) into (-1, 2, 3): axis 0 is -1");
  CHECK_THROWS_WITH(xgrad::tril(zeros(3)), "tril: needs at least 2 axes, got shape (3,)");
}

TEST_CASE("triu is what tril leaves, for any diagonal", "[ops]") {
  constexpr std::int64_t far = std::numeric_limits<std::int64_t>::max();
  const Tensor x = numbered({2, 3, 4}) + real(1);
  for (const std::int64_t k : {-9, -3, -1, 0, 2, 4, 9})
    CHECK(values(triu(x, k)) == values(x - tril(x, k - 1)));
  CHECK(values(triu(numbered({2, 3}))) == std::vector<real>{0, 1, 2, 0, 4, 5});
  CHECK(values(triu(x, far)) == std::vector<real>(24, 0));
  CHECK(values(tril(x, far)) == values(x));
  CHECK(values(tril(x, -far - 1)) == std::vector<real>(24, 0));
  CHECK(triu(zeros({3, 0})).shape() == Shape{3, 0});
}

TEST_CASE("diag makes a matrix of a vector, and a vector of a matrix", "[ops]") {
  const Tensor m = numbered({2, 3});
  CHECK(values(diag(m)) == std::vector<real>{0, 4});
  CHECK(values(diag(m, 1)) == std::vector<real>{1, 5});
  CHECK(values(diag(m, -1)) == std::vector<real>{3});
  CHECK(diag(m, 3).shape() == Shape{0});
  CHECK(diag(m, std::numeric_limits<std::int64_t>::min()).shape() == Shape{0});
  CHECK(values(diag(tensor({1, 2}), -1)) == std::vector<real>{0, 0, 0, 1, 0, 0, 0, 2, 0});
  CHECK(values(diag(tensor({1, 2}), 1)) == std::vector<real>{0, 1, 0, 0, 0, 2, 0, 0, 0});
  CHECK(values(diag(zeros(0), 1)) == std::vector<real>{0});
  CHECK(trace(m).item() == 4);
  CHECK(trace(zeros({0, 3})).item() == 0);
}

TEST_CASE("squeeze, unsqueeze and flatten change the shape alone", "[ops]") {
  const Tensor x = ones({1, 2, 1});
  CHECK(squeeze(x).shape() == Shape{2});
  CHECK(squeeze(x, 0).shape() == Shape{2, 1});
  CHECK(squeeze(x, -1).data() == x.data());
  CHECK(squeeze(ones({1, 0})).shape() == Shape{0});
  CHECK(squeeze(scalar(1)).ndim() == 0);
  CHECK(unsqueeze(ones(3), -1).shape() == Shape{3, 1});
  CHECK(unsqueeze(ones({2, 3}), -2).shape() == Shape{2, 1, 3});
  CHECK(unsqueeze(scalar(1), 0).shape() == Shape{1});
  CHECK(flatten(ones({2, 3, 4})).shape() == Shape{24});
  CHECK(flatten(ones({2, 3, 4}), 1).shape() == Shape{2, 12});
  CHECK(flatten(ones({2, 3, 4}), 1, 1).shape() == Shape{2, 3, 4});
  CHECK(flatten(ones({2, 0, 4}), -2, -1).shape() == Shape{2, 0});
  CHECK(flatten(scalar(1)).shape() == Shape{1});
}

TEST_CASE("flip reverses along each axis it is given", "[ops]") {
  const Tensor x = numbered({2, 3, 2});
  CHECK(values(flip(numbered({2, 3}), 1)) == std::vector<real>{2, 1, 0, 5, 4, 3});
  CHECK(values(flip(numbered({2, 3}), {0, -1})) == std::vector<real>{5, 4, 3, 2, 1, 0});
  CHECK(values(flip(x, 1)) == std::vector<real>{4, 5, 2, 3, 0, 1, 10, 11, 8, 9, 6, 7});
  CHECK(values(flip(flip(x, {0, 2}), {2, 0})) == values(x));
  CHECK(values(flip(x, Ints{})) == values(x));
  CHECK(flip(zeros({2, 0}), {0, 1}).shape() == Shape{2, 0});
}

TEST_CASE("roll moves around the end, by any number of places", "[ops]") {
  constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
  const Tensor v = numbered({5});
  CHECK(values(roll(v, 2, 0)) == std::vector<real>{3, 4, 0, 1, 2});
  CHECK(values(roll(v, -1, -1)) == std::vector<real>{1, 2, 3, 4, 0});
  CHECK(values(roll(v, 12, 0)) == values(roll(v, 2, 0)));
  CHECK(values(roll(v, least, 0)) == values(roll(v, -3, 0)));  // -2^63 = -3 modulo 5
  CHECK(values(roll(v, 0, 0)) == values(v));
  CHECK(values(roll(numbered({2, 2}), 1, 0)) == std::vector<real>{2, 3, 0, 1});
  CHECK(roll(zeros({0, 2}), 1, 0).shape() == Shape{0, 2});
}

TEST_CASE("repeat tiles, with new axes in front", "[ops]") {
  CHECK(values(repeat(numbered({3}), 2)) == std::vector<real>{0, 1, 2, 0, 1, 2});
  CHECK(values(repeat(numbered({2, 1}), {1, 2})) == std::vector<real>{0, 0, 1, 1});
  CHECK(values(repeat(numbered({2, 2}), {2, 2})) ==
        std::vector<real>{0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3});
  CHECK(repeat(ones({2, 3}), {2, 0, 1}).shape() == Shape{2, 0, 3});
  CHECK(values(repeat(scalar(7), {2})) == std::vector<real>{7, 7});
  CHECK(repeat(scalar(7), Ints{}).ndim() == 0);
}

TEST_CASE("pad continues an axis in four ways", "[ops]") {
  const Tensor v = tensor({1, 2, 3}), m = tensor({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(values(pad(v, {{1, 2}}, Pad::constant, 9)) == std::vector<real>{9, 1, 2, 3, 9, 9});
  CHECK(values(pad(v, {{2, 1}}, Pad::reflect)) == std::vector<real>{3, 2, 1, 2, 3, 2});
  CHECK(values(pad(v, {{2, 1}}, Pad::replicate)) == std::vector<real>{1, 1, 1, 2, 3, 3});
  CHECK(values(pad(v, {{3, 1}}, Pad::circular)) == std::vector<real>{1, 2, 3, 1, 2, 3, 1});
  CHECK(values(pad(m, {{0, 1}, {1, 0}})) == std::vector<real>{0, 1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0});
  CHECK(values(pad(m, {{1, 0}, {0, 1}}, Pad::reflect)) ==
        std::vector<real>{4, 5, 6, 5, 1, 2, 3, 2, 4, 5, 6, 5});
  CHECK(values(pad(zeros({2, 0}), {{0, 0}, {1, 1}}, Pad::constant, 5)) ==
        std::vector<real>{5, 5, 5, 5});
  CHECK(pad(zeros({0, 2}), {{}, {1, 1}}, Pad::reflect).shape() == Shape{0, 4});
  CHECK(values(pad(scalar(3), {})) == std::vector<real>{3});
}

TEST_CASE("a step longer than the axis takes its first place, in the gradient too", "[ops]") {
  const Tensor x = numbered({4}).requires_grad_();
  Tape tape;
  const Tensor y = xgrad::slice(x, 0, 1, 4, std::numeric_limits<std::int64_t>::max());
  CHECK(values(y) == std::vector<real>{1});
  const Tensor seed = tensor({5}).requires_grad_();
  const Tensor g = tape.gradient(y, x, {.record = true}, seed);
  CHECK(values(g) == std::vector<real>{0, 5, 0, 0});
  CHECK(values(tape.gradient(g, seed, {}, numbered({4}))) == std::vector<real>{1});
}
