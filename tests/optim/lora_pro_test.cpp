// LoRA-Pro: numbers worked out by hand, what must hold for any problem, and its errors.
#include <xgrad/core/kernels/decompose.hpp>
#include <xgrad/core/memory.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/optim/lora_pro.hpp>
#include <xgrad/optim/sgd.hpp>

#include <cstring>
#include <limits>
#include <memory>

#include "error_of.hpp"
#include "lora_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;
using lora::Directions, lora::XMode;

namespace {

constexpr XMode modes[] = {XMode::zero, XMode::symmetric, XMode::sylvester};

/// What backward leaves at A and B when the full gradient is G.
Directions gradients_of(const Tensor& A, const Tensor& B, const Tensor& G, double s) {
  return {matmul(B, G, {.transpose_a = true}) * static_cast<real>(s),
          matmul(G, A, {.transpose_b = true}) * static_cast<real>(s)};
}

Tensor effective(const Tensor& W, const Tensor& A, const Tensor& B, double s) {
  return W + matmul(B, A) * static_cast<real>(s);
}

/// A problem of random numbers, with n = 7 in, m = 5 out and r = 3 unless told.
struct RandomProblem {
  explicit RandomProblem(std::uint64_t seed, std::size_t in = 7, std::size_t out = 5,
                         std::size_t rank = 3) {
    Rng rng(seed);
    W = randn({out, in}, rng);
    A = randn({rank, in}, rng);
    B = randn({out, rank}, rng);
    G = randn({out, in}, rng);
    gradients = gradients_of(A, B, G, s);
  }
  Tensor W, A, B, G;
  double s = 1.5;
  Directions gradients;
};

/// The least |s (B dA + dB A) - G| over all dA, dB, and the rank of the system, by its singular
/// vectors: the part of G that no column of the system reaches.
std::pair<double, std::size_t> least_squares(const Tensor& A, const Tensor& B, const Tensor& G,
                                             double s) {
  const std::size_t r = A.size(0), in = A.size(1), out = B.size(0), rows = out * in,
                    columns = r * (in + out), k = std::min(rows, columns);
  std::vector<double> system(rows * columns), u(rows * k), values(k), vt(k * columns);
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i)
      for (std::size_t j = 0; j < r; ++j) {
        double* row = &system[(o * in + i) * columns];
        row[j * in + i] = s * B.data()[o * r + j];
        row[r * in + o * r + j] = s * A.data()[j * in + i];
      }
  kernels::svd(rows, columns, system.data(), u.data(), values.data(), vt.data());
  double square = dot(G, G);
  std::size_t rank = 0;
  for (; rank < k && values[rank] > 1e-6 * values[0]; ++rank) {
    double along = 0;
    for (std::size_t p = 0; p < rows; ++p) along += u[p * k + rank] * G.data()[p];
    square -= along * along;
  }
  return {std::sqrt(std::max(0.0, square)), rank};
}

/// The loss |W_eff - Y|^2 / 2 of the small problem and its gradients.
struct Quadratic : SmallProblem {
  Tensor W_eff() const { return effective(W, A, B, s); }
  double loss() const {
    const Tensor d = W_eff() - Y;
    return dot(d, d) / 2;
  }
  void set_gradients() {
    const Directions d = gradients_of(A, B, W_eff() - Y, s);
    A.set_grad(d.A);
    B.set_grad(d.B);
  }
  LoraPair pair() { return {A.requires_grad_(), B.requires_grad_(), s, W}; }
  void train(Optimizer& optimizer, int steps) {
    for (int i = 0; i < steps; ++i) {
      set_gradients();
      optimizer.step();
    }
  }
};

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0;
}

}  // namespace

