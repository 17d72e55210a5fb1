// VectorQuantizer: its losses and gradients, its modes, what it refuses, and parts of one's own.
// Codebooks, residual and scalar quantizers have their own files; estimators are tested in theirs.
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/recompute.hpp>
#include <xgrad/optim/sgd.hpp>

#include "error_of.hpp"
#include "vq_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

std::shared_ptr<Codebook> random_codebook(std::size_t K, std::size_t d) {
  return std::make_shared<Codebook>(
      CodebookOptions{.codes = K, .dim = d, .init = CodebookInit::normal, .seed = 3});
}

/// Trains the codebook by the task, as DiVeQ does.
struct Both : Estimator {
  Tensor operator()(const Tensor& z, const Tensor& q) const override {
    return straight_through(q, z + q - stop_gradient(z));
  }
  bool trains_codebook() const override { return true; }
};

}  // namespace

TEST_CASE("VectorQuantizer has the loss and gradients of VQ-VAE", "[nn][vq]") {
  const auto codebook = fixture_codebook();
  VectorQuantizer quantizer({.codebook = codebook});
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  tape.backward(task_loss(result.quantized) + result.loss);
  check_codes(result.codes, {0, 2, 3});
  check_digits(result.parts.codebook, {.107777777778});
  check_digits(result.parts.commitment, {.107777777778});
  check_digits(result.loss, {1.25 * .107777777778});
  check_digits(task_loss(result.quantized) + result.loss, {2.909722222222});
  check_digits(z.grad(),
               {.994444444444, -1.988888888889, .477777777778, .333333333333, .416666666667,
                -.083333333333, -.516666666667, .261111111111, 1.983333333333});
  check_digits(codebook->weight.grad(),
               {.022222222222, -.044444444444, .088888888889, 0, 0, 0, -.133333333333,
                -.066666666667, -.066666666667, .066666666667, -.044444444444, .066666666667});
}

TEST_CASE("The sum over features is d times the mean", "[nn][vq]") {
  VectorQuantizer quantizer(
      {.codebook = fixture_codebook(), .reduction = VqReduction::sum_d_mean_n});
  const Quantized result = quantizer(fixture_vectors());
  check_digits(result.parts.codebook, {.323333333333});
  check_digits(result.loss, {1.25 * .323333333333});
}

TEST_CASE("Each weight is that of its own loss", "[nn][vq]") {
  const auto gradients = [](double codebook_weight, double commitment_weight) {
    const auto codebook = fixture_codebook();
    VectorQuantizer quantizer({.codebook = codebook,
                               .codebook_weight = codebook_weight,
                               .commitment_weight = commitment_weight});
    Tensor z = fixture_vectors();
    Tape tape;
    tape.backward(quantizer(z).loss);
    return std::pair(z.grad(), codebook->weight.grad());
  };
  const auto [dz, dc] = gradients(3, 0.5);
  const auto [dz2, dc2] = gradients(6, 0.5);
  const auto [dz3, dc3] = gradients(3, 1);
  CHECK(same_bits(dz2, dz));
  CHECK(same_bits(dc3, dc));
  CHECK(same_bits(dc2, dc * real(2)));
  CHECK(same_bits(dz3, dz * real(2)));
}

TEST_CASE("Without commitment loss the straight-through gradient is the task's, to the bit",
          "[nn][vq]") {
  VectorQuantizer quantizer({.codebook = fixture_codebook(), .commitment_weight = 0});
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  tape.backward(task_loss(result.quantized) + result.loss);
  CHECK(same_bits(z.grad(), fixture_gradient()));
}

