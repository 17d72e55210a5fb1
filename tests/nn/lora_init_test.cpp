// Where adapters start: numbers worked out by hand, the optimum that LoRA-GA claims, and whole
// models, whose function must not change.
#include <xgrad/core/memory.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/lora.hpp>
#include <xgrad/nn/norm.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/lora_pro.hpp>
#include <xgrad/optim/sgd.hpp>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <map>

#include "error_of.hpp"
#include "lora_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;
using lora::Factors, lora::GaScale, lora::GaStart, lora::Reference, lora::SvdOptions;

namespace {

/// 8 h1 h3^T + 4 h2 h1^T + 2 h3 h4^T + h4 h2^T with the columns h of a Hadamard matrix / 2.
Tensor hadamard_gradient() {
  return matrix(
      "3.75 2.25 -1.25 -.75; 1.25 .75 -3.75 -2.25; 2.25 3.75 -.75 -1.25; .75 1.25 -2.25 -3.75");
}

Tensor times(const Tensor& x, double factor) { return x * static_cast<real>(factor); }

Tensor product(const Factors& f, double s) { return times(matmul(f.B, f.A), s); }

/// s^2 (B B^T G + G A^T A): what the first SGD step takes from the weight, to first order in lr.
Tensor first_step(const Factors& f, const Tensor& G, double s) {
  return times(matmul(f.B, matmul(f.B, G, {.transpose_a = true})) +
                   matmul(matmul(G, f.A, {.transpose_b = true}), f.A),
               s * s);
}

double objective(const Factors& f, const Tensor& G, double s, double zeta) {
  return frobenius(first_step(f, G, s) - times(G, zeta));
}

double tail(const std::vector<double>& sigma, std::size_t from) {
  double sum = 0;
  for (std::size_t i = from; i < sigma.size(); ++i) sum += sigma[i] * sigma[i];
  return std::sqrt(sum);
}

/// The singular values of a matrix, and the matrix with only the first few.
std::vector<double> singular_values(const Tensor& x) {
  const Tensor s = svd_values(x);
  return {s.data(), s.data() + s.size()};
}
Tensor truncated(const Tensor& x, std::size_t rank) {
  return product(lora::pissa_factors(x, rank, 1, {SvdOptions::exact}), 1);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0;
}

struct Net : Module {
  using Module::Module;
  Linear up{this, "up", {.in = 9, .out = 12}};
  BatchNorm norm{this, "norm", {.channels = 12}};
  Dropout dropout{this, "dropout", 0.5};
  Linear down{this, "down", {.in = 12, .out = 7}};
  Tensor operator()(const Tensor& x) const { return down(dropout(tanh(norm(up(x))))); }
};

/// A model with adapters on both layers, and batches for it.
struct Setup {
  explicit Setup(lora::Options options = {.rank = 2, .alpha = 4}) : net(7) {
    lora::attach(net, options);
    Rng rng(3);
    for (int k = 0; k < 3; ++k) {
      inputs.push_back(randn({16, 9}, rng));
      targets.push_back(randn({16, 7}, rng));
    }
  }
  Tensor loss(std::size_t k) const { return mean(square(net(inputs[k]) - targets[k])); }
  std::vector<lora::GaReport> start(lora::LoraGaOptions options = {}) {
    options.batches = 3;
    return lora::lora_ga(
        net, [this](std::size_t k) { return loss(k); }, options);
  }
  Tensor output() {
    net.eval();
    const Tensor y = net(inputs[0]);
    net.train();
    return y;
  }
  /// The mean gradient of a layer's weight, without dropout.
  Tensor gradient(Linear& layer) {
    Tensor sum = zeros({layer.options.out, layer.options.in});
    net.eval();
    layer.weight.requires_grad_();
    for (std::size_t k = 0; k < 3; ++k) {
      Tape tape;
      sum = sum + tape.gradient(loss(k), layer.weight);
    }
    layer.weight.requires_grad_(false);
    net.train();
    return sum.detach() / real(3);
  }

  Net net;
  std::vector<Tensor> inputs, targets;
};

}  // namespace