TEST_CASE("LoRA-Pro: the small problem agrees with its solution in fractions", "[optim][lora]") {
  const SmallProblem p;
  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  check_close(g.A, matrix("2 2; 4 -2; 2 -6; 10 0"));
  check_close(g.B, matrix("4 2 8; -4 0 8"));

  struct {
    XMode mode;
    const char *dA, *dB;
    double to_gradients, apart;
  } const expected[] = {
      {XMode::zero, "1/6 1/3; 1/6 -1/6; -1/18 -7/9; 5/9 5/18", "10/27 10/27 -5/27; -2/3 -2/3 1/3",
       298.1265432, 4.5462963},
      {XMode::symmetric, "13/108 47/108; -1/108 -23/108; 1/36 -19/36; 23/54 7/54",
       "14/27 29/108 -5/54; -5/6 -5/12 1/2", 297.8240741, 2.9814815},
      {XMode::sylvester, "11/108 323/864; -55/864 -133/432; 13/288 -5/9; 337/864 83/864",
       "137/288 95/288 -1/18; -227/288 -4/9 77/144", 297.7935314, 3.1404803},
  };
  for (const auto& [mode, dA, dB, to_gradients, apart] : expected) {
    INFO("mode " << static_cast<int>(mode));
    const Directions d = lora::pro_directions(p.A, p.B, g, p.s, {mode, 0});
    check_close(d.A, matrix(dA));
    check_close(d.B, matrix(dB));
    check_close(dot(d.A - g.A, d.A - g.A) + dot(d.B - g.B, d.B - g.B), to_gradients, 1e-9);
    const Tensor difference = matmul(p.B, d.A) - matmul(d.B, p.A);
    check_close(dot(difference, difference), apart, 1e-8);
    const Tensor moved = lora::equivalent_gradient(p.A, p.B, d, p.s);
    check_close(moved, matrix("11 38 8; 22 -5 16; 75 -6 -24; -1 -1 68", 27));
    check_close(dot(moved, moved), 491.0 / 27);
    check_close(frobenius(p.G - moved), 2.194268628681);
    check_close(dot(p.G, moved) / frobenius(p.G) / frobenius(moved), 0.889191, 1e-6);
  }

  const Tensor plain = lora::equivalent_gradient(p.A, p.B, g, p.s);
  const double best = dot(plain, p.G) / dot(plain, plain);
  check_close(frobenius(p.G - plain * static_cast<real>(best)), 3.673953, 1e-6);
  check_close(dot(plain, p.G) / frobenius(plain) / frobenius(p.G), 0.642755, 1e-6);
}

TEST_CASE("LoRA-Pro: the checks see a wrong scale and gradients of two different losses",
          "[optim][lora]") {
  const SmallProblem p;
  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  // Without s^-2 the step is four times as long.
  const Directions d = lora::pro_directions(p.A, p.B, g, p.s, {XMode::sylvester, 0});
  const Tensor moved = lora::equivalent_gradient(p.A, p.B, d, p.s);
  const Directions unscaled = lora::pro_directions(p.A, p.B, g, 1, {XMode::sylvester, 0});
  check_close(lora::equivalent_gradient(p.A, p.B, unscaled, p.s), moved * real(4));

  const Directions torn = lora::pro_directions(p.A, p.B, {g.A * real(0.1), g.B}, p.s);
  CHECK_THAT(frobenius(p.G - lora::equivalent_gradient(p.A, p.B, torn, p.s)),
             WithinAbs(3.824, 5e-4));
}

TEST_CASE("LoRA-Pro: one SGD step of the small problem", "[optim][lora]") {
  SmallProblem p;
  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  const Tensor before = effective(p.W, p.A, p.B, p.s);
  LoraProSGD optimizer({{p.A.requires_grad_(), p.B.requires_grad_(), p.s}},
                       {.lr = 0.01, .delta = 0});
  p.A.set_grad(g.A);
  p.B.set_grad(g.B);
  optimizer.step();
  check_close(p.A.detach(),
              matrix(".998981481481 -.003738425926; 2.000636574074 1.003078703704;"
                     "-.000451388889 -.994444444444; .996099537037 .999039351852"),
              1e-11);
  const Tensor dW = effective(p.W, p.A, p.B, p.s) - before;
  for (std::size_t j = 0; j < 3; ++j) {
    const double expected[] = {-.004123316133, -.014100585134, -.002924114262};
    CHECK_THAT(dW.data()[4 * j], WithinAbs(expected[j], sizeof(real) == 8 ? 1e-11 : 1e-5));
  }
  CHECK(same_bits(p.A.grad(), g.A));  // the step reads gradients and leaves them
}

TEST_CASE("LoRA-Pro: where B starts at 0 the first step projects on the rows of A",
          "[optim][lora]") {
  SmallProblem p;
  p.B = zeros({3, 2});
  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  for (const XMode mode : modes)
    for (const double delta : {0.0, 1e-8}) {
      const Directions d = lora::pro_directions(p.A, p.B, g, p.s, {mode, delta});
      check_close(d.A, zeros({2, 4}));
      check_close(d.B, matrix("2/3 1/6 0; -1 -1/6 2/3"), delta == 0 ? 1e-12 : 2e-8);
      check_close(lora::equivalent_gradient(p.A, p.B, d, p.s),
                  matrix("4/3 1/3 0; 2/3 1/3 4/3; 2 1/3 -4/3; -2/3 0 4/3"),
                  delta == 0 ? 1e-12 : 2e-8);
    }
}

