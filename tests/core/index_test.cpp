// Look-up by ids, and the sums that its gradient makes.
#include <cmath>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

/// Ids in `rows` rows; nested braces around single numbers are ambiguous to xtensor.
Indices matrix(const std::vector<std::int64_t>& ids, std::size_t rows) {
  Indices array = Indices::from_shape({rows, ids.size() / rows});
  std::copy(ids.begin(), ids.end(), array.begin());
  return array;
}

}  // namespace

TEST_CASE("embedding picks rows, and its gradient adds them up where an id repeats", "[ops]") {
  Tensor table = tensor({1, 2, 3, 4, 5, 6}, {3, 2}).requires_grad_();
  Tape tape;
  const Tensor y = embedding(table, Indices{{2, 0}, {2, 2}});
  CHECK(y.shape() == Shape{2, 2, 2});
  CHECK(values(y) == std::vector<real>{5, 6, 1, 2, 5, 6, 5, 6});
  const Tensor seed = tensor({1, 10, 2, 20, 3, 30, 4, 40}, {2, 2, 2});
  CHECK(values(tape.gradient(y, table, {}, seed)) == std::vector<real>{2, 20, 0, 0, 8, 80});
}

TEST_CASE("embedding takes ids of any shape, empty ones too", "[ops]") {
  const Tensor table = ones({4, 3});
  CHECK(embedding(table, Indices::from_shape({0, 2})).shape() == Shape{0, 2, 3});
  Indices one = Indices::from_shape(std::vector<std::size_t>{});
  one() = 3;
  CHECK(embedding(table, one).shape() == Shape{3});
  CHECK(embedding(ones({4, 0}), Indices{1, 2}).shape() == Shape{2, 0});
}

TEST_CASE("the gradient of embedding has the same bits for any number of threads", "[ops]") {
  Rng rng(5);
  Tensor table = randn({50, 300}, rng).requires_grad_();
  Indices ids = Indices::from_shape({2000});
  for (auto& id : ids) id = static_cast<std::int64_t>(rng.below(50));
  const Tensor seed = randn({2000, 300}, rng);
  const auto gradient = [&](int threads) {
    set_num_threads(threads);
    Tape tape;
    return values(tape.gradient(embedding(table, ids), table, {}, seed));
  };
  const auto one = gradient(1);
  CHECK(gradient(2) == one);
  CHECK(gradient(3) == one);
}

TEST_CASE("embedding names the id that is not in the table", "[ops][errors]") {
  const Tensor table = zeros({10, 2});
  CHECK_THROWS_WITH(embedding(table, Indices{1, 2, 3, 12}),
                    "embedding: id 12 at position 3 is outside [0, 10)");
  CHECK_THROWS_WITH(embedding(table, Indices{-1}),
                    "embedding: id -1 at position 0 is outside [0, 10)");
  CHECK_THROWS_AS(embedding(table, Indices{12}), std::invalid_argument);
  CHECK_THROWS_WITH(embedding(zeros(3), Indices{1}),
                    "embedding: needs a table (V, D), got shape (3,)");
}

