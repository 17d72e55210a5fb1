// Estimators of a quantizer's gradient: against stored numbers, against the explicit matrix,
// against their composites, and where directions fail.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>

#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/nn/vq/estimator.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

constexpr double tight = sizeof(real) == 8 ? 1e-12 : 2e-6;

struct Pulled {
  Tensor value, dz, dq;
};

/// The value, and the gradients of <g, value>; undefined where there is none.
Pulled pull(const Estimator& estimator, const Tensor& z_numbers, const Tensor& q_numbers,
            const Tensor& g) {
  Tensor z = z_numbers.clone(), q = q_numbers.clone();
  z.requires_grad_();
  q.requires_grad_();
  Tape tape;
  const Tensor y = estimator(z, q);
  tape.backward(y, g);
  return {y.detach(), z.grad(), q.grad()};
}

Tensor tensor_of(const std::vector<double>& numbers, const Ints& shape) {
  return tensor(std::vector<real>(numbers.begin(), numbers.end()), shape);
}

/// As printed in double; to 2e-5 in float.
void check_printed(const Tensor& x, const std::vector<double>& expected, double digits = 1e-11) {
  REQUIRE(x.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(x.data()[i], WithinAbs(expected[i], sizeof(real) == 8 ? digits : 2e-5));
  }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0;
}

/// The largest difference, relative to the largest number of b.
double difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0, scale = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a.data()[i]) - b.data()[i]));
    scale = std::max(scale, std::abs(static_cast<double>(b.data()[i])));
  }
  return most / scale;
}

// The fixture: three vectors, their codes, and a gradient.
Tensor fixture_z() { return tensor_of({.9, .2, .1, -.4, .8, .3, .2, -.3, .7}, {3, 3}); }
Tensor fixture_q() { return tensor_of({1, 0, .5, -1, .5, 0, .5, -.5, 1}, {3, 3}); }
Tensor fixture_g() { return tensor_of({1, -2, .5, .3, .4, -.1, -.5, .25, 2}, {3, 3}); }

Tensor first_row(const Tensor& x) { return slice(x, 0, 0, 1); }

/// One of each kind that has a closed form.
std::vector<std::shared_ptr<const PlaneEstimator>> plane_estimators() {
  return {std::make_shared<Rotation>(),
          std::make_shared<Rotation>(
              RotationOptions{.obtuse_straight_through = true, .lambda_clip = {real(.8), 2}}),
          std::make_shared<TangentRotation>(),
          std::make_shared<RotationNoScale>(),
          std::make_shared<ScaleOnly>(),
          std::make_shared<Reflection>(),
          std::make_shared<Diveq>(),
          std::make_shared<Diveq>(DiveqOptions{.alpha = 2})};
}

using Numbers = std::vector<double>;

/// Row i of x.
Numbers row_of(const Tensor& x, std::size_t i) {
  const std::size_t d = x.size(-1);
  return {x.data() + i * d, x.data() + (i + 1) * d};
}
double dot(const Numbers& a, const Numbers& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}
double length(const Numbers& a) { return std::sqrt(dot(a, a)); }
double cosine(const Numbers& a, const Numbers& b) { return dot(a, b) / (length(a) * length(b)); }

/// R = I + 2 f e^T - 2 w w^T, all d^2 numbers of it.
std::vector<Numbers> rotation(const Numbers& z, const Numbers& q) {
  const std::size_t d = z.size();
  Numbers e(d), f(d), w(d);
  for (std::size_t i = 0; i < d; ++i) {
    e[i] = z[i] / length(z);
    f[i] = q[i] / length(q);
    w[i] = e[i] + f[i];
  }
  std::vector<Numbers> r(d, Numbers(d));
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j < d; ++j)
      r[i][j] = (i == j) + 2 * f[i] * e[j] - 2 * w[i] * w[j] / dot(w, w);
  return r;
}

