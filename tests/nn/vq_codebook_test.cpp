// Codebooks: what moves each of them, where they begin, what is saved, and k-means.
#include <numeric>

#include <xgrad/core/recompute.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/sgd.hpp>

#include "error_of.hpp"
#include "vq_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

std::shared_ptr<EmaCodebook> fixture_ema(double decay, double eps, double restart_below = 0) {
  auto codebook = std::make_shared<EmaCodebook>(EmaCodebookOptions{.codes = 4,
                                                                   .dim = 3,
                                                                   .init = CodebookInit::normal,
                                                                   .restart_below = restart_below,
                                                                   .decay = decay,
                                                                   .eps = eps});
  fill(codebook->weight, fixture_codes());
  fill(codebook->sums, fixture_codes());
  return codebook;
}

VectorQuantizer without_codebook_loss(std::shared_ptr<CodebookBase> codebook) {
  return VectorQuantizer({.codebook = std::move(codebook), .codebook_weight = 0});
}

Tensor row(const Tensor& table, std::int64_t k) { return slice(table, 0, k, k + 1).detach(); }

}  // namespace

// ---- moving averages

TEST_CASE("EmaCodebook moves codes to the averages of what chose them", "[nn][vq]") {
  const auto codebook = fixture_ema(0.9, 0);
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  const Quantized result = quantizer(fixture_vectors());
  check_codes(result.codes, {0, 2, 3});
  CHECK(same_bits(result.quantized,
                  embedding(fixture_codes(), result.codes)));  // by the table as it was before
  check_digits(codebook->counts, {1, .9, 1, 1});
  check_digits(codebook->weight, {.99, .02, .46, 0, 1, -.5, -.94, .53, .03, .47, -.48, .97});
}

TEST_CASE("EmaCodebook smooths small counts", "[nn][vq]") {
  const auto codebook = fixture_ema(0.9, 1e-5);
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  quantizer(fixture_vectors());
  check_digits(row(codebook->weight, 0), {.990000253844, .020000005128, .460000117948});
  check_digits(row(codebook->weight, 1), {0, .999999145309, -.499999572654});
  check_digits(row(codebook->sums, 0) / row(codebook->weight, 0), std::vector(3, .999999743592));
  check_digits(codebook->counts, {1, .9, 1, 1});
}

TEST_CASE("Without smoothing a code moves by (1 - decay) n/N of its way", "[nn][vq]") {
  auto codebook = std::make_shared<EmaCodebook>(EmaCodebookOptions{
      .codes = 8, .dim = 4, .init = CodebookInit::normal, .decay = 0.8, .eps = 0});
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  const Tensor z = random({40, 4}, 1);
  for (int step = 0; step < 3; ++step) {
    const Tensor before = codebook->weight.clone();
    const Indices codes = quantizer(z).codes;
    const Tensor n = detail::count_codes(codes, 8), sums = detail::sum_by_code(z, codes, 8);
    const Tensor share = reshape(n * real(0.2) / codebook->counts, {8, 1});
    const Tensor way = sums / maximum(reshape(n, {8, 1}), ones({1})) - before;
    const Tensor expected = before + share * way;
    check_digits(codebook->weight,
                 std::vector<double>(expected.data(), expected.data() + expected.size()), 1e-12);
  }
}

TEST_CASE("A code that is missed in the first step stays where it is", "[nn][vq]") {
  const auto codebook = fixture_ema(0.99, 1e-5);
  without_codebook_loss(codebook)(fixture_vectors());
  check_digits(row(codebook->weight, 1), {0, 1, -.5}, 1e-4);
}

TEST_CASE("A code that nobody uses any more is not shrunk away", "[nn][vq]") {
  const auto codebook = fixture_ema(0.8, 1e-5);
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  for (int step = 0; step < 500; ++step) quantizer(fixture_vectors());
  CHECK(codebook->counts.data()[1] < 1e-20);
  CHECK(norm(row(codebook->weight, 1)).item() > real(0.9 * 1.118));
}

TEST_CASE("EmaCodebook begins k-means' sums from k-means' counts", "[nn][vq]") {
  const auto codebook = std::make_shared<EmaCodebook>(EmaCodebookOptions{.codes = 5, .dim = 3});
  const Tensor z = random({100, 3}, 2);
  codebook->initialise(z);
  CHECK(sum(codebook->counts).item() == 100);
  const Tensor expected = codebook->weight * reshape(codebook->counts, {5, 1});
  CHECK(same_bits(codebook->sums, expected));
}