TEST_CASE("By direction: codes have length 1 and the gradient has no radial part", "[nn][vq]") {
  const auto codebook = fixture_codebook();
  VectorQuantizer quantizer({.codebook = codebook, .assignment = Assignment::cosine});
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  const Tensor task = task_loss(result.quantized);
  const Tensor dz = tape.gradient(task, z, {.retain = true});
  check_codes(result.codes, {0, 2, 3});
  check_digits(sum(square(result.quantized), -1), {1, 1, 1});
  check_digits(cosine_similarity(slice(z, 0, 0, 1), fixture_codes()),
               {.916261362124, .144672846651, -.771588515473, .396202907847});
  check_digits(dz, {.457662351387, -2.294581104213, .470201045945, .39898796607, .262021947867,
                    -.166741239552, -1.136855975566, 1.070283328348, .783508848025});
  check_digits(sum(z * dz, -1), {0, 0, 0});
  // The losses live on the sphere as well: neither pulls z or the codes in or out.
  const std::vector<Tensor> pulls = tape.gradient(result.loss, {z, codebook->weight});
  check_digits(sum(z * pulls[0], -1), {0, 0, 0});
  check_digits(sum(fixture_codes() * pulls[1], -1), {0, 0, 0, 0});
}

TEST_CASE("The losses' gradients are their differences, with codes and constants held",
          "[nn][vq]") {
  if (sizeof(real) == 4) {
    SUCCEED("needs double");
    return;
  }
  const auto codebook = random_codebook(5, 4);
  VectorQuantizer quantizer(
      {.codebook = codebook, .codebook_weight = 0.7, .commitment_weight = 0.3});
  Tensor z = random({2, 3, 4}, 1).requires_grad_();
  Tape tape;
  const Quantized result = quantizer(z);
  tape.backward(result.loss);
  const Tensor q = quantizer.decode(result.codes).detach(), z0 = z.clone(),
               table0 = codebook->weight.clone();
  const auto check = [](Tensor x, const Tensor& gradient, const auto& loss) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const real at = x.data()[i], h = real(6e-6);
      x.mutable_data()[i] = at + h;
      const double up = loss();
      x.mutable_data()[i] = at - h;
      const double down = loss();
      x.mutable_data()[i] = at;
      CHECK_THAT(static_cast<double>(gradient.data()[i]), WithinAbs((up - down) / (2 * h), 1e-9));
    }
  };
  check(z0, z.grad(), [&] { return 0.3 * double(mean(square(z0 - q)).item()); });
  check(table0, codebook->weight.grad(),
        [&] { return 0.7 * double(mean(square(embedding(table0, result.codes) - z)).item()); });
}

TEST_CASE("Training and evaluation give the same vectors and codes; evaluation nothing else",
          "[nn][vq]") {
  for (const Assignment& assignment : {Assignment::euclidean, Assignment::cosine}) {
    const auto codebook = random_codebook(7, 5);
    VectorQuantizer quantizer({.codebook = codebook, .assignment = assignment});
    const Tensor z = random({4, 6, 5}, 2).requires_grad_();
    Tape tape;
    const Quantized training = quantizer(z);
    CHECK(training.quantized.requires_grad());
    const StateDict before = quantizer.state_dict();
    const Tensor counts = codebook->counts.clone();
    quantizer.eval();
    const std::size_t recorded = tape.size();
    const Quantized evaluation = quantizer(z);
    CHECK(tape.size() == recorded);
    CHECK(same_bits(evaluation.quantized, training.quantized));
    CHECK((evaluation.codes == training.codes));
    CHECK((quantizer.encode(z) == training.codes));
    CHECK(evaluation.loss.item() == 0);
    CHECK_FALSE(evaluation.parts.codebook.defined());
    CHECK(same_bits(codebook->counts, counts));
    CHECK(evaluation.usage.counts == training.usage.counts);
    CHECK(same_bits(quantizer.decode(training.codes), training.quantized));
  }
}

TEST_CASE("Pixels of a permuted image get the codes that each would get alone", "[nn][vq]") {
  VectorQuantizer quantizer({.codebook = random_codebook(6, 3)});
  quantizer.eval();
  const std::size_t B = 2, C = 3, H = 4, W = 5;
  const Tensor image = random({B, C, H, W}, 4);
  const Quantized result = quantizer(permute(image, {0, 2, 3, 1}));
  CHECK((result.codes.shape() == Indices::shape_type{B, H, W}));
  CHECK(result.quantized.shape() == Shape{B, H, W, C});
  for (std::size_t b = 0; b < B; ++b)
    for (std::size_t y = 0; y < H; ++y)
      for (std::size_t x = 0; x < W; ++x) {
        Tensor pixel = zeros({C});
        for (std::size_t c = 0; c < C; ++c)
          pixel.mutable_data()[c] = image.data()[((b * C + c) * H + y) * W + x];
        CHECK(quantizer.encode(pixel)() == result.codes(b, y, x));
      }
}