TEST_CASE("LoRA-Pro: the quadratic's loss after one SGD step", "[optim][lora]") {
  {
    Quadratic q;
    check_close(q.loss(), 82);
    check_close(q.W_eff() - q.Y, matrix("3 -1 2; 2 4 10; 1 -2 -2; -2 1 4"));
    const Directions g = gradients_of(q.A, q.B, q.W_eff() - q.Y, q.s);
    const Directions d = lora::pro_directions(q.A, q.B, g, q.s, {XMode::sylvester, 0});
    check_close(lora::equivalent_gradient(q.A, q.B, d, q.s),
                matrix("154 -62 112; 84 192 552; 86 -76 -124; -52 110 188", 54));
    const Tensor full = q.W_eff() - (q.W_eff() - q.Y) * real(0.01) - q.Y;
    check_close(dot(full, full) / 2, 80.3682, 1e-12);
  }
  const double expected[] = {80.4052135402, 80.4101709587, 80.4091884997};
  for (std::size_t i = 0; i < 3; ++i) {
    Quadratic q;
    LoraProSGD optimizer({q.pair()}, {.lr = 0.01, .x_mode = modes[i], .delta = 0});
    q.train(optimizer, 1);
    check_close(q.loss(), expected[i], 1e-11);
  }
  Quadratic q;
  SGD optimizer({q.A.requires_grad_(), q.B.requires_grad_()}, {.lr = 0.01});
  q.train(optimizer, 1);
  check_close(q.loss(), 34.1918912, 1e-10);
}

TEST_CASE("LoRA-Pro: AdamW on the quadratic, one and three steps", "[optim][lora]") {
  struct Case {
    bool full;
    double weight_decay, after1_row[3];
    const char *after1, *after3;
  } const cases[] = {
      {true,
       0,
       {3.8582313377, -.9459809032, 3.9206467017},
       "3.8582313377 -.9459809032 3.9206467017; 1.9378349251 2.9367951871 10.8812432487;"
       "2.9085583050 -.8941736598 -1.9053665128; -.9313339129 1.8720932204 4.9166150657",
       "3.5768632348 -.8355699847 3.7596470286; 1.8141529434 2.8086073404 10.6451623095;"
       "2.7240128053 -.6865563299 -1.7153925548; -.7986880754 1.6164732775 4.7506338010"},
      {true,
       .1,
       {3.8189553746, -.9362593790, 3.8810365677},
       nullptr,
       "3.4648394448 -.8083953606 3.6445525650; 1.7576978371 2.7223604720 10.3239106751;"
       "2.6393670722 -.6617833134 -1.6604247710; -.7723339477 1.5630825952 4.6061033446"},
      {false,
       0,
       {3.4400000522, -1.0000000024, 3.4000000989},
       "3.4400000522 -1.0000000024 3.4000000989; 1.8000000055 2.2400000166 10.0400000089;"
       "2.7999999945 -.6400000082 -1.4400000321; -.6400000368 1.4000000229 4.9999999400",
       "3.0309745698 -1.1824074461 3.3252117840; 1.4138099043 .9852902294 8.3625005223;"
       "2.4052585985 -.1570392638 -.5641468873; -.3340417589 .3451910345 4.7262285173"},
      {false,
       .1,
       {3.4062000516, -1.0000000024, 3.3264000978},
       nullptr,
       "2.9612119515 -1.1804553857 3.1264767638; 1.3211494003 .9560211428 8.0056613022;"
       "2.3134189286 -.0809863059 -.6248850343; -.3474253420 .2914666789 4.5598762625"}};
  for (const Case& c : cases) {
    INFO((c.full ? "full" : "efficient") << ", weight decay " << c.weight_decay);
    Quadratic q;
    const Tensor W = q.W.clone();
    const LoraProAdamWOptions options{.lr = 0.1, .weight_decay = c.weight_decay};
    std::unique_ptr<Optimizer> optimizer;
    if (c.full)
      optimizer = std::make_unique<LoraProFullAdamW>(std::vector{q.pair()}, options);
    else
      optimizer = std::make_unique<LoraProAdamW>(std::vector{q.pair()}, options);
    q.train(*optimizer, 1);
    for (std::size_t j = 0; j < 3; ++j)
      check_close(q.W_eff().data()[4 * j], c.after1_row[j], 1e-10);
    if (c.after1) check_close(q.W_eff(), matrix(c.after1), 1e-10);
    if (c.full && c.weight_decay == 0) {
      check_close(q.loss(), 78.7600215601, 1e-11);
      check_close(q.A.detach(),
                  matrix(".9843750001 .0343749996; 1.9912037037 1.0070601850;"
                         ".0108796295 -.9716435189; .9957175926 .9671296301"),
                  1e-10);
    }
    q.train(*optimizer, 2);
    check_close(q.W_eff(), matrix(c.after3), 1e-10);
    if (c.full && c.weight_decay == 0) check_close(q.loss(), 72.6271830826, 1e-11);
    const double left = c.full ? std::pow(1 - 0.1 * c.weight_decay, 3) : 1;
    check_close(q.W, W * static_cast<real>(left));
  }
}