TEST_CASE("Counts of a k-means of more vectors are brought down to a step's", "[nn][vq]") {
  const auto codebook = std::make_shared<EmaCodebook>(
      EmaCodebookOptions{.codes = 5, .dim = 3, .restart_below = 0.2, .decay = 0.9});
  codebook->initialise(random({1000, 3}, 2));
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  const Tensor z = random({50, 3}, 3), before = codebook->weight.clone();
  for (int step = 0; step < 3; ++step) {
    quantizer(z);
    CHECK_THAT(sum(codebook->counts).item(), WithinRel(real(50), real(1e-5)));
  }
  CHECK(max(abs(codebook->weight - before)).item() < real(0.5));
}

TEST_CASE("In evaluation nothing moves a codebook", "[nn][vq]") {
  const auto codebook = fixture_ema(0.9, 1e-5, 10);
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  quantizer.eval();
  quantizer(fixture_vectors());
  CHECK(same_bits(codebook->weight, fixture_codes()));
  CHECK(same_bits(codebook->counts, ones({4})));
  CHECK(codebook->initialised.item() == 0);
}

TEST_CASE("Averages of directions make codes of length 1", "[nn][vq]") {
  const auto codebook = fixture_ema(0.9, 1e-5);
  VectorQuantizer quantizer(
      {.codebook = codebook, .assignment = Assignment::cosine, .codebook_weight = 0});
  const Tensor z = fixture_vectors();
  for (int step = 0; step < 3; ++step) quantizer(z);
  check_digits(sum(square(quantizer(z).quantized), -1), {1, 1, 1});
}

// ---- dead codes

TEST_CASE("Codes that are hardly used become vectors of the batch", "[nn][vq]") {
  // N/K = 0.75, so the threshold is 0.92: code 1, whose count became 0.9 of 0.75, is below it, and
  // so are those with one hit, 0.9 · 0.75 + 0.1.
  const auto codebook = fixture_ema(0.9, 0, 0.95);
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  const Tensor z = fixture_vectors();
  quantizer(z);
  CHECK(codebook->restarted() == std::vector<std::int64_t>{1});
  bool found = false;
  for (std::int64_t n = 0; n < 3; ++n) found |= same_bits(row(codebook->weight, 1), row(z, n));
  CHECK(found);
  const real threshold = static_cast<real>(0.95 * 0.75);
  CHECK(codebook->counts.data()[1] == threshold);
  CHECK(same_bits(row(codebook->sums, 1), row(codebook->weight, 1) * threshold));
}

TEST_CASE("Restarted codes are different vectors as long as there are enough", "[nn][vq]") {
  const auto codebook = std::make_shared<EmaCodebook>(EmaCodebookOptions{
      .codes = 6, .dim = 2, .init = CodebookInit::normal, .restart_below = 1.5, .decay = 0});
  VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = 0});
  const Tensor z = full({6, 2}, 5) + random({6, 2}, 3) * real(0.01);  // one code is nearest to all
  const Indices first = quantizer(z).codes;
  CHECK(codebook->restarted().size() == 5);
  const Indices second = quantizer.encode(z);
  std::vector<std::int64_t> codes(second.begin(), second.end());
  std::ranges::sort(codes);
  CHECK(std::unique(codes.begin(), codes.end()) - codes.begin() >= 5);
  CHECK(std::ranges::count(first, *first.begin()) == 6);  // that step's codes are not found again
}

TEST_CASE("The threshold grows with the batch", "[nn][vq]") {
  for (const std::size_t rows : {8, 800}) {
    const auto codebook = std::make_shared<Codebook>(
        CodebookOptions{.codes = 8, .dim = 2, .init = CodebookInit::normal, .restart_below = 0.2});
    VectorQuantizer quantizer({.codebook = codebook});
    quantizer(random({rows, 2}, 4));
    CHECK(codebook->restarted().empty());  // as if all had been used alike so far
    const real share = static_cast<real>(rows) / 8;
    CHECK_THAT(sum(codebook->counts).item(), WithinRel(share * 8, real(1e-5)));
  }
}