TEST_CASE("The estimator decides what the task gives to z, and whether to the codebook",
          "[nn][vq]") {
  const auto codebook = fixture_codebook();
  VectorQuantizer quantizer({.codebook = codebook,
                             .estimator = std::make_shared<Both>(),
                             .codebook_weight = 0,
                             .commitment_weight = 0});
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  CHECK(result.loss.item() == 0);
  tape.backward(task_loss(result.quantized) + result.loss);
  CHECK(same_bits(z.grad(), fixture_gradient()));
  check_digits(codebook->weight.grad(), {1, -2, .5, 0, 0, 0, .3, .4, -.1, -.5, .25, 2});
}

TEST_CASE("A codebook of one's own is trained, moved, saved and found like any other", "[nn][vq]") {
  struct Circle : CodebookBase {  // codes at equal angles on a circle of trained radius
    explicit Circle(std::size_t K) : K(K), radius(this, "radius", full({1}, 2)) {}
    Tensor table() const override {
      const Tensor angle = arange(0, static_cast<real>(K)) *
                           static_cast<real>(6.283185307179586 / static_cast<double>(K));
      return stack({cos(angle), sin(angle)}, 1) * radius;
    }
    std::size_t codes() const override { return K; }
    std::size_t dim() const override { return 2; }
    void initialise(const Tensor&, const Assignment&) override { ++begun; }
    void update(const Tensor& z, const Indices& codes) override { seen += codes.size(), last = z; }
    std::size_t K, begun = 0, seen = 0;
    Tensor last;
    Parameter radius;
  };
  const auto circle = std::make_shared<Circle>(8);
  VectorQuantizer quantizer({.codebook = circle});
  SGD optimizer(quantizer.parameters(), {.lr = 0.5});
  const Tensor z = normalize(random({100, 2}, 5));  // on the circle of radius 1
  for (int step = 0; step < 50; ++step) {
    Tape tape;
    tape.backward(quantizer(z).loss);
    optimizer.step();
    optimizer.zero_grad();
  }
  CHECK_THAT(circle->radius.item(), WithinAbs(0.97, 0.02));
  CHECK(circle->begun == 50);
  CHECK(circle->seen == 5000);
  CHECK(quantizer.state_dict().front().first == "codebook.radius");
}

TEST_CASE("Usage measures hits, distances and lengths", "[nn][vq]") {
  const std::vector<std::int64_t> counts{3, 2, 3, 0};
  CHECK_THAT(perplexity(counts), WithinAbs(2.951151785868, 1e-11));
  CHECK(utilization(counts) == 0.75);
  CHECK(perplexity({}) == 0);
  CHECK(utilization({}) == 0);
  CHECK_THAT(perplexity(std::vector<std::int64_t>{5, 5, 5, 5}), WithinAbs(4, 1e-12));

  const Tensor z = tensor({1, 0, 3, 0, 0, 4, -1, 0}, {4, 2}),
               q = tensor({2, 0, 3, 1, 0, -1, 0, 0}, {4, 2});
  Indices codes = {0, 1, 1, 3};
  const Usage usage = measure_usage(z, q, codes, 4);
  CHECK(usage.counts == std::vector<std::int64_t>{1, 2, 0, 1});
  CHECK(usage.utilization == 0.75);
  // z has mean (0.75, 1) and mean square 27/4.
  CHECK_THAT(usage.qerr, WithinAbs((1 + 1 + 25 + 1) / 4.0 / (27 / 4.0 - 0.5625 - 1), 1e-6));
  CHECK_THAT(usage.norm_ratio, WithinAbs((2 + std::sqrt(10.0) + 1 + 0) / (1 + 3 + 4 + 1), 1e-6));
  CHECK(usage.frac_obtuse == 0.25);
  CHECK(usage.frac_degenerate == 0.5);  // the opposite one, and the one whose q is 0

  // Without room for a count per code the rest is the same.
  const Usage large = measure_usage(z, q, codes, Usage::max_counted * 2);
  CHECK(large.counts.empty());
  CHECK_THAT(large.perplexity, WithinAbs(usage.perplexity, 1e-12));
  CHECK_THAT(large.utilization,
             WithinRel(3.0 / static_cast<double>(Usage::max_counted * 2), 1e-12));
}