TEST_CASE("gather, scatter_add and take_along_axis look up along one axis", "[ops]") {
  const Tensor x = tensor({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(values(gather(x, 1, Indices{{2, 0}, {1, 1}})) == std::vector<real>{3, 1, 5, 5});
  CHECK(values(gather(x, 0, Indices{{1, 0}})) == std::vector<real>{4, 2});  // shorter ids
  CHECK(values(scatter_add(x, 1, Indices{{0, 0}}, tensor({10, 20}, {1, 2}))) ==
        std::vector<real>{31, 2, 3, 4, 5, 6});
  CHECK(values(take_along_axis(x, matrix({2}, 1), 1)) == std::vector<real>{3, 6});  // ids broadcast
  CHECK(values(take_along_axis(tensor({7, 8}, {1, 2}), matrix({1, 0}, 2), 1)) ==
        std::vector<real>{8, 7});
  CHECK(values(index_select(x, 1, Indices{2, 2})) == std::vector<real>{3, 3, 6, 6});
  CHECK(values(one_hot(Indices{1, 0}, 3)) == std::vector<real>{0, 1, 0, 1, 0, 0});
}

TEST_CASE("gather and scatter_add agree with index arithmetic along every axis", "[ops]") {
  Rng rng(8);
  const Shape shape{4, 5, 3};
  const Tensor x = randn(shape, rng);
  for (const std::size_t axis : {0U, 1U, 2U}) {
    Shape part = shape;  // shorter on one other axis, longer on this one
    part[axis] = 7;
    part[(axis + 1) % 3] -= 1;
    Indices ids = Indices::from_shape(part);
    for (auto& id : ids) id = static_cast<std::int64_t>(rng.below(shape[axis]));
    const Tensor source = randn(part, rng);
    const Tensor read = gather(x, static_cast<std::int64_t>(axis), ids),
                 sums = scatter_add(x, static_cast<std::int64_t>(axis), ids, source);
    std::vector<double> expected(x.data(), x.data() + x.size());
    bool right = read.shape() == part;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::size_t at[3] = {i / (part[1] * part[2]), i / part[2] % part[1], i % part[2]};
      at[axis] = static_cast<std::size_t>(ids.data()[i]);
      const std::size_t place = (at[0] * shape[1] + at[1]) * shape[2] + at[2];
      right = right && read.data()[i] == x.data()[place];
      expected[place] += source.data()[i];
    }
    CHECK(right);
    for (std::size_t i = 0; i < x.size(); ++i)
      CHECK(std::abs(sums.data()[i] - expected[i]) < (sizeof(real) == 8 ? 1e-14 : 1e-5));
  }
}

TEST_CASE("scatter_add and its gradient have the same bits for any number of threads", "[ops]") {
  const int before = num_threads();
  Rng rng(6);
  for (const auto& [axis, shape] : {std::pair{0, Shape{40, 300}}, {1, Shape{300, 40}}}) {
    Tensor x = randn(shape, rng).requires_grad_();
    Shape many = shape;
    many[static_cast<std::size_t>(axis)] = 1000;
    Indices ids = Indices::from_shape(many);
    for (auto& id : ids) id = static_cast<std::int64_t>(rng.below(40));
    Tensor source = randn(many, rng).requires_grad_();
    const auto all = [&, axis = axis](int threads) {
      set_num_threads(threads);
      Tape tape;
      const Tensor y = scatter_add(x, axis, ids, source);
      std::vector<std::vector<real>> numbers{values(y)};
      for (const Tensor& g : tape.gradient(square(y), {x, source}, {}, x.detach()))
        numbers.push_back(values(g));
      return numbers;
    };
    const auto one = all(1);
    CHECK(all(2) == one);
    CHECK(all(3) == one);
  }
  set_num_threads(before);
}

TEST_CASE("a look-up's ids may change, or go, before its gradient is asked for", "[ops]") {
  const Tensor x = tensor({1, 2, 3}).requires_grad_();
  Indices ids{2, 0};
  Tape tape;
  const Tensor y = gather(x, 0, ids);
  ids = Indices{1};
  CHECK(values(tape.gradient(y, x, {}, tensor({10, 20}))) == std::vector<real>{20, 0, 10});
}

TEST_CASE("look-ups of nothing are empty", "[ops]") {
  const Tensor x = ones({2, 3});
  CHECK(gather(x, 1, Indices::from_shape({2, 0})).shape() == Shape{2, 0});
  CHECK(index_select(x, 0, Indices::from_shape({0})).shape() == Shape{0, 3});
  CHECK(one_hot(Indices::from_shape({0}), 4).shape() == Shape{0, 4});
  CHECK(values(scatter_add(x, 1, Indices::from_shape({2, 0}), ones({2, 0}))) == values(x));
  CHECK(gather(ones({0, 3}), 1, Indices::from_shape({0, 2})).shape() == Shape{0, 2});
  CHECK(gather(ones({2, 0}), 0, Indices::from_shape({1, 0})).shape() == Shape{1, 0});
  CHECK(take_along_axis(ones({0, 3}), matrix({1}, 1), 1).shape() == Shape{0, 1});
  Indices one = Indices::from_shape(std::vector<std::size_t>{});
  one() = 1;
  CHECK(values(one_hot(one, 2)) == std::vector<real>{0, 1});
}