TEST_CASE("LoRA-GA: a gradient of four Hadamard directions", "[nn][lora]") {
  const Tensor G = hadamard_gradient(), best = matrix("3 3 -1 -1; 1 1 -3 -3; 3 3 -1 -1; 1 1 -3 -3");
  const double s = 2, kappa = lora::ga_kappa(GaScale::stable, G, 1, s, 16),
               zeta = s * s * kappa * kappa;
  check_close(kappa * kappa, 1.0 / 8);
  check_close(zeta, 0.5);
  const GaStart start = lora::lora_ga_factors(G, 1, kappa);
  check_close(start.sigma[0], 8);
  check_close(start.sigma[1], 4);
  check_close(start.factors.A, times(ones({1, 4}), kappa / 2));
  check_close(start.factors.B, times(ones({4, 1}), kappa / 2));
  check_close(product(start.factors, s), times(ones({4, 4}), 1.0 / 16));
  check_close(objective(start.factors, G, s, zeta), 1.118033988750);
  check_close(start.alignment(), std::sqrt(80.0 / 85));
  CHECK(start.has_rank());

  for (const double lr : {0.1, 0.01}) {
    Tensor A = start.factors.A.clone(), B = start.factors.B.clone();
    const Tensor before = product({A, B}, s);
    A = A - times(matmul(B, G, {.transpose_a = true}), lr * s);
    B = B - times(matmul(G, start.factors.A, {.transpose_b = true}), lr * s);
    const Tensor dW = product({A, B}, s) - before;
    if (lr == 0.1)
      check_close(dW, matrix("-.07 -.07 -.03 -.03; -.13 -.13 .23 .23; -.07 -.07 -.03 -.03;"
                             "-.13 -.13 .23 .23"));
    check_close(frobenius(dW + times(best, lr * zeta)) / frobenius(times(best, lr * zeta)),
                7.15541753 * lr, 1e-8);
  }

  const lora::Directions g{times(matmul(start.factors.B, G, {.transpose_a = true}), s),
                           times(matmul(G, start.factors.A, {.transpose_b = true}), s)};
  const auto& [A, B] = start.factors;
  const lora::Directions d = lora::pro_directions(A, B, g, s, {lora::XMode::sylvester, 0});
  check_close(d.A, lora::pro_directions(A, B, g, s, {lora::XMode::zero, 0}).A);
  const Tensor moved = lora::equivalent_gradient(A, B, d, s);
  check_close(moved, best);  // LoRA-Pro undoes the scale
  check_close(frobenius(moved - G), std::sqrt(5.0));
}

TEST_CASE("LoRA-GA: a gradient without symmetry, in every scale", "[nn][lora]") {
  const Tensor G = SmallProblem().G;
  const double s = 2;
  const GaStart start = lora::lora_ga_factors(G, 1, lora::ga_kappa(GaScale::gd, G, 1, s));
  check_close(start.sigma[0], 3.527379448945);
  check_close(start.sigma[1], 2.602172518769);
  check_close(start.norm * start.norm, 23);
  check_close(objective(start.factors, G, s, 1), 1.945839768769);
  check_close(first_step(start.factors, G, s),
              matrix("1.440494187561 1.137067288992 .588798133023;"
                     "-.497505297737 -.025381929116 .334996468176;"
                     "2.748910490657 .491886969502 -1.335625391884;"
                     ".741208930626 1.506974405987 1.654080115485"));
  const char* const expected =
      "-.037942692440 .123065686521 .208748864999; .010705139085 -.034721713353 -.058896337867;"
      "-.061446783209 .199300315125 .338061044897; -.025544761871 .082853468072 .140539316117";
  check_close(product(start.factors, s), matrix(expected));

  const double kappa = lora::ga_kappa(GaScale::stable, G, 1, s, 16);
  check_close(kappa, .329018503238);
  check_close(s * s * kappa * kappa, .433012701892);
  check_close(product(lora::lora_ga_factors(G, 1, kappa).factors, s),
              times(matrix(expected), .433012701892));
  CHECK(lora::ga_kappa(GaScale::unit, G, 1, s) == 1);
  check_close(lora::ga_kappa(GaScale::weight, G, 2, s),
              (std::sqrt(3.527379448945 / 2) + std::sqrt(2.602172518769 / 2)) / 2);
}

