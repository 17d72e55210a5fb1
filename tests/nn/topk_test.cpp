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
  const auto check_relative = [](const TopK& op, const Numbers& y, const Numbers& dx) {
    const Masked m = mask(op, fixture_x(), 2, real(.1), fixture_g());
    for (std::size_t i = 0; i < 4; ++i) {
      INFO("element " << i);
      // Printed with 7 digits at least, but for the smallest, which have a last one at 1e-15.
      const double tolerance = sizeof(real) == 8 ? 1e-6 : 1e-5;
      CHECK_THAT(m.y.data()[i], WithinRel(y[i], tolerance) || WithinAbs(y[i], 1e-15));
      CHECK_THAT(m.dx.data()[i], WithinRel(dx[i], tolerance) || WithinAbs(dx[i], 1e-13));
    }
  };
  check_relative(GradTopK(), {.9999546001, 4.539992958e-5, 2.061153618e-9, .9999999979},
                 {1.361884524e-3, -1.361977272e-3, -1.030483e-8, 1.030525e-7});
  check_relative(SigmoidTopK(), {.9933071491, 6.692850924e-3, 3.059022e-7, .9999996941},
                 {9.971396758e-2, -9.972773254e-2, 3.058705e-6, 1.070626e-5});
  check_relative(MinExpTopK(), {.9999546001, 4.539786861e-5, 2.061060e-9, 1},
                 {1.361884531e-3, -1.361874229e-3, -1.030249e-8, 0});
  check_relative(LaplaceTopK(), {.9966310265, 3.368973500e-3, 1.529512e-7, .9999998470},
                 {5.053116125e-2, -5.053804374e-2, 1.529355e-6, 5.353134e-6});
  check_relative(SoftKMax(), {.9999999546, 4.544116481e-5, 2.063026e-9, .9999546021},
                 {4.538646314e-4, -1.363214193e-3, 9.287975e-8, 9.092566816e-4});
  check_relative(SequentialSoftmax(), {.9999999773, 4.542054261e-5, 2.062089e-9, .9999546001},
                 {4.539681726e-4, -1.362595584e-3, -1.030951e-8, 9.086377208e-4});
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