TEST_CASE("An optimizer forgets what it knew of restarted codes", "[nn][vq]") {
  const auto codebook = std::make_shared<Codebook>(CodebookOptions{
      .codes = 4, .dim = 3, .init = CodebookInit::normal, .restart_below = 0.9, .decay = 0.9});
  fill(codebook->weight, fixture_codes());
  VectorQuantizer quantizer({.codebook = codebook});
  Adam adam(codebook->parameters(), {.lr = 0.1});
  const Tensor z = fixture_vectors();
  std::size_t replaced = 0;
  for (int step = 0; step < 5; ++step) {
    Tape tape;
    tape.backward(quantizer(z).loss);
    const std::vector<std::int64_t> restarted = codebook->restarted();
    const Tensor before = codebook->weight.clone();
    adam.forget(codebook->weight, restarted);
    adam.step();
    adam.zero_grad();
    for (const std::int64_t k : restarted)
      CHECK(same_bits(row(codebook->weight, k), row(before, k)));
    replaced += restarted.size();
  }
  CHECK(replaced > 0);
  CHECK(error_of<std::invalid_argument>([&] { adam.forget(ones({2}), {}); }) ==
        "forget: this Adam does not train that parameter of shape (2,)");
  CHECK(error_of<std::invalid_argument>([&] {
          adam.forget(codebook->weight, std::vector<std::int64_t>{4});
        }) == "forget: row 4 is outside [0, 4)");
}

// ---- linear maps of a codebook

namespace {

std::shared_ptr<SimCodebook> fixture_sim(bool train_base, bool bias = false) {
  auto codebook = std::make_shared<SimCodebook>(
      SimCodebookOptions{.codes = 4, .dim = 3, .bias = bias, .train_base = train_base});
  fill(codebook->base(), fixture_codes());
  fill(codebook->weight,
       tensor({1, real(.2), 0, 0, real(.8), real(-.1), real(.3), 0, real(1.1)}, {3, 3}));
  if (bias) fill(codebook->bias, zeros({3}));
  return codebook;
}

}  // namespace

TEST_CASE("SimCodebook has the loss and gradients of its map", "[nn][vq]") {
  for (const bool train_base : {false, true}) {
    const auto codebook = fixture_sim(train_base, true);
    VectorQuantizer quantizer({.codebook = codebook});
    Tensor z = fixture_vectors();
    check_digits(codebook->table(), {1.15, .2, .55, -.15, .8, -.65, -1, .2, -.05, .8, -.3, 1.15});
    Tape tape;
    const Quantized result = quantizer(z);
    check_codes(result.codes, {0, 2, 3});
    check_digits(result.loss, {.231944444444});
    tape.backward(task_loss(result.quantized) + result.loss);
    check_digits(z.grad(), {.986111111111, -2, .475, .333333333333, .433333333333, -.080555555556,
                            -.533333333333, .25, 1.975});
    check_digits(codebook->weight.grad(),
                 {.255555555556, .133333333333, .227777777778, -.133333333333, -.066666666667,
                  -.088888888889, .161111111111, 0, .15});
    const Tensor dq = (result.quantized.detach() - z) * static_cast<real>(2.0 / 9);
    const Tensor db = sum(dq, 0);
    check_digits(codebook->bias.grad(), std::vector<double>(db.data(), db.data() + 3));
    CHECK(codebook->base().requires_grad() == train_base);
    if (train_base)
      check_digits(codebook->base().grad(),
                   {.055555555556, -.01, .126666666667, 0, 0, 0, -.16, -.098888888889,
                    -.125555555556, .133333333333, -.01, .15});
  }
}

TEST_CASE("SimCodebook under the rotation trick", "[nn][vq]") {
  VectorQuantizer quantizer(
      {.codebook = fixture_sim(false), .estimator = std::make_shared<Rotation>()});
  Tensor z = fixture_vectors();
  Tape tape;
  tape.backward(task_loss(quantizer(z).quantized));
  check_digits(z.grad(),
               {1.688271214238, -2.674121870969, .403802813795, .488482691524, .068313152201,
                -.247524817172, -1.893609843995, .259424421521, 3.259356136079});
}