struct Rows {
  Tensor z, q, g;
};
Rows random_rows(std::size_t rows, std::size_t d, std::uint64_t seed = 3) {
  Rng rng(seed);
  return {randn({rows, d}, rng), real(3) * randn({rows, d}, rng), randn({rows, d}, rng)};
}

}  // namespace

TEST_CASE("an estimator's value is its code, to the bit", "[nn][vq]") {
  const Rows r = random_rows(20, 7);
  for (const auto& estimator : plane_estimators()) {
    CHECK(same_bits(pull(*estimator, r.z, r.q, r.g).value, r.q));
    CHECK(same_bits((*estimator)(r.z, r.q), r.q));
    CHECK(same_bits(estimator->composite(r.z, r.q), r.q));
  }
  CHECK(same_bits(StraightThrough()(r.z, r.q), r.q));
}

TEST_CASE("straight through, the gradient is passed on unchanged", "[nn][vq]") {
  const Pulled p = pull(StraightThrough(), fixture_z(), fixture_q(), fixture_g());
  CHECK(same_bits(p.dz, fixture_g()));
  CHECK_FALSE(p.dq.defined());
}

TEST_CASE("the rotation trick gives the gradients that were worked out by hand", "[nn][vq]") {
  const Pulled p = pull(Rotation(), fixture_z(), fixture_q(), fixture_g());
  check_printed(p.dz, {1.814223422559, -2.061991281283, .295971759533, .526063495625, .215048339564,
                       -.205377578005, -1.225099498354, .598895053324, 2.928126308097});
  CHECK_FALSE(p.dq.defined());
  const double zdz[] = {1.25, -.1, 1.625},
               cos_gq[] = {.487950036474, -.175411603861, .638915143338},
               cos_gdz[] = {.961569224163, .858003204888, .986693789955};
  for (std::size_t i = 0; i < 3; ++i) {
    const Numbers z = row_of(fixture_z(), i), q = row_of(fixture_q(), i),
                  g = row_of(fixture_g(), i), dz = row_of(p.dz, i);
    const double tolerance = sizeof(real) == 8 ? 1e-11 : 2e-6;
    CHECK_THAT(dot(z, dz), WithinAbs(zdz[i], tolerance));
    CHECK_THAT(dot(q, g), WithinAbs(zdz[i], tolerance));
    CHECK_THAT(cosine(g, q), WithinAbs(cos_gq[i], tolerance));
    CHECK_THAT(cosine(dz, z), WithinAbs(cos_gq[i], tolerance));
    CHECK_THAT(cosine(g, dz), WithinAbs(cos_gdz[i], tolerance));
    CHECK(std::abs(cosine(g, dz) - cosine(z, q)) > 1e-3);  // not what one might think
  }
}

