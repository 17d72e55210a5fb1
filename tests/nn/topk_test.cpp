// Top-k operators: against numbers worked out in double, at extremes, and what each must hold on
// random rows.
#include "topk_fixture.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "error_of.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

constexpr real infinity = std::numeric_limits<real>::infinity();

Tensor fixture_x() { return tensor_of({3, 2, 1, 4}); }
Tensor fixture_g() { return tensor_of({1, -2, .5, 3}); }

struct Expected {
  std::shared_ptr<const TopK> op;
  Numbers y, dx;
  double dk = NAN;  // NaN: not tested
};

template <class Op>
std::shared_ptr<const TopK> make() {
  return std::make_shared<Op>();
}

void check(const std::vector<Expected>& table, const Tensor& x, const TopKCount& k, real tau,
           double digit = 1e-10) {
  for (std::size_t i = 0; i < table.size(); ++i) {
    INFO("row " << i << " of the table");
    const Masked m = mask(*table[i].op, x, k, tau, fixture_g());
    check_printed(m.y, table[i].y, digit, 5e-7);
    if (!table[i].dx.empty())
      check_printed(m.dx, table[i].dx, digit, 2e-6 * std::max(1., 3. / tau));
    if (!std::isnan(table[i].dk)) check_printed(m.dk, {table[i].dk}, digit, 4e-6);
  }
}

}  // namespace

TEST_CASE("operators give the masks and gradients that were worked out: tau = 1", "[nn][topk]") {
  check({{make<GradTopK>(),
          {.6944133046, .3055866954, .1192029220, .8807970780},
          {.3741264374, -.7309704334, -.0268018731, .3836458691}},
         {make<SigmoidTopK>(),
          {.6224593312, .3775406688, .1824255238, .8175744762},
          {.1472149304, -.5577962062, .0188575728, .3917237030},
          .3735633832},
         {make<MinExpTopK>(),
          {.6652409558, .2447284711, .0900305732, 1},
          {.5183562182, -.5434928173, .0251365990, 0},
          .2207993003},
         {make<LaplaceTopK>(),
          {.6967346701, .3032653299, .1115650801, .8884349199},
          {.2713866248, -.6384093647, .0440550199, .3229677200},
          .1051181981},
         {make<SoftKMax>(),
          {.6550421935, .3135852130, .1229466303, .9084259632},
          {.0461953398, -.7774768783, .2974020645, .4338794739}},
         {make<SequentialSoftmax>(),
          {.5840894704, .2399376664, .0916600643, 1.0843127989},
          {-.0522751887, -.7149658525, -.0618211693, .8290622106}},
         {make<SparseTopK<1>>(), {1, 0, 0, 1}, {0, 0, 0, 0}, 0},
         {make<SparseTopK<2>>(), {1, 0, 0, 1}, {0, 0, 0, 0}, 0},
         {make<SparseTopK<3>>(), {1, 0, 0, 1}, {0, 0, 0, 0}, 0}},
        fixture_x(), 2, 1);
}

TEST_CASE("operators give the masks and gradients that were worked out: tau = 0.1", "[nn][topk]") {
  // In float the threshold family keeps its digits relative to each element; the others subtract.
  const auto check_relative = [](const TopK& op, const Numbers& y, const Numbers& dx,
                                 double dx_tolerance = 1e-12) {
    const Masked m = mask(op, fixture_x(), 2, real(.1), fixture_g());
    for (std::size_t i = 0; i < 4; ++i) {
      INFO("element " << i);
      // Printed with 7 digits at least, but for the smallest, which have a last one at 1e-15.
      const double tolerance = sizeof(real) == 8 ? 1e-6 : 1e-5;
      CHECK_THAT(double(m.y.data()[i]), WithinRel(y[i], tolerance) || WithinAbs(y[i], 1e-15));
      CHECK_THAT(double(m.dx.data()[i]),
                 WithinRel(dx[i], tolerance) ||
                     WithinAbs(dx[i], sizeof(real) == 8 ? 1e-13 : dx_tolerance));
    }
  };
  check_relative(GradTopK(), {.9999546001, 4.539992958e-5, 2.061153618e-9, .9999999979},
                 {1.361884524e-3, -1.361977272e-3, -1.030483e-8, 1.030525e-7}, 6e-5);
  check_relative(SigmoidTopK(), {.9933071491, 6.692850924e-3, 3.059022e-7, .9999996941},
                 {9.971396758e-2, -9.972773254e-2, 3.058705e-6, 1.070626e-5});
  check_relative(MinExpTopK(), {.9999546001, 4.539786861e-5, 2.061060e-9, 1},
                 {1.361884531e-3, -1.361874229e-3, -1.030249e-8, 0});
  check_relative(LaplaceTopK(), {.9966310265, 3.368973500e-3, 1.529512e-7, .9999998470},
                 {5.053116125e-2, -5.053804374e-2, 1.529355e-6, 5.353134e-6});
  check_relative(SoftKMax(), {.9999999546, 4.544116481e-5, 2.063026e-9, .9999546021},
                 {4.538646314e-4, -1.363214193e-3, 9.287975e-8, 9.092566816e-4}, 6e-5);
  check_relative(SequentialSoftmax(), {.9999999773, 4.542054261e-5, 2.062089e-9, .9999546001},
                 {4.539681726e-4, -1.362595584e-3, -1.030951e-8, 9.086377208e-4}, 6e-5);
}