TEST_CASE("A step moves the unused codes of SimCodebook, and leaves those of Codebook",
          "[nn][vq]") {
  const auto displacement = [](const std::shared_ptr<CodebookBase>& codebook) {
    VectorQuantizer quantizer({.codebook = codebook});
    SGD sgd(quantizer.parameters(), {.lr = 0.5});
    const Tensor before = codebook->table().clone();
    Tape tape;
    tape.backward(quantizer(fixture_vectors()).loss);
    sgd.step();
    return row(codebook->table() - before, 1);
  };
  check_digits(displacement(fixture_sim(false)), {.106944444444, .033333333333, .081944444444});
  CHECK(same_bits(displacement(fixture_codebook()), zeros({1, 3})));
}

TEST_CASE("decode applies the map", "[nn][vq]") {
  VectorQuantizer quantizer({.codebook = fixture_sim(false)});
  const Quantized result = quantizer(fixture_vectors());
  CHECK(same_bits(quantizer.decode(result.codes), result.quantized));
}

TEST_CASE("The points of SimCodebook are saved, and trained only if asked", "[nn][vq]") {
  const auto names = [](const StateDict& state) {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : state) all.push_back(name);
    std::ranges::sort(all);
    return all;
  };
  using Names = std::vector<std::string>;
  CHECK(names(fixture_sim(false)->named_parameters()) == Names{"weight"});
  CHECK(names(fixture_sim(true)->named_parameters()) == Names{"base", "weight"});
  CHECK(names(fixture_sim(false)->state_dict()) == Names{"base", "weight"});
  CHECK(names(fixture_sim(true, true)->state_dict()) == Names{"base", "bias", "weight"});
}

TEST_CASE("DiagonalCodebook scales coordinates, from 1 on", "[nn][vq]") {
  const auto codebook =
      std::make_shared<DiagonalCodebook>(DiagonalCodebookOptions{.codes = 4, .dim = 3});
  CHECK(same_bits(codebook->table(), codebook->base()));
  fill(codebook->base(), fixture_codes());
  VectorQuantizer quantizer({.codebook = codebook});
  Tape tape;
  tape.backward(quantizer(fixture_vectors()).loss);
  // dC is that of the plain codebook; dw = sum of E dC over codes, and dE = dC, as w = 1.
  const Tensor dc = tensor({real(.022222222222), real(-.044444444444), real(.088888888889), 0, 0, 0,
                            real(-.133333333333), real(-.066666666667), real(-.066666666667),
                            real(.066666666667), real(-.044444444444), real(.066666666667)},
                           {4, 3});
  const Tensor dw = sum(fixture_codes() * dc, 0);
  check_digits(codebook->weight.grad(), std::vector<double>(dw.data(), dw.data() + 3));
  check_digits(codebook->base().grad(), std::vector<double>(dc.data(), dc.data() + 12));
}

TEST_CASE("The gradients of SimCodebook are differences of its loss", "[nn][vq]") {
  if (sizeof(real) == 4) {
    SUCCEED("needs double");
    return;
  }
  const auto codebook = std::make_shared<SimCodebook>(SimCodebookOptions{
      .codes = 6, .dim = 3, .base_dim = 5, .bias = true, .train_base = true, .seed = 2});
  VectorQuantizer quantizer({.codebook = codebook, .commitment_weight = 0});
  const Tensor z = random({20, 3}, 8);
  Tape tape;
  const Quantized result = quantizer(z);
  tape.backward(result.loss);
  const auto loss = [&] {
    return static_cast<double>(mean(square(embedding(codebook->table(), result.codes) - z)).item());
  };
  for (Tensor parameter : codebook->parameters()) {
    for (std::size_t i = 0; i < parameter.size(); ++i) {
      const real at = parameter.data()[i], h = real(6e-6);
      parameter.mutable_data()[i] = at + h;
      const double up = loss();
      parameter.mutable_data()[i] = at - h;
      const double down = loss();
      parameter.mutable_data()[i] = at;
      CHECK_THAT(static_cast<double>(parameter.grad().data()[i]),
                 WithinAbs((up - down) / (2 * h), 1e-9));
    }
  }
}

// ---- where they begin

