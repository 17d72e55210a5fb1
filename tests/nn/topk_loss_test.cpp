// Losses on top-k masks and the loss of balance: against numbers that were worked out.
#include "topk_fixture.hpp"

#include <limits>

using namespace xgrad;
using namespace xgrad::testing;

namespace {

Tensor fixture_x() { return tensor_of({3, 2, 1, 4}, {1, 4}); }

template <class Loss>
std::pair<Tensor, Tensor> pull(const Loss& loss, const Tensor& scores) {
  Tensor x = scores.clone();
  x.requires_grad_();
  Tape tape;
  const Tensor y = loss(x);
  tape.backward(y);
  return {y.detach(), x.grad()};
}

}  // namespace

TEST_CASE("the cross-entropy of a mask gives the numbers that were worked out", "[nn][topk]") {
  const auto loss = [](const TopK& op) {
    return pull([&](const Tensor& x) { return topk_cross_entropy(x, Indices({1}), 2, 1, op); },
                fixture_x());
  };
  const auto [value, dx] = loss(GradTopK());
  check_printed(value, {1.1855217587});
  check_printed(dx, {.4349168443, -.6944133046, .0840838951, .1754125653});
  check_printed(loss(SigmoidTopK()).first, {.9740769842});
  check_printed(loss(MinExpTopK()).first, {1.4076059644});
  check_printed(loss(LaplaceTopK()).first, {1.1931471806});
}

TEST_CASE("the cross-entropy is that of the mask, and finite where the mask is 0", "[nn][topk]") {
  Rng rng(31);
  const Tensor x = randn({3, 6}, rng);
  const Indices targets({2, 5, 0});
  for (const Named& each : all_operators()) {
    if (each.name.starts_with("p =")) continue;
    INFO(each.name);
    const auto [value, dx] =
        pull([&](const Tensor& s) { return topk_cross_entropy(s, targets, 2, 1, *each.op); }, x);
    const auto [expected, expected_dx] = pull(
        [&](const Tensor& s) { return mean(each.op->TopK::log_member(s, targets, 2) * real(-1)); },
        x);
    CHECK(largest(value - expected) < (sizeof(real) == 8 ? 1e-14 : 2e-6));
    CHECK(largest(dx - expected_dx) < (sizeof(real) == 8 ? 1e-13 : 1e-5));
  }
  const Tensor apart = tensor_of({500, 400, 0, -300}, {1, 4});
  for (const auto& op :
       {Named{"", std::make_shared<SigmoidTopK>()}, Named{"", std::make_shared<MinExpTopK>()},
        Named{"", std::make_shared<LaplaceTopK>()}}) {
    const auto [value, dx] = pull(
        [&](const Tensor& s) { return topk_cross_entropy(s, Indices({3}), 2, 1, *op.op); }, apart);
    CHECK(value.item() > 400);
    CHECK(std::isfinite(value.item()));
    CHECK(std::isfinite(largest(dx)));
    CHECK_THAT(dx.data()[3], WithinAbs(-1, 1e-6));
  }
  // A sparse mask has no logarithm there: fenchel_young has a gradient.
  CHECK(std::isinf(topk_cross_entropy(fixture_x(), Indices({2}), 2, 1, SparseTopK<1>()).item()));
}

TEST_CASE("Fenchel-Young losses give the numbers that were worked out", "[nn][topk]") {
  struct Expected {
    std::shared_ptr<const ConvexTopK> op;
    double best, worst;
  };
  for (const Expected& e : {Expected{std::make_shared<SigmoidTopK>(), 1.3509805243, 5.3509805243},
                            Expected{std::make_shared<MinExpTopK>(), .4076059644, 4.4076059644},
                            Expected{std::make_shared<LaplaceTopK>(), .8296608199, 4.8296608199},
                            Expected{std::make_shared<SparseTopK<1>>(), 0, 4},
                            Expected{std::make_shared<GradTopK>(), .5345339755, 4.5345339755}}) {
    const auto loss = [&](const Indices& members) {
      return pull([&](const Tensor& x) { return fenchel_young(x, members, 1, *e.op); },
                  fixture_x());
    };
    check_printed(loss(Indices({{0, 3}})).first, {e.best});
    const auto [value, dx] = loss(Indices({{1, 2}}));
    check_printed(value, {e.worst});
    const Tensor expected = (*e.op)(fixture_x(), 2) - tensor_of({0, 1, 1, 0}, {1, 4});
    CHECK(largest(dx - expected) < (sizeof(real) == 8 ? 1e-14 : 5e-7));
  }
}

TEST_CASE("a Fenchel-Young loss is 0 or more, and 0 for what is chosen beyond doubt",
          "[nn][topk]") {
  Rng rng(32);
  const Tensor x = randn({50, 8}, rng) * real(3);
  for (const Named& each : convex_operators()) {
    INFO(each.name);
    const auto& op = dynamic_cast<const ConvexTopK&>(*each.op);
    const Tensor best = op.fenchel_young(x, topk(x, 3).ids);
    CHECK(min(best).item() >= (sizeof(real) == 8 ? -1e-14 : -2e-6));
    CHECK(largest(op.fenchel_young(x, topk(x, 3).ids, real(1e-4))) < 1e-4);
    CHECK(largest(op.fenchel_young(x, argsort(x))) == 0);  // all of them
    // Far from the origin and with a masked score.
    Tensor shifted = x + real(1e4);
    CHECK(largest(op.fenchel_young(shifted, topk(x, 3).ids) - best) <
          (sizeof(real) == 8 ? 1e-10 : 2e-2));
  }
}

TEST_CASE("the loss of balance gives the numbers that were worked out", "[nn][topk]") {
  const Tensor logits = tensor_of({3, 2, 1, 4, 0, 1, 2, 3, 1, 0, 0, .5}, {3, 4});
  const auto [value, dx] = pull([](const Tensor& x) { return load_balance(x, 2); }, logits);
  check_printed(value, {1.4351285124});
  check_printed(slice(dx, 0, 0, 1), {-.0230338019, -.0472044705, -.0102414202, .0804796926});
  check_printed(slice(dx, 0, 2, 3), {.0201352389, -.0623969988, -.0274948292, .0697565892});
  // Any leading axes.
  CHECK(load_balance(reshape(logits, {3, 1, 4}), 2).item() == value.item());
}