TEST_CASE("Quantizing, its gradients and what moves do not depend on the number of threads",
          "[nn][vq]") {
  const int before = num_threads();
  std::vector<std::vector<Tensor>> results;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::vector<Tensor>& all = results.emplace_back();
    Tensor z = random({3000, 16}, 6).requires_grad_();
    const auto run = [&](const std::shared_ptr<CodebookBase>& codebook, double weight) {
      VectorQuantizer quantizer({.codebook = codebook, .codebook_weight = weight});
      Tape tape;
      const Quantized result = quantizer(z);
      tape.backward(sum(square(result.quantized)) + result.loss);
      all.push_back(result.quantized);
      all.push_back(z.grad());
      all.push_back(scalar(static_cast<real>(result.usage.qerr)));
      for (const auto& [name, tensor] : quantizer.state_dict()) all.push_back(tensor);
      for (const Tensor& p : quantizer.parameters()) all.push_back(p.grad());
      z.zero_grad();
    };
    run(std::make_shared<Codebook>(CodebookOptions{.codes = 64, .dim = 16, .restart_below = 0.5}),
        1);
    run(std::make_shared<EmaCodebook>(
            EmaCodebookOptions{.codes = 64, .dim = 16, .restart_below = 0.5}),
        0);
    run(std::make_shared<SimCodebook>(SimCodebookOptions{.codes = 64, .dim = 16}), 1);
    Tensor x = random({2000, 8}, 7).requires_grad_();
    Lfq lfq({.dim = 8});
    Tape tape;
    const Quantized result = lfq(x);
    tape.backward(result.loss);
    all.push_back(result.loss);
    all.push_back(x.grad());
  }
  set_num_threads(before);
  for (const auto& other : results)
    for (std::size_t i = 0; i < other.size(); ++i) CHECK(same_bits(other[i], results[0][i]));
}

TEST_CASE("VectorQuantizer says what is wrong with its input", "[nn][vq]") {
  VectorQuantizer quantizer({.codebook = fixture_codebook()});
  CHECK(error_of<ShapeError>([&] {
          quantizer(zeros({2, 4}));
        }) == "VectorQuantizer: last axis of input (2, 4) is 4, expected 3");
  CHECK(error_of<ShapeError>([&] {
          quantizer(zeros({2, 3, 8, 8}));
        }) ==
        "VectorQuantizer: last axis of input (2, 3, 8, 8) is 8, expected 3; channels come last "
        "here: permute(z, {0, 2, 3, 1})");
  CHECK(error_of<ShapeError>([&] { quantizer(scalar(1)); }) ==
        "VectorQuantizer: input is 0-d, expected last axis 3");
  CHECK(error_of<ShapeError>([&] {
          quantizer(zeros({0, 3}));
        }) == "VectorQuantizer: no vectors in an input of shape (0, 3)");
  CHECK(error_of<ShapeError>([&] {
          quantizer.encode(zeros({2, 4}));
        }) == "VectorQuantizer: last axis of input (2, 4) is 4, expected 3");
  CHECK(error_of<std::invalid_argument>([&] {
          quantizer.decode(Indices{0, 4});
        }) == "VectorQuantizer: code 4 at position 1 is outside [0, 4)");
  CHECK(error_of<std::invalid_argument>([&] { quantizer.decode(Indices{-1}); }) ==
        "VectorQuantizer: code -1 at position 0 is outside [0, 4)");
  Tensor bad = fixture_vectors();
  bad.mutable_data()[4] = std::nan("");
  for (const bool training : {true, false}) {
    quantizer.train(training);
    CHECK(error_of<std::invalid_argument>([&] { quantizer(bad); }) ==
          "nearest: NaN or Inf in row 1 of z");
  }
}