TEST_CASE("Initial tables have the spread that they are said to have", "[nn][vq]") {
  const auto mean_square = [](CodebookInit init) {
    const Codebook codebook({.codes = 100, .dim = 64, .init = init});
    return static_cast<double>(mean(square(codebook.weight)).item());
  };
  CHECK_THAT(mean_square(CodebookInit::uniform), WithinRel(1e-4 / 3, 0.05));
  CHECK_THAT(mean_square(CodebookInit::normal), WithinRel(1.0 / 64, 0.05));
  const SimCodebook sim({.codes = 500, .dim = 128});
  CHECK_THAT(static_cast<double>(mean(sum(square(sim.base()), -1)).item()), WithinRel(1.0, 0.05));
  CHECK_THAT(static_cast<double>(mean(sum(square(sim.table()), -1)).item()),
             WithinRel(1.0 / 3, 0.05));
  const SimCodebook plain({.codes = 5, .dim = 4, .init = SimInit::identity});
  CHECK(same_bits(plain.table(), plain.base()));
  const Codebook one({.codes = 4, .dim = 3, .seed = 1}), two({.codes = 4, .dim = 3, .seed = 2});
  CHECK_FALSE(same_bits(one.weight, two.weight));
}

TEST_CASE("The first training batch sets the codes to k-means, once", "[nn][vq]") {
  const auto codebook = std::make_shared<Codebook>(CodebookOptions{.codes = 4, .dim = 2});
  VectorQuantizer quantizer({.codebook = codebook});
  const Tensor z = random({64, 2}, 9);
  quantizer.eval();
  quantizer(z);
  CHECK(codebook->initialised.item() == 0);
  quantizer.train();
  quantizer(z);
  CHECK(codebook->initialised.item() == 2);
  const Tensor means = codebook->weight.clone();
  quantizer(z + real(3));
  CHECK(same_bits(codebook->weight, means));
  // and the codes of that very step are those of the new table
  const auto other = std::make_shared<Codebook>(CodebookOptions{.codes = 4, .dim = 2});
  VectorQuantizer again({.codebook = other});
  const Tensor q = again(z).quantized;
  CHECK(same_bits(q, again.decode(again.encode(z))));
  CHECK(same_bits(other->weight, means));
}

TEST_CASE("State goes through a dictionary whole: a loaded codebook is not begun anew",
          "[nn][vq]") {
  const auto run = [](auto make, double weight) {
    const auto a = make(), b = make();
    VectorQuantizer first({.codebook = a, .codebook_weight = weight}),
        second({.codebook = b, .codebook_weight = weight});
    const Tensor z = random({50, 3}, 10);
    first(z);
    first(z * real(2));
    second.load_state_dict(first.state_dict());
    for (VectorQuantizer* quantizer : {&first, &second}) quantizer->reseed(5);
    for (const Tensor& next : {random({50, 3}, 11), random({50, 3}, 12)}) {
      const Quantized one = first(next), two = second(next);
      CHECK(same_bits(one.quantized, two.quantized));
      CHECK(same_bits(one.loss, two.loss));
    }
    const StateDict left = first.state_dict(), right = second.state_dict();
    for (std::size_t i = 0; i < left.size(); ++i) {
      INFO(left[i].first);
      CHECK(same_bits(left[i].second, right[i].second));
    }
  };
  run(
      [] {
        return std::make_shared<Codebook>(
            CodebookOptions{.codes = 8, .dim = 3, .restart_below = 0.9});
      },
      1);
  run(
      [] {
        return std::make_shared<EmaCodebook>(
            EmaCodebookOptions{.codes = 8, .dim = 3, .restart_below = 0.9});
      },
      0);
  run(
      [] {
        return std::make_shared<SimCodebook>(
            SimCodebookOptions{.codes = 8, .dim = 3, .bias = true, .seed = Rng(1).next()});
      },
      1);
  run(
      [] {
        return std::make_shared<DiagonalCodebook>(
            DiagonalCodebookOptions{.codes = 8, .dim = 3, .train_base = false});
      },
      1);
}