TEST_CASE("LoRA-GA: no factors do better, neither random ones nor trained ones", "[nn][lora]") {
  Rng rng(5);
  const double s = 1.5, zeta = 0.8, kappa = std::sqrt(zeta) / s;
  for (const std::size_t rank : {1, 2}) {
    const Tensor G = randn({5, 8}, rng);
    const std::vector<double> sigma = singular_values(G);
    const GaStart start = lora::lora_ga_factors(G, rank, kappa);
    const auto& [A, B] = start.factors;
    const double optimum = zeta * tail(sigma, 2 * rank);
    check_close(objective(start.factors, G, s, zeta), optimum);
    check_close(first_step(start.factors, G, s), times(truncated(G, 2 * rank), zeta));

    Tensor identity = zeros({rank, rank});
    for (std::size_t i = 0; i < rank; ++i)
      identity.mutable_data()[i * rank + i] = static_cast<real>(kappa * kappa);
    check_close(matmul(A, A, {.transpose_b = true}), identity);
    check_close(matmul(B, B, {.transpose_a = true}), identity);
    check_close(matmul(matmul(B, G, {.transpose_a = true}), A, {.transpose_b = true}),
                zeros({rank, rank}));

    double lowest = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 2000; ++i)
      lowest = std::min(
          lowest, objective({times(randn({rank, 8}, rng), 0.5), times(randn({5, rank}, rng), 0.5)},
                            G, s, zeta));
    CHECK(lowest > optimum);
    for (int trial = 0; trial < 3; ++trial) {
      Tensor a = times(randn({rank, 8}, rng), 0.5).requires_grad_(),
             b = times(randn({5, rank}, rng), 0.5).requires_grad_();
      Adam optimizer({a, b}, {.lr = 0.02});
      for (int i = 0; i < 300; ++i) {
        Tape tape;
        tape.backward(sum(square(first_step({a, b}, G, s) - times(G, zeta))));
        optimizer.step();
        optimizer.zero_grad();
      }
      CHECK(objective({a, b}, G, s, zeta) >= optimum * (1 - 1e-6));
    }
  }
}

TEST_CASE("LoRA-GA: an SGD step is its two-term formula, and flipped triplets change nothing",
          "[nn][lora]") {
  Rng rng(6);
  const double s = 1.5, kappa = 0.7, lr = 0.05;
  const Tensor G = randn({5, 8}, rng);
  const Factors f = lora::lora_ga_factors(G, 2, kappa).factors;
  const Tensor gA = times(matmul(f.B, G, {.transpose_a = true}), s),
               gB = times(matmul(G, f.A, {.transpose_b = true}), s);
  const Tensor dW = product({f.A - times(gA, lr), f.B - times(gB, lr)}, s) - product(f, s);
  const Tensor second =
      times(matmul(matmul(matmul(G, f.A, {.transpose_b = true}), f.B, {.transpose_b = true}), G),
            lr * lr * s * s * s);
  check_close(dW, second - times(first_step(f, G, s), lr));

  Factors flipped{f.A.clone(), f.B.clone()};
  for (std::size_t i = 0; i < 8; ++i) flipped.A.mutable_data()[i] *= -1;
  for (std::size_t i = 0; i < 5; ++i) flipped.B.mutable_data()[2 * i + 1] *= -1;
  check_close(first_step(flipped, G, s), first_step(f, G, s));
}

TEST_CASE("LoRA-GA: the signs are the same for a gradient of any scale", "[nn][lora]") {
  Rng rng(8);
  const Tensor G = randn({6, 9}, rng);
  const Factors f = lora::lora_ga_factors(G, 2, 1).factors,
                g = lora::lora_ga_factors(times(G, 1e-3), 2, 1).factors;
  check_close(f.A, g.A, 1e-11);
  check_close(f.B, g.B, 1e-11);
}