TEST_CASE("the sparse family gives the masks and gradients that were worked out", "[nn][topk]") {
  check({{make<SparseTopK<1>>(), {.75, .25, 0, 1}, {.75, -.75, 0, 0}, -.5},
         {make<SparseTopK<2>>(),
          {.8307189139, .1692810861, 0, 1},
          {.8504200643, -.8504200643, 0, 0},
          .0669467095},
         {make<SparseTopK<3>>(),
          {.8993002086, .1006997914, 0, 1},
          {.7903913056, -.7903913056, 0, 0},
          .4344368572}},
        fixture_x(), 2, 2);
}

TEST_CASE("rows with ties have masks and gradients with the same ties", "[nn][topk]") {
  const Tensor equal = ones(4), some = tensor_of({2, 1, 1, 0});
  const double kappa[] = {1. / 4,       1. / 2, 1. / 2, 1,     std::sqrt(2.),
                          1.8898815748, 1. / 3, 1. / 3, .4375, 5. / 12};
  const std::vector<Named> all = all_operators();
  for (std::size_t i = 0; i < all.size(); ++i) {
    INFO(all[i].name);
    const Masked m = mask(*all[i].op, equal, 2, 1, fixture_g());
    check_printed(m.y, {.5, .5, .5, .5}, 1e-10, 5e-7);
    check_printed(m.dx, {.375 * kappa[i], -2.625 * kappa[i], -.125 * kappa[i], 2.375 * kappa[i]},
                  1e-9, 6e-6);
    const real* y = (*all[i].op)(some, 2).data();
    const bool is_threshold = i < threshold_operators().size();
    CHECK(std::abs(y[1] - y[2]) <= (is_threshold ? 0 : 2e-7));
  }
  check({{make<GradTopK>(),
          {.7876051913, .5, .5, .2123948087},
          {.1242993754, -.8085463533, .1355430579, .5487039200}},
         {make<SigmoidTopK>(),
          {.7310585786, .5, .5, .2689414214},
          {.1060461331, -.6151580663, .0098419337, .4992699995}},
         {make<MinExpTopK>(),
          {1, .4223187983, .4223187983, .1553624035},
          {0, -.7739452361, .2818517595, .4920934765}},
         {make<LaplaceTopK>(),
          {.8160602794, .5, .5, .1839397206},
          {.1858547338, -.9947944544, .2552055456, .5537341750}},
         {make<SparseTopK<1>>(), {1, .5, .5, 0}, {0, -1.25, 1.25, 0}}},
        some, 2, 1);
}

TEST_CASE("more than half of close scores can be chosen", "[nn][topk]") {
  const Numbers y{.7636722177, .7388174078, .7113485948, .7861617796},
      dx{.1182104568, -.6529050174, .0000568754, .5346376852};
  check({{make<LaplaceTopK>(), y, dx},
         {make<GradTopK>(), y, dx},
         {make<SigmoidTopK>(), {.7598277701, .7411080233, .7214640669, .7776001397}, {}},
         {make<MinExpTopK>(), {.7835477765, .7089833470, .6415146611, .8659542155}, {}},
         {make<SparseTopK<1>>(), {.8, .7, .6, .9}, {}}},
        tensor_of({.3, .2, .1, .4}), 3, 1);
  const Tensor complement = real(1) - softmax(tensor_of({-.3, -.2, -.1, -.4}));
  check_printed(complement, y);
  check_printed(real(3) * softmax(tensor_of({.3, .2, .1, .4})),
                {.7835477765, .7089833470, .6415146611, .8659542155});
}