TEST_CASE("LoRA-Pro: the efficient flavour's directions on the quadratic", "[optim][lora]") {
  Quadratic q;
  const Directions g = gradients_of(q.A, q.B, q.W_eff() - q.Y, q.s);
  check_close(lora::pro_directions(q.A, q.B, g, q.s).A,
              matrix(".0393518529 -1.0324074017; 1.1458333303 .4791666627;"
                     "-.1226851846 -.3217592573; -.0601851852 .1782407398"),
              1e-10);
}

TEST_CASE("LoRA-Pro: the directions solve the least-squares problem, whatever X is",
          "[optim][lora]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomProblem p(seed);
    const auto [least, rank] = least_squares(p.A, p.B, p.G, p.s);
    CHECK(rank == 3 * (7 + 5) - 3 * 3);
    for (const XMode mode : modes) {
      const Directions d = lora::pro_directions(p.A, p.B, p.gradients, p.s, {mode, 0});
      const Tensor moved = lora::equivalent_gradient(p.A, p.B, d, p.s);
      check_close(frobenius(moved - p.G), least, 1e-11);
      // It is orthogonal to what is left, and has the gradients that G has.
      const Directions again = gradients_of(p.A, p.B, moved, p.s);
      check_close(again.A, p.gradients.A, 1e-11);
      check_close(again.B, p.gradients.B, 1e-11);
      check_close(dot(p.gradients.A, d.A) + dot(p.gradients.B, d.B), dot(moved, moved), 1e-11);
    }
    // Plain LoRA's step, at any length, is no nearer.
    const Tensor plain = lora::equivalent_gradient(p.A, p.B, p.gradients, p.s);
    for (double c = -1; c <= 1; c += 1.0 / 64)
      CHECK(frobenius(plain * static_cast<real>(c) - p.G) >= least * (1 - 1e-6));
  }
}

TEST_CASE("LoRA-Pro: it stays at that optimum all the way, and nearer to full training than LoRA",
          "[optim][lora]") {
  Quadratic q;
  LoraProAdamW optimizer({q.pair()}, {.lr = 0.1});
  for (int step = 0; step < 20; ++step) {
    const Tensor G = q.W_eff() - q.Y;
    const Directions g = gradients_of(q.A, q.B, G, q.s);
    const Tensor pro = lora::equivalent_gradient(
        q.A, q.B, lora::pro_directions(q.A, q.B, g, q.s, {XMode::sylvester, 0}), q.s);
    const Tensor plain = lora::equivalent_gradient(q.A, q.B, g, q.s);
    const double distance = frobenius(pro - G), best = dot(plain, G) / dot(plain, plain);
    check_close(distance, least_squares(q.A, q.B, G, q.s).first, 1e-11);
    CHECK(distance <= frobenius(plain * static_cast<real>(best) - G) * (1 + 1e-6));
    q.train(optimizer, 1);
  }
}

TEST_CASE("LoRA-Pro: what the step does to the weight does not depend on how B A is factored",
          "[optim][lora]") {
  const RandomProblem p(1);
  const Tensor R = tensor({2, 1, 0, 0, 1, -1, 1, 0, 1}, {3, 3}), inv = inverse(R);
  const auto moved = [&](const Tensor& A, const Tensor& B, double s) {
    const Directions d =
        lora::pro_directions(A, B, gradients_of(A, B, p.G, s), s, {XMode::sylvester, 0});
    return lora::equivalent_gradient(A, B, d, s);
  };
  const Tensor expected = moved(p.A, p.B, p.s);
  check_close(moved(matmul(R, p.A), matmul(p.B, inv), p.s), expected, 1e-11);
  check_close(moved(p.A * real(3), p.B, p.s / 3), expected, 1e-12);
  // A condition of 100 costs its square in double, and less than that in float, whose Gram
  // matrices are taken apart in double.
  const Tensor D = tensor({1, 0, 0, 0, 10, 0, 0, 0, real(0.1)}, {3, 3});
  const double error = frobenius(moved(matmul(D, p.A), matmul(p.B, inverse(D)), p.s) - expected);
  CHECK(error < (sizeof(real) == 8 ? 1e-11 : 1e-4) * frobenius(expected));
}

TEST_CASE("LoRA-Pro: an SGD step moves the weight by -lr G~ + lr^2 s dB dA", "[optim][lora]") {
  for (const XMode mode : modes) {
    RandomProblem p(2);
    const Directions d = lora::pro_directions(p.A, p.B, p.gradients, p.s, {mode, 0});
    const Tensor before = effective(p.W, p.A, p.B, p.s),
                 moved = lora::equivalent_gradient(p.A, p.B, d, p.s);
    LoraProSGD optimizer({{p.A.requires_grad_(), p.B.requires_grad_(), p.s}},
                         {.lr = 0.1, .x_mode = mode, .delta = 0});
    p.A.set_grad(p.gradients.A);
    p.B.set_grad(p.gradients.B);
    optimizer.step();
    check_close(effective(p.W, p.A, p.B, p.s),
                before - moved * real(0.1) + matmul(d.B, d.A) * static_cast<real>(0.01 * p.s));
  }
}