TEST_CASE("The randomised decomposition comes as near to the optimum as it says", "[nn][lora]") {
  Rng rng(9);
  // Singular values 1/i: two random orthogonal bases.
  const std::size_t m = 128, n = 96, rank = 4;
  const Tensor U = lora::olora_factors(randn({m, n}, rng), n).B,
               V = lora::olora_factors(randn({n, n}, rng), n).B;
  Tensor sigma = Tensor::empty({n});
  for (std::size_t i = 0; i < n; ++i) sigma.mutable_data()[i] = 1 / static_cast<real>(i + 1);
  const Tensor G = matmul(U * sigma, V, {.transpose_b = true});
  const auto excess = [&](SvdOptions options) {
    const double best = tail({sigma.data(), sigma.data() + n}, 2 * rank);
    return objective(lora::lora_ga_factors(G, rank, 1, options).factors, G, 1, 1) / best - 1;
  };
  CHECK(std::abs(excess({SvdOptions::exact})) < 1e-5);
  CHECK(excess({SvdOptions::randomized, 0}) > 0.01);
  CHECK(excess({SvdOptions::randomized, 1}) < 0.01);
  CHECK(excess({SvdOptions::randomized, 4}) < 1e-5);

  const Factors exact = lora::pissa_factors(G, 4, 2, {SvdOptions::exact}),
                near = lora::pissa_factors(G, 4, 2, {SvdOptions::randomized});
  check_close(near.A, exact.A, 1e-4);
  check_close(near.B, exact.B, 1e-4);
}

TEST_CASE("PiSSA and OLoRA on the small problem", "[nn][lora]") {
  const SmallProblem p;
  const Factors pissa = lora::pissa_factors(p.W, 2, p.s);
  const Tensor largest = product(pissa, p.s);
  const double row[] = {2.111707793261, -.618697483408, -.004085319627};
  for (std::size_t j = 0; j < 3; ++j) check_close(largest.data()[4 * j], row[j]);
  check_close(frobenius(p.W - largest), 1.642048169447);
  const std::vector<double> sigma = singular_values(p.W);
  check_close(sigma[0], 3.890026964381);
  check_close(sigma[1], 2.274064208769);
  // Each half has the roots of the singular values: A A^T = B^T B = diag(sigma / s).
  check_close(matmul(pissa.A, pissa.A, {.transpose_b = true}),
              matmul(pissa.B, pissa.B, {.transpose_a = true}));

  const Factors olora = lora::olora_factors(p.W, 2);
  check_close(product(olora, 1), matrix("2 -1 0; 0 1 3; 10/49 -29/49 -72/49; -34/49 30/49 39/49"));
}

TEST_CASE("A start leaves the model's function as it was: to the bit if kept, else to rounding",
          "[nn][lora]") {
  const auto check = [](auto start) {
    for (const Reference mode : {Reference::keep, Reference::fold}) {
      Setup setup;
      const Tensor before = setup.output(), W = setup.net.up.weight.clone();
      start(setup, mode);
      const Tensor after = setup.output();
      if (mode == Reference::keep)
        CHECK(same_bits(after, before));
      else
        check_close(after, before);
      CHECK(same_bits(setup.net.up.weight, W) == (mode == Reference::keep));
      const auto adapters = lora::adapters(setup.net);
      for (const lora::Adapter* adapter : adapters) {
        CHECK(frobenius(adapter->A) > 0);
        CHECK(frobenius(adapter->B) > 0);
        if (mode == Reference::fold && adapter->layer == "up")
          check_close(setup.net.up.weight.detach() + product({adapter->A, adapter->B}, 2), W);
      }
    }
  };
  check([](Setup& setup, Reference mode) { lora::pissa(setup.net, {.mode = mode}); });
  check([](Setup& setup, Reference mode) { lora::olora(setup.net, {.mode = mode}); });
  check([](Setup& setup, Reference mode) { setup.start({.mode = mode}); });

  Setup dora({.rank = 2, .alpha = 4, .dora = true});
  const Tensor before = dora.output();
  dora.start();
  check_close(dora.output(), before);
}