TEST_CASE("one of n is softmax, for those operators that generalise it", "[nn][topk]") {
  const Numbers y{.2368828181, .0871443187, .0320586033, .6439142599},
      dx{-.2393384074, -.3494806358, -.0484202328, .6372392760};
  check({{make<GradTopK>(), y, dx},
         {make<MinExpTopK>(), y, dx},
         {make<SoftKMax>(), y, dx},
         {make<SequentialSoftmax>(), y, dx},
         {make<LaplaceTopK>(), {.2473501926, .0909950506, .0334752084, .6281795484}, {}},
         {make<SigmoidTopK>(), {.2902849581, .1307890092, .0524509386, .5264750941}, {}}},
        fixture_x(), 1, 1);
}

TEST_CASE("sparsemax and entmax are the sparse links at k = 1", "[nn][topk]") {
  const auto pull = [](Tensor (*op)(const Tensor&), const Tensor& scores) {
    Tensor x = scores.clone();
    x.requires_grad_();
    Tape tape;
    const Tensor y = op(x);
    tape.backward(y, fixture_g());
    return Masked{y.detach(), x.grad(), {}, {}};
  };
  const Masked flat = pull(sparsemax, tensor_of({.5, .15, -.3, .9}));
  check_printed(flat.y, {.3, 0, 0, .7});
  check_printed(flat.dx, {-1, 0, 0, 1});
  const Masked three = pull(sparsemax, tensor_of({.5, .4, -.3, .9}));
  check_printed(three.y, {7. / 30, 4. / 30, 0, 19. / 30});
  check_printed(three.dx, {1. / 3, -8. / 3, 0, 7. / 3});
  const Masked smooth = pull(entmax15, tensor_of({.5, .2, -.3, .9}));
  check_printed(smooth.y, {.2883463014, .1497526419, .0187632094, .5431378473});
  check_printed(smooth.dx, {-.0730336654, -1.2135689920, -.0871197161, 1.3737223735}, 1e-10, 4e-6);
}

TEST_CASE("the iterated softmaxes leave what a mask should hold", "[nn][topk]") {
  check_printed(SoftKMax()(tensor_of({2, 1, -8}), 2), {.751, 1.2476, .0014}, 1e-3, 1e-3);
  check_printed(SoftKMax()(tensor_of({4, 3, 0}), 2), {.9539, .9566, .0895}, 1e-4, 1e-4);
  check_printed(SequentialSoftmax()(tensor_of({50, 1, 0, -50}), 2), {1.5, .366, .134, 0}, 1e-3,
                1e-3);
}

TEST_CASE("optimal transport is the sigmoid operator at half the temperature", "[nn][topk]") {
  const Tensor x = fixture_x();
  check_printed(soft_topk_ot(x, 2, 2), {.6224593312, .3775406688, .1824255238, .8175744762});
  // Sinkhorn's iterations, in logarithms, on the plan between the scores and 0 and 1.
  const double eps = 2, mass[] = {.5, .5};
  double f[4] = {}, h[2] = {};
  const auto cost = [&](int i, int a) { return std::pow(x.data()[i] - a, 2); };
  for (int sweep = 0; sweep < 200; ++sweep) {
    for (int i = 0; i < 4; ++i)
      f[i] =
          -eps *
          std::log(4 * (std::exp((h[0] - cost(i, 0)) / eps) + std::exp((h[1] - cost(i, 1)) / eps)));
    for (int a = 0; a < 2; ++a) {
      double sum = 0;
      for (int i = 0; i < 4; ++i) sum += std::exp((f[i] - cost(i, a)) / eps);
      h[a] = eps * std::log(mass[a] / sum);
    }
  }
  Numbers plan;
  for (int i = 0; i < 4; ++i) plan.push_back(4 * std::exp((f[i] + h[1] - cost(i, 1)) / eps));
  check_printed(soft_topk_ot(x, 2, 2), plan, 1e-12);
}