TEST_CASE("LoRA-Pro: X solves the Sylvester equation, as its Kronecker system does",
          "[optim][lora]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomProblem p(seed);
    const Directions at_zero = lora::pro_directions(p.A, p.B, p.gradients, p.s, {XMode::zero, 0}),
                     d = lora::pro_directions(p.A, p.B, p.gradients, p.s, {XMode::sylvester, 0});
    const Tensor a = matmul(p.A, p.A, {.transpose_b = true}),
                 b = matmul(p.B, p.B, {.transpose_a = true}),
                 right = -matmul(at_zero.A, p.A, {.transpose_b = true});
    const Tensor X = matmul(matmul(d.A - at_zero.A, p.A, {.transpose_b = true}), inverse(a));
    CHECK(frobenius(matmul(b, X) + matmul(X, a) - right) <=
          (sizeof(real) == 8 ? 1e-12 : 1e-5) * std::max(1.0, frobenius(right)));
    Tensor kronecker = zeros({9, 9});  // (b (x) I + I (x) a) vec(X), row after row
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t j = 0; j < 3; ++j)
        for (std::size_t k = 0; k < 3; ++k) {
          kronecker.mutable_data()[(3 * i + j) * 9 + 3 * k + j] += b.data()[3 * i + k];
          kronecker.mutable_data()[(3 * i + j) * 9 + 3 * i + k] += a.data()[3 * j + k];
        }
    const Tensor solved = reshape(solve(kronecker, reshape(right, {9})), {3, 3});
    CHECK(frobenius(solved - X) <= (sizeof(real) == 8 ? 1e-11 : 1e-4) * frobenius(X));

    // And X is where the distances it is named after are least: any step away makes them larger.
    Rng rng(seed);
    const auto objective = [&](const Tensor& shift) {
      const Tensor to_a = d.A + matmul(shift, p.A) - p.gradients.A,
                   to_b = d.B - matmul(p.B, shift) - p.gradients.B;
      return dot(to_a, to_a) + dot(to_b, to_b);
    };
    for (int i = 0; i < 20; ++i)
      CHECK(objective(randn({3, 3}, rng) * real(0.1)) > objective(zeros({3, 3})));
  }
}

TEST_CASE("LoRA-Pro: from an orthogonal start X is 0 and the step is the best of rank 2r",
          "[optim][lora]") {
  // G = 8 h1 h3^T + 4 h2 h1^T + 2 h3 h4^T + h4 h2^T in the Hadamard basis, A = h1/sqrt(8), ...
  const Tensor G = matrix(
                   "3.75 2.25 -1.25 -.75; 1.25 .75 -3.75 -2.25; 2.25 3.75 -.75 -1.25;"
                   ".75 1.25 -2.25 -3.75"),
               A = matrix("1;1;1;1", 2 * std::sqrt(8)), B = matrix("1 1 1 1", 2 * std::sqrt(8)),
               best = matrix("3 3 -1 -1; 1 1 -3 -3; 3 3 -1 -1; 1 1 -3 -3");
  const Directions g = gradients_of(A, B, G, 2),
                   at_zero = lora::pro_directions(A, B, g, 2, {XMode::zero, 0}),
                   d = lora::pro_directions(A, B, g, 2, {XMode::sylvester, 0});
  check_close(d.A, at_zero.A);
  check_close(d.B, at_zero.B);
  check_close(lora::equivalent_gradient(A, B, d, 2), best);
  check_close(frobenius(best - G), std::sqrt(5.0));
}

TEST_CASE("LoRA-Pro: with a square B it is full training", "[optim][lora]") {
  struct {
    bool adam;
  } const flavours[] = {{false}, {true}};
  for (const auto& [adam] : flavours) {
    RandomProblem p(3, 7, 3, 3);
    const Tensor target = p.G, B = p.B.clone();
    Tensor full = effective(p.W, p.A, p.B, p.s);
    full.requires_grad_();
    const std::vector pairs{LoraPair{p.A.requires_grad_(), p.B.requires_grad_(), p.s}};
    std::unique_ptr<Optimizer> pro, reference;
    if (adam) {
      pro = std::make_unique<LoraProFullAdamW>(
          pairs, LoraProAdamWOptions{.lr = 0.05, .x_mode = XMode::zero, .delta = 0});
      reference = std::make_unique<AdamW>(ParameterGroups{full},
                                          AdamWOptions{.lr = 0.05, .weight_decay = 0});
    } else {
      pro = std::make_unique<LoraProSGD>(
          pairs, LoraProSGDOptions{.lr = 0.05, .x_mode = XMode::zero, .delta = 0});
      reference = std::make_unique<SGD>(ParameterGroups{full}, SGDOptions{.lr = 0.05});
    }
    for (int step = 0; step < 20; ++step) {
      const Directions g = gradients_of(p.A, p.B, effective(p.W, p.A, p.B, p.s) - target, p.s);
      p.A.set_grad(g.A);
      p.B.set_grad(g.B);
      full.set_grad(full.detach() - target);
      pro->step();
      reference->step();
    }
    check_close(effective(p.W, p.A, p.B, p.s), full.detach(), 1e-13);
    check_close(p.B.detach(), B, 1e-14);
  }
}