TEST_CASE("A trained start goes through PEFT's files onto the original weights", "[nn][lora]") {
  const auto folder = std::filesystem::temp_directory_path() /
                      concat_text("xgrad_lora_init_", sizeof(real), "_", getpid());
  for (const Reference mode : {Reference::keep, Reference::fold}) {
    Setup setup;
    setup.start({.mode = mode});
    for (lora::Adapter* adapter : lora::adapters(setup.net))
      for (Tensor x : {Tensor(adapter->A), Tensor(adapter->B)})
        for (std::size_t i = 0; i < x.size(); ++i)
          x.mutable_data()[i] += static_cast<real>(0.01 * std::sin(static_cast<double>(i)));
    lora::save(setup.net, folder.string());
    Net original(7);
    CHECK(lora::load(original, folder.string()).front()->rank == 4);
    original.eval();
    check_close(original(setup.inputs[0]), setup.output());
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("LoRA-GA: the gradient is the mean over batches, however many layers come at once",
          "[nn][lora]") {
  Setup reference;
  const Tensor up = reference.gradient(reference.net.up),
               down = reference.gradient(reference.net.down);
  for (const std::size_t at_once : {0, 1, 2, 5}) {
    Setup setup;
    const auto reports = setup.start({.layers_at_once = at_once, .mode = Reference::keep});
    const auto adapters = lora::adapters(setup.net);
    REQUIRE(reports.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
      const Tensor& G = i == 0 ? up : down;
      const double kappa = lora::ga_kappa(GaScale::stable, G, 2, 2);
      const GaStart expected = lora::lora_ga_factors(G, 2, kappa);
      check_close(adapters[i]->A.detach(), expected.factors.A, 1e-10);
      check_close(adapters[i]->B.detach(), expected.factors.B, 1e-10);
      CHECK(reports[i].layer == (i == 0 ? "up" : "down"));
      check_close(reports[i].kappa, kappa);
      check_close(reports[i].zeta, 4 * kappa * kappa);
      check_close(reports[i].alignment, expected.alignment());
      CHECK(reports[i].has_rank);
    }
  }
}

TEST_CASE("LoRA-GA: the first SGD step of the model moves its weight along the best of rank 2r",
          "[nn][lora]") {
  Setup setup;
  const Tensor G = setup.gradient(setup.net.up);
  const auto reports = setup.start({.scale = GaScale::gd});
  lora::Adapter& adapter = *lora::adapters(setup.net).front();
  const double lr = sizeof(real) == 8 ? 1e-6 : 1e-3;
  const Tensor before = product({adapter.A, adapter.B}, 2);
  setup.net.eval();
  SGD optimizer({adapter.A, adapter.B}, {.lr = lr});
  for (std::size_t k = 0; k < 3; ++k) {
    Tape tape;
    tape.backward(setup.loss(k) / real(3));
  }
  optimizer.step();
  const Tensor dW = product({adapter.A, adapter.B}, 2) - before, best = truncated(G, 4);
  CHECK(frobenius(times(dW, -1 / lr) - best) < (sizeof(real) == 8 ? 1e-5 : 5e-2) * frobenius(best));
  check_close(reports[0].zeta, 1);
}

TEST_CASE("LoRA-GA: the estimation leaves no trace, also when it fails", "[nn][lora]") {
  Setup setup;
  const Tensor kept = ones({12});
  setup.net.up.bias.set_grad(kept);
  setup.net.norm.eval();
  const Tensor running_mean = setup.net.norm.running_mean.clone();
  const auto flags = [&] {
    std::map<std::string, bool> all;
    for (const auto& [name, parameter] : setup.net.named_parameters())
      all[name] = parameter.requires_grad();
    for (const auto& [name, module] : setup.net.named_modules())
      if (!name.ends_with("reference")) all["mode of " + name] = module->is_training();
    return all;
  };
  const auto before = flags();
  const Tensor W = setup.net.up.weight.clone(), A = lora::adapters(setup.net)[0]->A.clone();
  const auto nothing_changed = [&] {
    CHECK(flags() == before);
    CHECK(same_bits(setup.net.up.bias.grad(), kept));
    CHECK_FALSE(setup.net.up.weight.grad().defined());
    CHECK_FALSE(lora::adapters(setup.net)[0]->A.grad().defined());
    CHECK(same_bits(setup.net.norm.running_mean, running_mean));
  };

  CHECK_THROWS_WITH(lora::lora_ga(setup.net,
                                  [&](std::size_t k) {
                                    if (k == 1) throw std::runtime_error("no such batch");
                                    return setup.loss(k);
                                  }),
                    "no such batch");
  nothing_changed();
  CHECK(same_bits(setup.net.up.weight, W));
  CHECK(same_bits(lora::adapters(setup.net)[0]->A, A));

  // A layer that fails after another went well: neither has changed.
  CHECK(error_of([&] {
          lora::lora_ga(setup.net,
                        [&](std::size_t k) { return mean(square(setup.net.up(setup.inputs[k]))); },
                        {.batches = 3});
        }) == "LoraGa: \"down\": no loss depends on this layer's weight");
  nothing_changed();
  CHECK(same_bits(lora::adapters(setup.net)[0]->A, A));

  setup.start();
  nothing_changed();
  CHECK_FALSE(same_bits(lora::adapters(setup.net)[0]->A, A));
}

TEST_CASE("LoRA-GA: dropout and running statistics take part on demand only", "[nn][lora]") {
  Setup quiet, training;
  quiet.start({.mode = Reference::keep});
  training.start({.training = true, .mode = Reference::keep});
  CHECK(same_bits(quiet.net.norm.running_mean, zeros({12})));
  CHECK_FALSE(same_bits(training.net.norm.running_mean, zeros({12})));
  CHECK_FALSE(same_bits(lora::adapters(quiet.net)[1]->A, lora::adapters(training.net)[1]->A));
}

TEST_CASE("LoRA-GA: the gradient is that without the adapters that are to start", "[nn][lora]") {
  Setup usual, moved({.rank = 2, .alpha = 4, .init = lora::Init::random});
  usual.start({.mode = Reference::keep});
  moved.start({.mode = Reference::keep});
  check_close(lora::adapters(moved.net)[0]->A.detach(), lora::adapters(usual.net)[0]->A.detach());
  CHECK(moved.net.trainable_parameters().size() == 4);
}

TEST_CASE("LoRA-GA: a gradient from too few rows is reported", "[nn][lora]") {
  Setup setup;
  const auto reports = lora::lora_ga(
      setup.net,
      [&](std::size_t k) { return mean(square(setup.net(slice(setup.inputs[k], 0, 0, 1)))); },
      {.batches = 2});
  CHECK_FALSE(reports[0].has_rank);
  CHECK(reports[0].alignment > 0.999);
}

TEST_CASE("LoRA-GA: layer by layer, one gradient of a weight's size exists at a time",
          "[nn][lora]") {
  struct Stack : Module {
    using Module::Module;
    Linear a{this, "a", {.in = 400, .out = 400}}, b{this, "b", {.in = 400, .out = 400}},
        c{this, "c", {.in = 400, .out = 400}}, d{this, "d", {.in = 400, .out = 400}};
    Tensor operator()(const Tensor& x) const { return d(c(b(a(x)))); }
  };
  const auto peak = [](std::size_t at_once) {
    Stack net;
    lora::attach(net, {.rank = 2});
    Rng rng(1);
    const Tensor x = randn({4, 400}, rng);
    memory::reset_peak();
    const std::size_t before = memory::stats().current;
    lora::lora_ga(net, [&](std::size_t) { return mean(square(net(x))); },
                  {.batches = 2,
                   .layers_at_once = at_once,
                   .mode = Reference::keep,
                   .svd = {SvdOptions::randomized}});
    return static_cast<double>(memory::stats().peak - before) / (400 * 400 * sizeof(real));
  };
  CHECK(peak(1) < 2.5);  // the sum, and what the next batch adds
  CHECK(peak(0) > 4);
  CHECK(peak(0) < 5.5);
}

TEST_CASE("LoRA-Pro trains adapters that LoRA-GA started", "[nn][lora][optim]") {
  Setup setup;
  setup.start();
  setup.net.eval();
  const double before = setup.loss(0).item();
  const auto pairs = lora::pairs(lora::adapters(setup.net));
  REQUIRE(pairs.size() == 2);
  CHECK(pairs[0].scale == 2);
  CHECK(pairs[1].weight.data() == setup.net.down.weight.data());
  LoraProAdamW optimizer(pairs, {.lr = 0.01});
  for (int i = 0; i < 20; ++i) {
    {
      Tape tape;
      tape.backward(setup.loss(0));
    }
    optimizer.step();
    optimizer.zero_grad();
  }
  CHECK(setup.loss(0).item() < 0.9 * before);
}

TEST_CASE("Starts say what they refuse", "[nn][lora]") {
  const SmallProblem p;
  const real nan = std::numeric_limits<real>::quiet_NaN();
  CHECK(error_of([&] { lora::lora_ga_factors(p.G, 2, 1); }) ==
        "LoraGa: rank 2 needs 4 singular vectors, weight [3, 4] has 3");
  CHECK(error_of([&] { lora::lora_ga_factors(p.G, 0, 1); }) ==
        "LoraGa: rank 0 is outside [1, 3] for a gradient (3, 4)");
  CHECK(error_of([&] {
          lora::lora_ga_factors(zeros({3, 4}), 1, 1);
        }) == "LoraGa: the gradient (3, 4) is 0 everywhere");
  CHECK(error_of([&] {
          lora::lora_ga_factors(full({3, 4}, nan), 1, 1);
        }) == "LoraGa: NaN or Inf in the gradient (3, 4)");
  CHECK(error_of([&] { lora::lora_ga_factors(zeros({3}), 1, 1); }) ==
        "LoraGa: needs a gradient (out, in), got shape (3,)");
  CHECK(error_of([&] { lora::ga_kappa(GaScale::stable, p.W, 1, 2, 0); }) ==
        "LoraGa: gamma must be finite and above 0, got 0");
  CHECK(error_of([&] { lora::pissa_factors(p.W, 4, 1); }) ==
        "PiSSA: rank 4 is outside [1, 3] for a weight (3, 4)");
  CHECK(error_of([&] { lora::pissa_factors(p.W, 1, -1); }) ==
        "PiSSA: scale must be finite and above 0, got -1");
  CHECK(error_of([&] {
          lora::olora_factors(full({3, 4}, nan), 1);
        }) == "OLoRA: NaN or Inf in the weight (3, 4)");
  CHECK(error_of([&] { lora::olora_factors({}, 1); }) == "OLoRA: the weight is undefined");

  Net bare;
  CHECK(error_of([&] { lora::pissa(bare); }) == "PiSSA: no adapter is called \"default\"");
  Setup large({.rank = 4, .alpha = 4});
  CHECK(error_of([&] { large.start(); }) ==
        "lora: \"down\": LoraGa: rank 4 needs 8 singular vectors, weight [7, 12] has 7");
  CHECK(error_of([&] {
          lora::lora_ga(large.net, [&](std::size_t k) { return large.loss(k); }, {.batches = 0});
        }) == "LoraGa: needs at least 1 batch");
  CHECK(error_of([&] { lora::lora_ga(large.net, [&](std::size_t) { return Tensor(); }); }) ==
        "LoraGa: the loss of batch 0 is undefined");
  CHECK(error_of([&] { lora::lora_ga(large.net, [&](std::size_t) { return ones({2}); }); }) ==
        "LoraGa: the loss of batch 0 must have one element");

  Setup twice;
  lora::pissa(twice.net);
  CHECK(error_of([&] { twice.start(); }) ==
        "lora: \"up\": adapter \"default\" has been initialised already; doing it twice would take "
        "its start off twice");
  Setup merged;
  lora::merge(merged.net);
  CHECK(error_of([&] { lora::olora(merged.net); }) ==
        "lora: \"up\": adapters are merged; unmerge() first");
  CHECK(error_of([&] { lora::pairs(lora::adapters(merged.net)); }) ==
        "LoraPro: \"up\": adapters are merged; unmerge() first");
  Setup dora({.rank = 2, .dora = true});
  CHECK(error_of([&] { lora::pissa(dora.net, {.mode = Reference::keep}); }) ==
        "lora: \"up\": DoRA needs Reference::fold, since it rescales the base weight");
  CHECK(error_of([&] { lora::pairs(lora::adapters(dora.net)); }) ==
        "LoraPro: \"up\": not for DoRA, whose weight does not move by the product of its factors "
        "alone");
}

TEST_CASE("An embedding's adapter has no such start, and is left alone on demand", "[nn][lora]") {
  struct Words : Module {
    using Module::Module;
    Embedding table{this, "table", {.count = 10, .dim = 6}};
    Linear head{this, "head", {.in = 6, .out = 5}};
  } words;
  lora::attach(words, {.rank = 2, .targets = {"table", "head"}});
  lora::Adapter& adapter = *lora::adapters(words).front();
  const Tensor B = adapter.B.clone();
  CHECK(error_of([&] { lora::pissa(words); }) ==
        "PiSSA: \"table\" is an embedding, which has no such start; skip_embeddings leaves it as "
        "it is");
  lora::pissa(words, {.skip_embeddings = true});
  CHECK(same_bits(adapter.B, B));
  CHECK(lora::adapters(words).back()->reference() != nullptr);
}