TEST_CASE("extreme scores and temperatures give exact masks", "[nn][topk]") {
  check({{make<GradTopK>(), {1, 0, .2689414214, .7310585786}, {}},
         {make<MinExpTopK>(), {1, 0, .2689414214, .7310585786}, {}},
         {make<SigmoidTopK>(), {1, 0, .3775406688, .6224593312}, {}},
         {make<LaplaceTopK>(), {1, 0, .3032653299, .6967346701}, {}},
         {make<SparseTopK<1>>(), {1, 0, 0, 1}, {}}},
        tensor_of({200, -200, 0, 1}), 2, 1);
  for (const Named& each : convex_operators()) {
    INFO(each.name);
    const Tensor wide = tensor_of({1e30, -1e30, 0, 1});
    const Masked far = mask(*each.op, wide, 2, 1, fixture_g());
    CHECK(far.y.data()[0] == 1);
    CHECK(far.y.data()[1] == 0);
    CHECK_THAT(sum_of(far.y), WithinAbs(2, 1e-6));
    CHECK(std::isfinite(largest(far.dx)));

    const Masked cold = mask(*each.op, fixture_x(), 2, real(1e-6), fixture_g());
    check_printed(cold.y, {1, 0, 0, 1}, 1e-300, 1e-300);
    check_printed(cold.dx, {0, 0, 0, 0}, 1e-300, 1e-300);
    CHECK(cold.dtau.item() == 0);
    check_printed((*each.op)(fixture_x(), 2, real(1e6)), {.5, .5, .5, .5}, 1e-5, 5e-6);
  }
}

TEST_CASE("masked scores are as if they were not there", "[nn][topk]") {
  for (const Named& each : all_operators()) {
    INFO(each.name);
    const Tensor g = tensor_of({7, 1, -2, -9, .5, 3}),
                 x = tensor_of({-INFINITY, 3, 2, -INFINITY, 1, 4});
    const Masked with = mask(*each.op, x, 2, real(.9), g),
                 without = mask(*each.op, fixture_x(), 2, real(.9), fixture_g());
    for (const auto& [a, b] : {std::pair(with.y, without.y), std::pair(with.dx, without.dx)}) {
      CHECK(a.data()[0] == 0);
      CHECK(a.data()[3] == 0);
      for (const auto& [i, j] : {std::pair(1, 0), {2, 1}, {4, 2}, {5, 3}})
        CHECK_THAT(a.data()[i], WithinAbs(b.data()[j], sizeof(real) == 8 ? 1e-14 : 1e-6));
    }
    CHECK_THAT(with.dtau.item(), WithinAbs(without.dtau.item(), sizeof(real) == 8 ? 1e-13 : 5e-6));
  }
}

TEST_CASE("none and all are chosen without a gradient", "[nn][topk]") {
  for (const Named& each : all_operators()) {
    INFO(each.name);
    for (const int k : {0, 4}) {
      const Masked m = mask(*each.op, fixture_x(), k, 1, fixture_g());
      CHECK(largest(m.y - real(k == 4)) == 0);
      CHECK(largest(m.dx) == 0);
      CHECK(m.dtau.item() == 0);
    }
    // As many as there are: the second row has two, the third none.
    const Tensor x = tensor_of(
        {3, 2, 1, 4, 1, -INFINITY, 2, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY},
        {3, 4});
    const Tensor y = (*each.op)(x, at_most(3));
    CHECK_THAT(sum_of(slice(y, 0, 0, 1)), WithinAbs(3, 2e-6));
    CHECK(largest(slice(y, 0, 1, 3) - tensor_of({1, 0, 1, 0, 0, 0, 0, 0}, {2, 4})) == 0);
    CHECK((*each.op)(zeros({2, 0}), 0).shape() == Shape{2, 0});
  }
}

