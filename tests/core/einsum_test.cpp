// einsum and its relatives: values against sums written out by hand, and how they are spelled.
// Derivatives and errors are checked by the rows of the table.
#include <cmath>

#include <xgrad/core/ops.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

std::vector<real> values(const Tensor& x) { return {x.data(), x.data() + x.size()}; }

Tensor counting(const Shape& shape) {  // 0, 1, 2, …
  return reshape(arange(0, static_cast<real>(element_count(shape))), shape);
}

}  // namespace

TEST_CASE("einsum sums over the letters that the result lacks", "[ops][einsum]") {
  const Tensor a = counting({2, 3}), b = counting({3, 4});
  CHECK(values(einsum("ij,jk->ik", {a, b})) == values(matmul(a, b)));
  CHECK(values(einsum(" i j , j k -> i k ", {a, b})) == values(matmul(a, b)));
  CHECK(values(einsum("ij,jk->ki", {a, b})) == values(transpose(matmul(a, b))));
  CHECK(values(einsum("ij->j", {a})) == values(sum(a, 0)));
  CHECK(einsum("ij->", {a}).item() == 15);
  CHECK(einsum("ij,ij->", {a, a}).item() == 55);
  CHECK(values(einsum("i,j->ij", {tensor({1, 2}), tensor({3, 4})})) ==
        std::vector<real>{3, 4, 6, 8});
  CHECK(einsum("ij,kl->", {a, b}).item() == 15 * 66);
}

TEST_CASE("without an arrow the result has the single letters in alphabetical order",
          "[ops][einsum]") {
  const Tensor a = counting({2, 3}), b = counting({3, 4});
  CHECK(values(einsum("ij,jk", {a, b})) == values(matmul(a, b)));
  CHECK(values(einsum("ba", {a})) == values(transpose(a)));
  CHECK(values(einsum("aB", {a})) == values(transpose(a)));
  CHECK(einsum("b...a", {counting({2, 5, 3})}).shape() == Shape{5, 3, 2});
}

TEST_CASE("a letter twice in one operand takes the diagonal", "[ops][einsum]") {
  const Tensor x = counting({3, 3, 3});  // values from PyTorch
  CHECK(values(einsum("iij->ji", {x})) == std::vector<real>{0, 12, 24, 1, 13, 25, 2, 14, 26});
  CHECK(values(einsum("iij", {x})) == std::vector<real>{36, 39, 42});
  CHECK(einsum("iii", {x}).item() == 39);
  CHECK(values(einsum("iii->i", {x})) == std::vector<real>{0, 13, 26});
  CHECK(einsum("ii->i", {zeros({0, 0})}).shape() == Shape{0});
}

TEST_CASE("an ellipsis stands for any axes and broadcasts", "[ops][einsum]") {
  const Tensor a = counting({4, 1, 2, 3}), b = counting({5, 3, 2});
  CHECK(values(einsum("...ij,...jk->...ik", {a, b})) == values(matmul(a, b)));
  CHECK(einsum("...ij,...jk", {a, b}).shape() == Shape{4, 5, 2, 2});
  CHECK(einsum("...ij,...jk->ik", {a, b}).shape() == Shape{2, 2});
  CHECK(values(einsum("...,...->...", {a, scalar(2)})) == values(a * real(2)));
  CHECK(values(einsum("...i,i", {b, tensor({1, -1})})) == values(sum(b * tensor({1, -1}), -1)));
}

TEST_CASE("a size of 1 broadcasts in einsum", "[ops][einsum]") {
  CHECK(values(einsum("ij,jk->ik", {ones({2, 1}), ones({3, 2})})) ==  // as NumPy and PyTorch
        std::vector<real>{3, 3, 3, 3});
}

TEST_CASE("einsum contracts any number of operands", "[ops][einsum]") {
  const Tensor a = counting({2, 3}), b = counting({3, 4}), c = counting({4, 2});
  const Tensor chain = matmul(matmul(a, b), c);
  CHECK(values(einsum("ij,jk,kl->il", {a, b, c})) == values(chain));
  CHECK(einsum("ij,jk,ki", {a, b, c}).item() == chain.data()[0] + chain.data()[3]);
  CHECK(values(einsum("bij,bj->ib", {counting({3, 3, 3}), counting({3, 3})})) ==
        std::vector<real>{5, 122, 401, 14, 158, 464, 23, 194, 527});
}

TEST_CASE("einsum of empty sums is 0", "[ops][einsum]") {
  CHECK(values(einsum("ij,jk->ik", {zeros({2, 0}), zeros({0, 2})})) ==
        std::vector<real>{0, 0, 0, 0});
  CHECK(einsum("i,i", {zeros({0}), zeros({0})}).item() == 0);
  CHECK(einsum("ij->ji", {zeros({2, 0})}).shape() == Shape{0, 2});
}

TEST_CASE("tensordot and outer pair axes as NumPy does", "[ops][einsum]") {
  const Tensor a = counting({2, 3, 4}), b = counting({3, 4, 5});
  const Tensor whole = matmul(reshape(a, {2, 12}), reshape(b, {12, 5}));
  CHECK(values(tensordot(a, b)) == values(whole));
  CHECK(values(tensordot(a, b, {1, 2}, {0, 1})) == values(whole));
  CHECK(values(tensordot(a, b, {-1, 1}, {1, 0})) == values(whole));
  CHECK(tensordot(a, b, 1, 0).shape() == Shape{2, 4, 4, 5});
  CHECK(tensordot(a, b, 0).shape() == Shape{2, 3, 4, 3, 4, 5});
  CHECK(tensordot(a, a, 3).item() == sum(a * a).item());
  CHECK(values(outer(tensor({1, 2}), tensor({3, 4, 5}))) == std::vector<real>{3, 4, 5, 6, 8, 10});
}