TEST_CASE("LoRA-Pro: decay without a gradient shrinks the effective weight exactly",
          "[optim][lora]") {
  RandomProblem p(4);
  const Tensor before = effective(p.W, p.A, p.B, p.s);
  LoraProFullAdamW optimizer({{p.A.requires_grad_(), p.B.requires_grad_(), p.s, p.W}},
                             {.lr = 0.5, .weight_decay = 0.2});
  p.A.set_grad(zeros({3, 7}));
  p.B.set_grad(zeros({5, 3}));
  optimizer.step();
  check_close(effective(p.W, p.A, p.B, p.s), before * real(0.9));
}

TEST_CASE("LoRA-Pro: a factor of lower rank is projected on what it spans", "[optim][lora]") {
  SmallProblem p;
  p.A = matrix("1 2; 2 4; 0 0; -1 -2");  // rank 1, exactly
  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  for (const XMode mode : modes) {
    const Directions d = lora::pro_directions(p.A, p.B, g, p.s, {mode, 0});
    check_close(frobenius(lora::equivalent_gradient(p.A, p.B, d, p.s) - p.G),
                least_squares(p.A, p.B, p.G, p.s).first, 1e-11);
  }
}

TEST_CASE("LoRA-Pro: momentum sums directions, and decay is decoupled from it", "[optim][lora]") {
  Quadratic q, twin;
  LoraProSGD optimizer({q.pair()}, {.lr = 0.01, .momentum = 0.9, .weight_decay = 0.5});
  Tensor mA = zeros({2, 4}), mB = zeros({3, 2});
  for (int i = 0; i < 4; ++i) {
    q.train(optimizer, 1);
    const Directions g = gradients_of(twin.A, twin.B, twin.W_eff() - twin.Y, twin.s);
    const Directions d = lora::pro_directions(twin.A, twin.B, g, twin.s);
    mA = mA * real(0.9) + d.A;
    mB = mB * real(0.9) + d.B;
    twin.A = twin.A * real(1 - 0.005) - mA * real(0.01);
    twin.B = twin.B * real(1 - 0.005) - mB * real(0.01);
  }
  check_close(q.A.detach(), twin.A);
  check_close(q.B.detach(), twin.B);
}

TEST_CASE("LoRA-Pro: other parameters have the plain formula, pairs and groups their own settings",
          "[optim][lora]") {
  Quadratic q, twin;
  Tensor bias = tensor({1, -2, 3}), plain = bias.clone();
  LoraPair slow = q.pair();
  slow.lr = 0.05;
  LoraProAdamW optimizer({slow},
                         {{.parameters = {bias.requires_grad_()}, .lr = 0.2, .weight_decay = 0.3}},
                         {.lr = 0.1});
  AdamW reference({plain.requires_grad_()}, {.lr = 0.2, .weight_decay = 0.3});
  LoraProAdamW alone({twin.pair()}, {.lr = 0.05});
  CHECK(optimizer.lr() == 0.05);
  CHECK(optimizer.parameters().size() == 3);
  for (int i = 0; i < 5; ++i) {
    for (Optimizer* each : {static_cast<Optimizer*>(&optimizer),
                            static_cast<Optimizer*>(&reference), static_cast<Optimizer*>(&alone)})
      each->set_lr_factor(1 - 0.1 * i);
    bias.set_grad(bias.detach() * bias.detach());
    plain.set_grad(plain.detach() * plain.detach());
    q.train(optimizer, 1);
    twin.train(alone, 1);
    reference.step();
  }
  CHECK(same_bits(bias, plain));
  CHECK(same_bits(q.A, twin.A));
  CHECK(same_bits(q.B, twin.B));
}