TEST_CASE("what all smooth masks promise holds on random rows", "[nn][topk]") {
  Rng rng(11);
  const double y_tolerance = sizeof(real) == 8 ? 1e-13 : 5e-7;
  struct Problem {
    std::size_t n, k;
    double spread;
  };
  for (const Problem p : {Problem{2, 1, 1},
                          {5, 2, 1e-3},
                          {7, 6, 1},
                          {16, 8, 3},
                          {33, 1, 1},
                          {100, 30, 1},
                          {100, 99, 10},
                          {257, 200, 1},
                          {1000, 10, 1},
                          {1000, 500, 1e2},
                          {10000, 100, 1}}) {
    const Tensor x = randn({3, p.n}, rng) * static_cast<real>(p.spread), g = randn({3, p.n}, rng);
    for (const Named& each : convex_operators()) {
      INFO(each.name << ", n = " << p.n << ", k = " << p.k << ", spread " << p.spread);
      const Masked m = mask(*each.op, x, p.k, 1, g);
      const double dx_tolerance = 20 * y_tolerance * std::max(1., largest(g));
      for (std::size_t i = 0; i < 3; ++i) {
        const auto row = [i](const Tensor& t) { return slice(t, 0, i, i + 1); };
        CHECK_THAT(sum_of(row(m.y)), WithinAbs(p.k, 4 * y_tolerance * std::max(1., double(p.k))));
        CHECK_THAT(sum_of(row(m.dx)), WithinAbs(0, dx_tolerance * std::sqrt(double(p.n))));
        // Monotone, and within [0, 1].
        const Indices order = argsort(row(x));
        const real* y = row(m.y).data();
        double before = 0;
        bool ordered = true;
        for (const std::int64_t id : order) {
          ordered = ordered && y[id] >= before - y_tolerance && y[id] <= 1;
          before = y[id];
        }
        CHECK(ordered);
      }
      CHECK(largest(mask(*each.op, x, p.k, 1, full({3, p.n}, 3)).dx) < 3 * dx_tolerance);

      // Another order of the scores, and all of them shifted.
      const Tensor turned = flip(x, {1});
      CHECK(largest(flip((*each.op)(turned, p.k), {1}) - m.y) < 4 * y_tolerance);
      CHECK(largest((*each.op)(x + real(1e3), p.k) - m.y) < (sizeof(real) == 8 ? 1e-11 : 1e-4));
    }
    // Who is left out is who is chosen among the scores with other signs.
    for (const auto& op :
         {make<SigmoidTopK>(), make<LaplaceTopK>(), make<SparseTopK<1>>(), make<GradTopK>()})
      CHECK(largest((*op)(x, p.k) + (*op)(-x, p.n - p.k) - real(1)) < 4 * y_tolerance);
  }
}

TEST_CASE("the derivative of a convex operator is symmetric", "[nn][topk]") {
  Rng rng(12);
  for (const Named& each : convex_operators())
    for (const std::size_t n : {4, 9, 40}) {
      const Tensor x = randn({n}, rng), g = randn({n}, rng), h = randn({n}, rng);
      INFO(each.name << ", n = " << n);
      const double gh = sum_of(h * mask(*each.op, x, n / 3, real(.7), g).dx),
                   hg = sum_of(g * mask(*each.op, x, n / 3, real(.7), h).dx);
      CHECK_THAT(gh, WithinAbs(hg, sizeof(real) == 8 ? 1e-13 : 2e-5));
    }
}

TEST_CASE("min(1, exp) is k softmax where that exceeds 1 nowhere, and softmax below its cap",
          "[nn][topk]") {
  Rng rng(13);
  const Tensor x = rand({50}, rng);
  CHECK(largest(MinExpTopK()(x, 7) - real(7) * softmax(x)) < (sizeof(real) == 8 ? 1e-15 : 2e-7));
  // Cold: all but the last of the chosen are capped.
  const Tensor y = MinExpTopK()(tensor_of({9, 8, 1, .9, .8}), 3, real(.1));
  check_printed(y, {1, 1, .6652409558, .2447284711, .0900305732}, 1e-10, 5e-7);
}

TEST_CASE("k may be any number for the threshold family, and has a gradient", "[nn][topk]") {
  Rng rng(14);
  for (const Named& each : threshold_operators())
    for (const double k : {.3, 1.5, 4.001, 8.7, 9.9}) {
      INFO(each.name << ", k = " << k);
      const Tensor x = randn({10}, rng);
      CHECK_THAT(sum_of((*each.op)(x, k)), WithinAbs(k, sizeof(real) == 8 ? 1e-12 : 4e-6));
      // If every y counts the same, so does k.
      CHECK_THAT(mask(*each.op, x, k, 1, ones(10)).dk.item(), WithinAbs(1, 2e-6));
    }
}

TEST_CASE("temperature and k need not be tensors, and give the same", "[nn][topk]") {
  const Tensor x = fixture_x();
  for (const Named& each : all_operators())
    CHECK(largest((*each.op)(x, scalar(2), scalar(real(.5))) - (*each.op)(x, 2, real(.5))) == 0);
  Tensor leaf = fixture_x();
  leaf.requires_grad_();
  Tape tape;
  tape.backward(LaplaceTopK()(leaf, 2, real(.5)), fixture_g());
  CHECK(largest(leaf.grad() - mask(LaplaceTopK(), x, 2, real(.5), fixture_g()).dx) == 0);
}