TEST_CASE("Combinations that contradict each other are refused, with the way out", "[nn][vq]") {
  const auto refusal = [](VectorQuantizerOptions options) {
    return error_of<std::invalid_argument>([&] { VectorQuantizer quantizer(options); });
  };
  const auto plain = random_codebook(4, 3);
  const auto ema = std::make_shared<EmaCodebook>(EmaCodebookOptions{.codes = 4, .dim = 3});
  const auto both = std::make_shared<Both>();
  CHECK(refusal({.codebook = nullptr}) == "VectorQuantizer: needs a codebook");
  CHECK(refusal({.codebook = plain, .commitment_weight = -1}) ==
        "VectorQuantizer: weights of losses must not be negative, got codebook_weight 1 and "
        "commitment_weight -1");
  CHECK(refusal({.codebook = ema}) ==
        "VectorQuantizer: codebook_weight is 1, but no gradient reaches this codebook (averages "
        "move it, or nothing): set codebook_weight to 0, or take a Codebook");
  CHECK(
      refusal({.codebook = ema, .estimator = both, .codebook_weight = 0, .commitment_weight = 0}) ==
      "VectorQuantizer: this estimator trains the codebook by the task's gradient, which does "
      "not reach this codebook (averages move it, or nothing): take a Codebook or another "
      "estimator");
  CHECK(refusal({.codebook = plain, .estimator = both, .codebook_weight = 0}) ==
        "VectorQuantizer: this estimator trains the codebook by the task's gradient and needs no "
        "losses, got codebook_weight 0 and commitment_weight 0.25: set both to 0, or forced to "
        "true");
  CHECK(refusal({.codebook = plain, .codebook_weight = 0}) ==
        "VectorQuantizer: codebook_weight is 0, so nothing would move the codebook: set it to more "
        "than 0, or take an EmaCodebook, a FixedCodebook or an estimator that trains codebooks");
  CHECK(refusal({.codebook = std::make_shared<FixedCodebook>(ones({4, 3}))}) ==
        refusal({.codebook = ema}));
  CHECK(refusal({.codebook = plain, .estimator = both, .forced = true}) == "no error");
  CHECK(refusal({.codebook = ema, .codebook_weight = 0}) == "no error");
}

TEST_CASE("A quantizer whose codebook stands still may be computed again in backward", "[nn][vq]") {
  Tensor z = fixture_vectors();
  const auto gradient = [&](bool again) {
    const auto codebook = fixture_codebook();
    VectorQuantizer quantizer({.codebook = codebook});
    const auto loss = [&](const std::vector<Tensor>& in) {
      const Quantized result = quantizer(in[0]);
      return task_loss(result.quantized) + result.loss;
    };
    Tape tape;
    tape.backward(again ? checkpoint(loss, {z}) : loss({z}));
    return std::vector<Tensor>{std::exchange(z, fixture_vectors()).grad(), codebook->weight.grad(),
                               codebook->counts};
  };
  const std::vector<Tensor> once = gradient(false), twice = gradient(true);
  for (std::size_t i = 0; i < once.size(); ++i) CHECK(same_bits(once[i], twice[i]));
}

TEST_CASE("One that moves by itself may not", "[nn][vq]") {
  VectorQuantizer quantizer({.codebook = std::make_shared<EmaCodebook>(EmaCodebookOptions{
                                 .codes = 4, .dim = 3, .init = CodebookInit::normal}),
                             .codebook_weight = 0});
  Tensor z = fixture_vectors();
  Tape tape;
  const Tensor loss = checkpoint(
      [&](const std::vector<Tensor>& in) { return sum(quantizer(in[0]).quantized); }, {z});
  CHECK(error_of<std::logic_error>([&] { tape.backward(loss); }) ==
        "checkpoint: a codebook that moves by averages or restarts has moved since the step that "
        "is computed again; quantize outside of it");
}