TEST_CASE("LoRA-Pro: a checkpoint carries on bit for bit, in every flavour", "[optim][lora]") {
  const auto check = [](auto make, const std::vector<std::string>& names, const Shape& moment) {
    Quadratic q, resumed;
    const auto optimizer = make(q.pair());
    q.train(*optimizer, 3);
    Optimizer::StateDict saved = optimizer->state_dict();
    for (auto& [name, value] : saved) value = value.clone();
    std::vector<std::string> found;
    for (const auto& [name, value] : saved) found.push_back(name);
    CHECK(found == names);
    CHECK(saved.at(2).second.shape() == moment);
    for (auto [to, from] : {std::pair{&resumed.A, &q.A}, {&resumed.B, &q.B}, {&resumed.W, &q.W}})
      *to = from->clone();
    const auto second = make(resumed.pair());
    second->load_state_dict(saved);
    CHECK(second->steps() == 3);
    q.train(*optimizer, 3);
    resumed.train(*second, 3);
    CHECK(same_bits(q.A, resumed.A));
    CHECK(same_bits(q.B, resumed.B));
    CHECK(same_bits(q.W, resumed.W));
  };
  check(
      [](LoraPair pair) {
        return std::make_unique<LoraProSGD>(std::vector{pair},
                                            LoraProSGDOptions{.lr = 0.01, .momentum = 0.5});
      },
      {"step", "state.0.step", "state.0.momentum_buffer", "state.1.step",
       "state.1.momentum_buffer"},
      {2, 4});
  check(
      [](LoraPair pair) {
        return std::make_unique<LoraProAdamW>(std::vector{pair}, LoraProAdamWOptions{.lr = 0.1});
      },
      {"step", "state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq", "state.1.step",
       "state.1.exp_avg", "state.1.exp_avg_sq"},
      {2, 4});
  check(
      [](LoraPair pair) {
        return std::make_unique<LoraProFullAdamW>(
            std::vector{pair}, LoraProAdamWOptions{.lr = 0.1, .weight_decay = 0.1});
      },
      {"step", "state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq", "state.1.step"}, {3, 4});
}

TEST_CASE("LoRA-Pro: pairs without gradients stand still, and the others count for themselves",
          "[optim][lora]") {
  Quadratic q, resting;
  const Tensor A = resting.A.clone();
  LoraProAdamW optimizer({resting.pair(), q.pair()}, {.lr = 0.1});
  q.train(optimizer, 2);
  CHECK(same_bits(resting.A, A));
  const auto saved = optimizer.state_dict();
  CHECK(saved[1].first == "state.0.step");
  CHECK(saved[1].second.item() == 0);
  CHECK(saved[7].first == "state.2.step");
  CHECK(saved[7].second.item() == 2);
}

TEST_CASE("LoRA-Pro: only the full flavour keeps what is as large as the weight, and one temporary",
          "[optim][lora]") {
  const std::size_t in = 600, out = 400, rank = 4;
  struct Use {
    double state, step;
  };
  const auto measure = [&](auto make) {  // in weights
    RandomProblem p(6, in, out, rank);
    const LoraPair pair{p.A.requires_grad_(), p.B.requires_grad_(), p.s};
    p.A.set_grad(p.gradients.A);
    p.B.set_grad(p.gradients.B);
    const double weight = in * out * sizeof(real);
    const std::size_t before = memory::stats().current;
    const auto optimizer = make(std::vector{pair});
    const std::size_t with_state = memory::stats().current;
    memory::reset_peak();
    optimizer->step();
    const std::uint64_t allocations = memory::stats().allocations;
    const std::size_t peak = memory::stats().peak;
    optimizer->step();
    CHECK(memory::stats().allocations == allocations);
    return Use{static_cast<double>(with_state - before) / weight,
               static_cast<double>(peak - with_state) / weight};
  };
  const Use full = measure([](auto pairs) { return std::make_unique<LoraProFullAdamW>(pairs); });
  CHECK(full.state > 1.9);
  CHECK(full.state < 2.1);
  CHECK(full.step < 1.2);
  for (const Use use : {measure([](auto pairs) { return std::make_unique<LoraProAdamW>(pairs); }),
                        measure([](auto pairs) { return std::make_unique<LoraProSGD>(pairs); })}) {
    CHECK(use.state < 0.1);
    CHECK(use.step < 0.1);
  }
}

TEST_CASE("LoRA-Pro: any number of threads gives the same bits", "[optim][lora]") {
  const auto run = [](int threads) {
    set_num_threads(threads);
    RandomProblem p(5, 300, 200, 8);
    LoraProFullAdamW optimizer({{p.A.requires_grad_(), p.B.requires_grad_(), p.s}}, {.lr = 0.1});
    p.A.set_grad(p.gradients.A);
    p.B.set_grad(p.gradients.B);
    optimizer.step();
    return p.A.clone();
  };
  const int before = num_threads();
  const Tensor one = run(1), four = run(4);
  set_num_threads(before);
  CHECK(same_bits(one, four));
}