TEST_CASE("hard_topk chooses the first of equals", "[nn][topk]") {
  const Tensor x = tensor_of({1, 2, 2, 2, 0, 5, 5, 5, 5, 5, -INFINITY, 3, 1, 2, 4}, {3, 5});
  CHECK(largest(hard_topk(x, 2) -
                tensor_of({0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 1}, {3, 5})) == 0);
  CHECK(largest(hard_topk(x, at_most(5)) -
                tensor_of({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1}, {3, 5})) == 0);
}

TEST_CASE("straight through, the mask is hard and the gradient that of the operator",
          "[nn][topk]") {
  const Masked hard = mask(StraightThroughTopK{SigmoidTopK()}, fixture_x(), 2, 1, fixture_g()),
               soft = mask(SigmoidTopK(), fixture_x(), 2, 1, fixture_g());
  CHECK(largest(hard.y - tensor_of({1, 0, 0, 1})) == 0);
  CHECK(largest(hard.dx - soft.dx) == 0);
  CHECK(largest(hard.dtau - soft.dtau) == 0);
}

TEST_CASE("the k largest after Gumbel noise are a sample without replacement",
          "[nn][topk][.slow]") {
  Rng rng(15);
  const std::size_t draws = 200'000;
  const GumbelTopK op(StraightThroughTopK{SigmoidTopK()}, 1, &rng);
  const Tensor rate = mean(op(broadcast_to(fixture_x(), {draws, 4}), 2), 0);
  check_printed(rate, {.6957002510, .2746656061, .1030424597, .9265916832}, 4e-3, 2e-3);
}

TEST_CASE("without a generator there is no noise; with one each call has its own", "[nn][topk]") {
  GumbelTopK op{LaplaceTopK()};
  const Tensor x = fixture_x(), plain = LaplaceTopK()(x, 2);
  CHECK(largest(op(x, 2) - plain) == 0);
  Rng rng(16), same(16);
  op.rng = &rng;
  const Tensor first = op(x, 2), second = op(x, 2);
  CHECK(largest(first - plain) > 1e-3);
  CHECK(largest(first - second) > 1e-3);
  op.rng = &same;
  CHECK(largest(op(x, 2) - first) == 0);
  const Tensor noise = add_gumbel(zeros(100'000), 1, rng);
  CHECK_THAT(mean(noise).item(), WithinAbs(.5772, .02));
  CHECK(std::isfinite(largest(noise)));
}

namespace {

constexpr double pi = 3.14159265358979323846;
struct CauchyLink : PointwiseLink<CauchyLink> {
  static constexpr const char* name = "CauchyTopK";
  static double value(double z) { return 0.5 + std::atan(z) / pi; }
  static double slope(double z) { return 1 / (pi * (1 + z * z)); }
};
struct PointwiseSigmoid : PointwiseLink<PointwiseSigmoid> {
  static constexpr const char* name = "PointwiseSigmoid";
  static double value(double z) { return 1 / (1 + std::exp(-z)); }
  static double slope(double z) { return value(z) * value(-z); }
};

}  // namespace

TEST_CASE("a link of one's own takes two functions", "[nn][topk]") {
  Rng rng(17);
  const Tensor x = randn({2, 30}, rng), g = randn({2, 30}, rng);
  const Masked own = mask(Threshold<PointwiseSigmoid>(), x, 4.5, real(.6), g),
               built_in = mask(SigmoidTopK(), x, 4.5, real(.6), g);
  const double tolerance = sizeof(real) == 8 ? 1e-12 : 4e-6;
  CHECK(largest(own.y - built_in.y) < tolerance);
  CHECK(largest(own.dx - built_in.dx) < tolerance);
  CHECK(largest(own.dk - built_in.dk) < tolerance);
  const Tensor y = Threshold<CauchyLink>()(x, 4);
  CHECK_THAT(sum_of(y), WithinAbs(8, 4e-6));
  CHECK(error_of([&] { Threshold<CauchyLink>()(x, 31); }) ==
        "CauchyTopK: k = 31 exceeds the 30 scores of a row");
  CHECK(error_of([&] {
          Threshold<CauchyLink>().log_member(x, Indices({0, 1}), 2);
        }) == "CauchyTopK: its link has no logarithm()");
}

TEST_CASE("a second derivative is refused by name", "[nn][topk]") {
  Tensor x = fixture_x();
  x.requires_grad_();
  Tape tape;
  const Tensor y = LaplaceTopK()(x, 2);
  CHECK(error_of([&] { tape.gradient(y, x, {.record = true}, fixture_g()); }) ==
        "LaplaceTopK: a fused operation has no second derivative; use operations of core/ops.hpp "
        "(it has no composite) to differentiate twice");
}