TEST_CASE("unit gradients show the rotation's matrix and its scale", "[nn][vq]") {
  const auto three = [](const Tensor& x) { return broadcast_to(first_row(x), {3, 3}); };
  const Tensor unit = tensor_of({1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  check_printed(pull(RotationNoScale(), three(fixture_z()), three(fixture_q()), unit).dz,
                {.921115775914, .175906680603, -.347278803099, -.209887577133, .975727931050,
                 -.062467667905, .327861147939, .130429460964, .935679017283});
  const double lambda[] = {1.205607055426, 1.185113657850, 1.555427542096},
               cos_zq[] = {.916261362124, .758472741024, .985104109994};
  const Tensor dz = pull(ScaleOnly(), fixture_z(), fixture_q(), unit).dz;
  for (std::size_t i = 0; i < 3; ++i) {
    const double tolerance = sizeof(real) == 8 ? 1e-11 : 2e-6;
    CHECK_THAT(length(row_of(dz, i)), WithinAbs(lambda[i], tolerance));
    CHECK_THAT(cosine(row_of(fixture_z(), i), row_of(fixture_q(), i)),
               WithinAbs(cos_zq[i], tolerance));
  }
}

TEST_CASE("the other members give the gradients that were worked out by hand", "[nn][vq]") {
  const auto first = [](const Estimator& estimator) {
    return pull(estimator, first_row(fixture_z()), first_row(fixture_q()), first_row(fixture_g()))
        .dz;
  };
  check_printed(first(ScaleOnly()), {1.205607055426, -2.411214110852, .602803527713});
  check_printed(first(RotationNoScale()), {1.504821504149, -1.710334451016, .245496041352});
  check_printed(first(Reflection()), {1.78051934, -.78123631, -1.96220148}, 1e-8);
  check_printed(first(TangentRotation()), {.506083887675, -2.352688955701, .150622922324});

  const Pulled diveq = pull(Diveq(), fixture_z(), fixture_q(), fixture_g());
  const Numbers dz{.666666666667,   -1.333333333333, -.833333333333, 0, .25, -.25,
                   -1.045454545455, .613636363636,   1.454545454545};
  check_printed(diveq.dz, dz);
  Numbers dq = dz;
  for (std::size_t i = 0; i < dq.size(); ++i) dq[i] = fixture_g().data()[i] - dz[i];
  check_printed(diveq.dq, dq, 2e-11);
}

TEST_CASE("the rotation is the matrix of its definition, transposed for the gradient", "[nn][vq]") {
  for (const std::size_t d : {2, 8, 64, 256}) {
    const Rows rows = random_rows(50, d);
    const Tensor dz = pull(Rotation(), rows.z, rows.q, rows.g).dz;
    for (std::size_t i = 0; i < 50; ++i) {
      const Numbers z = row_of(rows.z, i), q = row_of(rows.q, i), g = row_of(rows.g, i),
                    got = row_of(dz, i);
      const std::vector<Numbers> r = rotation(z, q);
      const double lambda = length(q) / length(z);
      // Where z and q all but point opposite ways, a rounding error counts for more.
      const double blur = 1 + 1 / (1 + cosine(z, q)), scale = lambda * length(g);
      for (std::size_t j = 0; j < d; ++j) {
        double expected = 0, orthogonal = 0, turned = 0;
        for (std::size_t k = 0; k < d; ++k) {
          expected += lambda * r[k][j] * g[k];
          orthogonal += r[k][j] * r[k][0];
          turned += lambda * r[j][k] * z[k];
        }
        INFO("d = " << d << ", row " << i << ", element " << j);
        REQUIRE_THAT(orthogonal, WithinAbs(j == 0, 1e-12 * blur));
        REQUIRE_THAT(turned, WithinAbs(q[j], 1e-12 * blur * length(q)));
        REQUIRE_THAT(got[j], WithinAbs(expected, tight * blur * scale));
      }
      REQUIRE_THAT(length(got) / scale, WithinAbs(1, tight * blur));
      REQUIRE_THAT((dot(z, got) - dot(q, g)) / (length(q) * length(g)), WithinAbs(0, tight * blur));
    }
  }
}

TEST_CASE("fused estimators agree with what they are composed of", "[nn][vq]") {
  const real eps = std::numeric_limits<real>::epsilon();
  for (const std::size_t d : {1, 2, 5, 16, 35})
    for (const auto& estimator : plane_estimators()) {
      Rows r = random_rows(12, d);
      // A row of each kind that is treated apart.
      const auto set = [&](std::size_t row, real z, real q) {
        for (std::size_t j = 0; j < d; ++j) {
          const real x = r.z.data()[row * d + j];
          r.z.mutable_data()[row * d + j] = z * x;
          r.q.mutable_data()[row * d + j] = q * x;
        }
      };
      set(0, 0, 1);
      set(1, 1, 0);
      set(2, 1, -2);
      set(3, 1, 1);
      set(4, 0, 0);
      set(5, 1, -1 + eps);
      Tensor z = r.z.clone(), q = r.q.clone();
      z.requires_grad_();
      q.requires_grad_();
      Tape tape;
      tape.backward(estimator->composite(z, q), r.g);
      const Pulled fused = pull(*estimator, r.z, r.q, r.g);
      CHECK(difference(fused.dz, z.grad()) < 100 * eps);
      CHECK(fused.dq.defined() == estimator->trains_codebook());
      CHECK(q.grad().defined() == estimator->trains_codebook());
      if (fused.dq.defined()) CHECK(difference(fused.dq, q.grad()) < 100 * eps);
    }
}

TEST_CASE("where a direction or a plane is missing the gradient goes straight through",
          "[nn][vq]") {
  const Tensor z = tensor_of({.6, 0, .8, 0, 0, 0, .6, 0, .8}, {3, 3}),
               q = tensor_of({-1.2, 0, -1.6, 1, 2, 3, 0, 0, 0}, {3, 3}), g = fixture_g();
  for (const auto& estimator : plane_estimators()) {
    const Pulled p = pull(*estimator, z, q, g);
    CHECK(same_bits(p.value, q));
    for (std::size_t i = 0; i < p.dz.size(); ++i) CHECK(std::isfinite(p.dz.data()[i]));
  }
  for (const Tensor& dz : {pull(Rotation(), z, q, g).dz, pull(TangentRotation(), z, q, g).dz,
                           pull(RotationNoScale(), z, q, g).dz})
    CHECK(same_bits(dz, g));
  const AngleCounts counts = count_angles(z, q);
  CHECK(counts.degenerate == 3);
  CHECK(counts.obtuse == 1);
}

TEST_CASE("where z is its code already nothing is turned", "[nn][vq]") {
  const Tensor z = fixture_z(), g = fixture_g();
  CHECK(difference(pull(Rotation(), z, z, g).dz, g) < tight);
  CHECK(difference(pull(ScaleOnly(), z, z, g).dz, g) < tight);
  CHECK(difference(pull(Reflection(), z, z, g).dz, g) < tight);
  const Pulled diveq = pull(Diveq(), z, z, g);
  CHECK(same_bits(diveq.dz, g));
  CHECK(difference(diveq.dq + real(1), ones({3, 3})) == 0);
}

TEST_CASE("an obtuse row is turned by default, and passed on if asked", "[nn][vq]") {
  const Tensor z = tensor_of({.1, 0, 0}, {1, 3}), q = tensor_of({-.05, .02, 0}, {1, 3}),
               g = tensor_of({1, 0, 0}, {1, 3});
  check_printed(pull(Rotation(), z, q, g).dz, {-.5, -.2, 0});
  CHECK(same_bits(pull(Rotation({.obtuse_straight_through = true}), z, q, g).dz, g));
  const AngleCounts counts = count_angles(z, q);
  CHECK(counts.obtuse == 1);
  CHECK(counts.degenerate == 0);
  // Right on the edge of what is skipped, and on the right side.
  const Rotation skips({.obtuse_straight_through = true});
  check_printed(pull(skips, z, -q, g).dz, {.5, .2, 0});
}

TEST_CASE("the ratio of lengths can be limited, in the gradient alone", "[nn][vq]") {
  const Tensor z = fixture_z(), g = fixture_g(), far = real(1e4) * fixture_q();
  const Rotation clipped({.lambda_clip = {real(.5), 2}});
  const Pulled p = pull(clipped, z, far, g);
  CHECK(same_bits(p.value, far));
  CHECK(difference(p.dz, real(2) * pull(RotationNoScale(), z, far, g).dz) < tight);
  CHECK(difference(pull(clipped, real(1e4) * z, fixture_q(), g).dz,
                   real(.5) * pull(RotationNoScale(), z, fixture_q(), g).dz) < tight);
}

TEST_CASE("near opposite directions the rotation keeps its digits", "[nn][vq]") {
  // In the plane the rotation by pi - a is known: no matrix, no sums that cancel.
  const auto worst = [](double a) {
    const std::size_t rows = 64;
    Tensor z = zeros({rows, 2}), q = zeros({rows, 2}), g = zeros({rows, 2}),
           expected = zeros({rows, 2});
    for (std::size_t i = 0; i < rows; ++i) {
      const double at = 0.1 * static_cast<double>(i), by = std::acos(-1.0) - a;
      const auto put = [i](Tensor& x, double angle) {
        x.mutable_data()[2 * i] = static_cast<real>(std::cos(angle));
        x.mutable_data()[2 * i + 1] = static_cast<real>(std::sin(angle));
      };
      put(z, at);
      put(q, at + by);
      put(g, 3 * at);
      // The angle between the numbers as they were rounded.
      const real *zi = z.data() + 2 * i, *qi = q.data() + 2 * i;
      const double exact =
          std::atan2(static_cast<double>(zi[0]) * qi[1] - static_cast<double>(zi[1]) * qi[0],
                     static_cast<double>(zi[0]) * qi[0] + static_cast<double>(zi[1]) * qi[1]);
      put(expected, 3 * at - exact);
    }
    return difference(pull(Rotation(), z, q, g).dz, expected);
  };
  if (sizeof(real) == 4) {
    CHECK(worst(1e-2) < 1e-4);
    CHECK(worst(1e-2 * .5) < 2e-4);
  } else {
    CHECK(worst(1e-2) < 1e-12);
    CHECK(worst(1e-4) < 1e-10);
  }
}

TEST_CASE("far from the origin the rotation trick is straight through", "[nn][vq]") {
  const Tensor z = first_row(fixture_z()), q = first_row(fixture_q()), g = first_row(fixture_g());
  const double shifts[] = {0, 1, 10, 100}, expected[] = {.367, .140, .021, .0021};
  for (std::size_t i = 0; i < 4; ++i) {
    const real s = static_cast<real>(shifts[i]);
    const Tensor dz = pull(Rotation(), z + s, q + s, g).dz;
    CHECK_THAT(length(row_of(dz - g, 0)) / length(row_of(g, 0)),
               WithinAbs(expected[i], i < 3 ? 6e-4 : 6e-5));
  }
}

TEST_CASE("a transposed or unscaled rotation would not keep z.dz = q.g", "[nn][vq]") {
  const Rows r = random_rows(10, 6);
  const Tensor right = pull(Rotation(), r.z, r.q, r.g).dz,
               unscaled = pull(RotationNoScale(), r.z, r.q, r.g).dz;
  for (std::size_t i = 0; i < 10; ++i) {
    const Numbers z = row_of(r.z, i), q = row_of(r.q, i), g = row_of(r.g, i);
    CHECK_THAT(dot(z, row_of(right, i)), WithinAbs(dot(q, g), 40 * tight));
    CHECK(std::abs(dot(z, row_of(unscaled, i)) - dot(q, g)) > 1e-3);
  }
}

TEST_CASE("TangentRotation pulls nothing along z", "[nn][vq]") {
  const Rows r = random_rows(10, 6);
  const Tensor dz = pull(TangentRotation(), r.z, r.q, r.g).dz;
  for (std::size_t i = 0; i < 10; ++i)
    CHECK_THAT(dot(row_of(r.z, i), row_of(dz, i)), WithinAbs(0, 40 * tight));
}

TEST_CASE("Diveq is the derivative of z + r sg((q - z)/r)", "[nn][vq]") {
  for (const real alpha : {real(0), real(1), real(2)}) {
    Rows r = random_rows(6, 5);
    const Pulled fused = pull(Diveq({.alpha = alpha}), r.z, r.q, r.g);
    Tensor z = r.z, q = r.q;
    z.requires_grad_();
    q.requires_grad_();
    Tape tape;
    const Tensor u = q - z, to_alpha = pow(sqrt(sum(u * u, -1, keepdims)), alpha);
    tape.backward(z + to_alpha * (u / to_alpha).detach(), r.g);
    CHECK(difference(fused.dz, z.grad()) < 10 * tight);
    const Tensor dq = q.grad().defined() ? q.grad() : zeros(q.shape());
    CHECK(difference(fused.dq + real(1), dq + real(1)) < 10 * tight);
  }
}

TEST_CASE("Diveq's noise shakes the direction and keeps the distance", "[nn][vq]") {
  const Rows r = random_rows(50, 8);
  const DiveqOptions options{.noise = real(1e-3), .rng = Rng(5)};
  const Pulled p = pull(Diveq(options), r.z, r.q, r.g);
  CHECK(same_bits(p.value, pull(Diveq(options), r.z, r.q, r.g).value));
  double moved = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    const Numbers step = row_of(p.value - r.z, i), exact = row_of(r.q - r.z, i);
    CHECK_THAT(length(step) / length(exact), WithinAbs(1, 10 * tight));
    moved += 1 - cosine(step, exact);
  }
  CHECK(moved > 0);
  CHECK(moved / 50 < 1e-3);
  CHECK(difference(p.dz + p.dq, r.g) < 10 * tight);
  const Diveq twice(options);
  CHECK_FALSE(same_bits(twice(r.z, r.q), twice(r.z, r.q)));
  const Pulled still = pull(Diveq(options), r.z, r.z, r.g);  // z is its code
  CHECK(same_bits(still.value, r.z));
  CHECK(same_bits(still.dz, r.g));
}

TEST_CASE("an estimator's gradient is linear, and zero for a gradient of zeros", "[nn][vq]") {
  const Rows r = random_rows(9, 20), other = random_rows(9, 20, 8);
  for (const auto& estimator : plane_estimators()) {
    const auto dz = [&](const Tensor& g) { return pull(*estimator, r.z, r.q, g).dz; };
    CHECK(difference(dz(r.g + real(2) * other.g), dz(r.g) + real(2) * dz(other.g)) < 10 * tight);
    CHECK(same_bits(abs(dz(zeros({9, 20}))), zeros({9, 20})));
  }
}

TEST_CASE("an estimator's gradient has the same bits with any number of threads",
          "[nn][vq][threads]") {
  const int before = num_threads();
  const Rows r = random_rows(3000, 48);
  for (const auto& estimator : plane_estimators()) {
    set_num_threads(1);
    const Pulled one = pull(*estimator, r.z, r.q, r.g);
    for (const int threads : {2, 3}) {
      set_num_threads(threads);
      CHECK(same_bits(pull(*estimator, r.z, r.q, r.g).dz, one.dz));
    }
  }
  set_num_threads(before);
}

TEST_CASE("an estimator takes any leading axes, and no rows", "[nn][vq]") {
  const Rows r = random_rows(12, 5);
  for (const auto& estimator : plane_estimators()) {
    const Tensor flat = pull(*estimator, r.z, r.q, r.g).dz;
    const auto shaped = [&](const Ints& shape) {
      return pull(*estimator, reshape(r.z, shape), reshape(r.q, shape), reshape(r.g, shape)).dz;
    };
    CHECK(same_bits(reshape(shaped({3, 2, 2, 5}), {12, 5}), flat));
    CHECK(pull(*estimator, zeros({0, 5}), zeros({0, 5}), zeros({0, 5})).dz.size() == 0);
    CHECK(pull(*estimator, zeros({2, 0}), zeros({2, 0}), zeros({2, 0})).dz.size() == 0);
    CHECK(pull(*estimator, ones(5), ones(5), ones(5)).dz.shape() == Shape{5});
  }
}

TEST_CASE("NaN in a gradient, a vector or a code is not lost, and stays in its row", "[nn][vq]") {
  const real none = std::numeric_limits<real>::quiet_NaN();
  for (const auto& estimator : plane_estimators())
    for (const int which : {0, 1, 2}) {
      Rows r = random_rows(3, 5);
      (which == 0 ? r.z : which == 1 ? r.q : r.g).mutable_data()[7] = none;
      const Tensor dz = pull(*estimator, r.z, r.q, r.g).dz;
      CHECK(std::isnan(dz.data()[7]));
      for (const std::size_t j : {0, 4, 10, 14}) CHECK(std::isfinite(dz.data()[j]));
    }
}

TEST_CASE("estimators differentiate once; their composites twice", "[nn][vq]") {
  const Rows r = random_rows(3, 4);
  Tensor z = r.z;
  z.requires_grad_();
  Tape tape;
  const Rotation rotation;
  CHECK(error_of<std::logic_error>([&] {
          const Tensor y = rotation(z, r.q);
          tape.gradient(sum(y * y), z, {.record = true});
        }) ==
        "Rotation: a fused operation has no second derivative; use its composite() to "
        "differentiate twice");
  // G is a constant, so of <v, G^T (2 q)> with the value q = y(z) the gradient is 2 G^T G v.
  Tape again;
  const Tensor y = rotation.composite(z, r.q);
  const Tensor first = again.gradient(sum(y * y), z, {.record = true});
  const Tensor second = again.gradient(sum(first * r.g), z);
  for (std::size_t i = 0; i < 3; ++i) {
    const double lambda = length(row_of(r.q, i)) / length(row_of(r.z, i));
    for (std::size_t j = 0; j < 4; ++j)
      CHECK_THAT(row_of(second, i)[j] / (2 * lambda * lambda),
                 WithinAbs(row_of(r.g, i)[j], 20 * tight));
  }
}

TEST_CASE("outside a tape, and where nothing wants a gradient, an estimator records nothing",
          "[nn][vq]") {
  const Tensor z = fixture_z();
  Tensor q = fixture_q();
  q.requires_grad_();
  Tape tape;
  for (const auto& estimator : plane_estimators()) {
    const std::size_t before = tape.size();
    (*estimator)(z, q);
    CHECK((tape.size() > before) == estimator->trains_codebook());
  }
}

namespace {

/// G = 0: the task does not train the encoder.
struct Zero : Estimator {
  Tensor operator()(const Tensor& /*z*/, const Tensor& q) const override { return q.detach(); }
};

/// G = I/2, by a rule of one's own.
struct Half : Estimator {
  Tensor operator()(const Tensor& z, const Tensor& q) const override {
    return custom("half", {z}, q, [](const Tensor& grad, const auto&, const Tensor&) {
      return std::vector{grad * real(.5)};
    });
  }
};

}  // namespace

TEST_CASE("an estimator of one's own needs no more than the two tensors", "[nn][vq]") {
  const std::shared_ptr<const Estimator> half = std::make_shared<Half>();
  const Pulled p = pull(*half, fixture_z(), fixture_q(), fixture_g());
  CHECK(same_bits(p.value, fixture_q()));
  CHECK(same_bits(p.dz, fixture_g() * real(.5)));
  CHECK_FALSE(half->trains_codebook());
  CHECK(same_bits(Zero()(fixture_z(), fixture_q()), fixture_q()));
}

TEST_CASE("estimators refuse what does not fit", "[nn][vq][errors]") {
  CHECK(error_of<ShapeError>([] {
          Rotation()(ones({2, 3}), ones({2, 4}));
        }) == "Rotation: needs z and q of one shape (..., d), got (2, 3) and (2, 4)");
  CHECK(error_of<ShapeError>([] {
          StraightThrough()(ones(3), ones({1, 3}));
        }) == "StraightThrough: needs z and q of one shape (..., d), got (3,) and (1, 3)");
  CHECK(error_of<ShapeError>([] { ScaleOnly()(scalar(1), scalar(1)); }) ==
        "ScaleOnly: needs z and q of one shape (..., d), got () and ()");
  CHECK(error_of<ShapeError>([] { count_angles(ones(3), ones(4)); }) ==
        "count_angles: needs z and q of one shape (..., d), got (3,) and (4,)");
  CHECK(error_of([] {
          Rotation({.lambda_clip = {2, 1}});
        }) == "Rotation: lambda_clip must be 0 <= low <= high, got 2 and 1");
  CHECK(error_of([] {
          TangentRotation({.lambda_clip = {-1, 1}});
        }) == "TangentRotation: lambda_clip must be 0 <= low <= high, got -1 and 1");
  CHECK(error_of([] { Diveq({.alpha = -1}); }) == "Diveq: alpha must be at least 0, got -1");
  CHECK(error_of([] { Diveq({.noise = -1}); }) == "Diveq: noise must be at least 0, got -1");
}