TEST_CASE("LoRA-Pro: NaN in a gradient reaches both factors of its pair, and no other pair",
          "[optim][lora]") {
  Quadratic q, other;
  LoraProAdamW optimizer({q.pair(), other.pair()}, {.lr = 0.1});
  q.set_gradients();
  other.set_gradients();
  Tensor grad = q.A.grad().clone();
  grad.mutable_data()[3] = std::numeric_limits<real>::quiet_NaN();
  q.A.set_grad(grad);
  optimizer.step();
  CHECK(std::isnan(frobenius(q.A)));
  CHECK(std::isfinite(frobenius(other.A)));
  CHECK(std::isfinite(frobenius(other.B)));
  const Tensor before = other.A.clone();
  CHECK(error_of([&] { optimizer.step(); }) ==
        "LoraProAdamW: pair 0: NaN or Inf in A (2, 4) or B (3, 2)");
  CHECK(same_bits(other.A, before));
}

TEST_CASE("LoRA-Pro says what it refuses", "[optim][lora]") {
  const SmallProblem p;
  const auto sgd = [](LoraPair pair, LoraProSGDOptions options = {}) {
    if (pair.A.defined()) pair.A.requires_grad_();
    if (pair.B.defined()) pair.B.requires_grad_();
    return error_of([&] { LoraProSGD({pair}, options); });
  };
  const auto full = [](std::vector<LoraPair> pairs) {
    for (LoraPair& pair : pairs) {
      pair.A = pair.A.clone().requires_grad_();
      pair.B = pair.B.clone().requires_grad_();
    }
    return error_of([&] { LoraProFullAdamW(pairs, {.weight_decay = 0.1}); });
  };
  CHECK(sgd({}) == "LoraProSGD: pair 0: A is undefined");
  CHECK(sgd({p.A.clone(), {}}) == "LoraProSGD: pair 0: B is undefined");
  CHECK(sgd({p.A.clone(), zeros({3, 3})}) ==
        "LoraProSGD: pair 0: A is (rank, in) and B (out, rank), got (2, 4) and (3, 3)");
  CHECK(sgd({zeros({0, 4}), zeros({3, 0})}) ==
        "LoraProSGD: pair 0: rank 0 is outside [1, 3] for A (0, 4) and B (3, 0)");
  CHECK(sgd({zeros({4, 4}), zeros({3, 4})}) ==
        "LoraProSGD: pair 0: rank 4 is outside [1, 3] for A (4, 4) and B (3, 4)");
  CHECK(sgd({p.A.clone(), p.B.clone(), 0}) ==
        "LoraProSGD: pair 0: scale must be finite and not 0, got 0");
  CHECK(sgd({p.A.clone(), p.B.clone(), 1, zeros({3, 5})}) ==
        "LoraProSGD: pair 0: weight is (3, 5), B A is (3, 4)");
  CHECK(sgd({p.A.clone(), p.B.clone()}, {.momentum = -1}) ==
        "LoraProSGD: momentum must be finite and at least 0, got -1");
  CHECK(sgd({p.A.clone(), p.B.clone()}, {.delta = -1}) ==
        "LoraProSGD: delta must be finite and at least 0, got -1");
  CHECK(error_of([] { LoraProSGD({}); }) == "LoraProSGD: there are no pairs to optimize");
  CHECK(full({{p.A, p.B, 2}}) ==
        "LoraProFullAdamW: pair 0: weight_decay is that of the effective weight: the pair must "
        "have its weight");
  CHECK(full({{p.A, p.B, 2, p.W}, {p.A, p.B, 2, p.W}}) ==
        "LoraProFullAdamW: pair 1: weight_decay would reach a weight twice that several pairs "
        "share");

  Quadratic shared;
  CHECK(error_of([&] {
          LoraProSGD({shared.pair(), shared.pair()});
        }) == "LoraProSGD: parameters 0 and 2 (2, 4) are the same tensor");
  LoraProFullAdamW optimizer({shared.pair()});
  CHECK(error_of([&] { optimizer.forget(shared.A, std::vector<std::int64_t>{0}); }) ==
        "forget: this LoraProFullAdamW remembers numbers of shape (3, 4) for a parameter of shape "
        "(2, 4), which have other rows");
  shared.set_gradients();
  shared.B.zero_grad();
  CHECK(error_of([&] { optimizer.step(); }) ==
        "LoraProFullAdamW: pair 0: A has a gradient and B none");
  CHECK(optimizer.steps() == 0);

  Quadratic nothing;
  nothing.A = zeros({2, 4});
  nothing.B = zeros({3, 2});
  LoraProSGD stuck({nothing.pair()});
  nothing.set_gradients();
  CHECK(error_of([&] { stuck.step(); }) ==
        "LoraProSGD: pair 0: A and B are both zero: no direction moves their product");

  const Directions g = gradients_of(p.A, p.B, p.G, p.s);
  CHECK(error_of([&] {
          lora::pro_directions(p.A, p.B, {g.A, {}}, 2);
        }) == "pro_directions: that of B is undefined");
  CHECK(error_of([&] {
          lora::pro_directions(p.A, p.B, {g.B, g.A}, 2);
        }) == "pro_directions: A (2, 4) and B (3, 2) come with (3, 2) and (2, 4)");
}