TEST_CASE("Codebooks name bad settings", "[nn][vq]") {
  const auto error = [](const auto& make) { return error_of<std::invalid_argument>(make); };
  CHECK(error([] { Codebook({.codes = 1, .dim = 3}); }) ==
        "Codebook: needs at least 2 codes, got 1");
  CHECK(error([] { Codebook({.codes = 4, .dim = 0}); }) ==
        "Codebook: needs dim of at least 1, got 0");
  CHECK(error([] { Codebook({.codes = 4, .dim = 3, .restart_below = -1}); }) ==
        "Codebook: restart_below must not be negative, got -1");
  CHECK(error([] { EmaCodebook({.codes = 1, .dim = 3}); }) ==
        "EmaCodebook: needs at least 2 codes, got 1");
  CHECK(error([] { EmaCodebook({.codes = 4, .dim = 3, .decay = 1}); }) ==
        "EmaCodebook: decay must be in [0, 1), got 1");
  CHECK(error([] { EmaCodebook({.codes = 4, .dim = 3, .eps = -1}); }) ==
        "EmaCodebook: eps must not be negative, got -1");
  CHECK(error([] { SimCodebook({.codes = 1, .dim = 3}); }) ==
        "SimCodebook: needs at least 2 codes, got 1");
  CHECK(error([] {
          SimCodebook({.codes = 4, .dim = 3, .base_dim = 2, .init = SimInit::identity});
        }) == "SimCodebook: the identity needs base_dim = dim, got 2 and 3");
  CHECK(error([] { DiagonalCodebook({.codes = 1, .dim = 3}); }) ==
        "DiagonalCodebook: needs at least 2 codes, got 1");
  CHECK(error([] {
          FixedCodebook{ones({1, 3})};
        }) == "FixedCodebook: needs a table (K, d) with K >= 2, got shape (1, 3)");
}

// ---- k-means

TEST_CASE("A Lloyd iteration moves means to the averages of their vectors", "[nn][vq]") {
  const Clusters step = lloyd(fixture_vectors(), fixture_codes());
  check_digits(step.means, {.9, .2, .1, 0, 1, -.5, -.4, .8, .3, .2, -.3, .7});
  check_digits(step.counts, {1, 0, 1, 1});
}

TEST_CASE("k-means finds clusters, the same for the same stream", "[nn][vq]") {
  const std::size_t K = 5, N = 200;
  Tensor z = random({N, 2}, 13) * real(0.01);
  for (std::size_t n = 0; n < N; ++n) z.mutable_data()[2 * n] += static_cast<real>(n % K);
  const Clusters one = kmeans(z, {.clusters = K}, Rng(3)), two = kmeans(z, {.clusters = K}, Rng(3));
  CHECK(same_bits(one.means, two.means));
  CHECK(same_bits(one.counts, two.counts));
  CHECK(sum(one.counts).item() == N);
  const Tensor q = embedding(one.means, nearest(z, one.means));
  CHECK(mean(square(z - q)).item() < mean(square(z)).item());
}

TEST_CASE("k-means never gets worse from one iteration to the next", "[nn][vq]") {
  const Tensor z = random({300, 4}, 14);
  double before = std::numeric_limits<double>::infinity();
  for (std::size_t iterations = 1; iterations < 8; ++iterations) {
    const Tensor means = kmeans(z, {.clusters = 20, .iterations = iterations}, Rng(1)).means;
    const double now =
        static_cast<double>(mean(square(z - embedding(means, nearest(z, means)))).item());
    CHECK(now <= before * (1 + 1e-6));
    before = now;
  }
}

TEST_CASE("k-means by direction has means of length 1", "[nn][vq]") {
  const Tensor z = normalize(random({100, 3}, 15));
  const Clusters clusters = kmeans(z, {.clusters = 7, .assignment = Assignment::cosine}, Rng(2));
  check_digits(sum(square(clusters.means), -1), std::vector<double>(7, 1.0));
}

TEST_CASE("k-means of fewer vectors than clusters has all of them, and neighbours", "[nn][vq]") {
  const Tensor z = fixture_vectors();
  const Clusters clusters = kmeans(z, {.clusters = 8}, Rng(4));
  CHECK(same_bits(embedding(clusters.means, nearest(z, clusters.means)), z.detach()));
  const Indices near = nearest(clusters.means, z);
  const Tensor off = clusters.means - embedding(z, near);
  CHECK(max(abs(off)).item() < real(0.01));
  CHECK(sum(clusters.counts).item() == 3);
}

TEST_CASE("k-means names what it cannot do", "[nn][vq]") {
  CHECK(error_of([] {
          kmeans(ones({4, 2}), {.clusters = 0}, Rng(1));
        }) == "kmeans: needs at least 1 cluster");
  CHECK(error_of([] {
          kmeans(zeros({0, 2}), {.clusters = 2}, Rng(1));
        }) == "kmeans: no vectors in an input of shape (0, 2)");
  CHECK(error_of([] {
          lloyd(ones({4, 2}), ones({2, 2}), 0);
        }) == "lloyd: needs at least 1 iteration");
}
