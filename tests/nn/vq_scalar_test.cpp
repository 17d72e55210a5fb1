// Fsq and Lfq: codes without a codebook, and Lfq's entropies.
#include <numbers>
#include <numeric>

#include "error_of.hpp"
#include "vq_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

Tensor fsq_input() {
  return tensor({0, 0, 0, 1, -1, 2, -2, real(.3), real(-.4)}, {3, 3}).requires_grad_();
}

Indices all_codes(std::int64_t K) { return xt::arange<std::int64_t>(K); }

Tensor lfq_input() {
  return tensor({real(.02), real(-.01), real(-.005), real(.03), real(.01), real(.01)}, {3, 2})
      .requires_grad_();
}

}  // namespace

TEST_CASE("Fsq rounds to levels, and its gradient is that of the bound", "[nn][vq]") {
  Fsq quantizer({.levels = {4, 5, 3}});
  Tensor x = fsq_input();
  Tape tape;
  const Quantized result = quantizer(x);
  check_digits(result.quantized, {0, 0, 0, .5, -1, 1, -1, .5, 0});
  check_codes(result.codes, {30, 43, 32});
  CHECK(result.loss.item() == 0);
  CHECK(quantizer.codes() == 60);
  tape.backward(sum(result.quantized));
  check_digits(x.grad(), {.66749991675, 1.001, 1.001, .178380883568, .420394315956, .070721475678,
                          .102295472858, .916052098788, .856494424867});
}

TEST_CASE("Every code of Fsq decodes to a vector that has it", "[nn][vq]") {
  for (const FsqBound bound : {FsqBound::tanh, FsqBound::sigmoid}) {
    const Fsq quantizer({.levels = {4, 5, 3}, .bound = bound});
    const Indices codes = all_codes(60);
    const Tensor q = quantizer.decode(codes);
    CHECK(max(q).item() <= 1);
    CHECK(min(q).item() == -1);
    if (bound == FsqBound::tanh) {
      check_digits(slice(q, 0, 0, 1), {-1, -1, -1});
      check_digits(slice(q, 0, 59, 60), {.5, 1, 1});
    }
    // A vector within the bound of a level: the middle of what is rounded to it.
    Tensor x = Tensor::empty(q.shape());
    const std::vector<std::int64_t> levels{4, 5, 3};
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto L = static_cast<double>(levels[i % 3]);
      const double half = (L - 1) * 1.001 / 2, offset = levels[i % 3] % 2 ? 0 : .5;
      const double y = static_cast<double>(q.data()[i]);
      const double inside = std::clamp(
          bound == FsqBound::tanh ? (y * std::floor(L / 2) + offset) / half : y, -.999, .999);
      x.mutable_data()[i] =
          static_cast<real>(bound == FsqBound::tanh ? std::atanh(inside) - std::atanh(offset / half)
                                                    : 2 * std::atanh(inside));
    }
    CHECK((quantizer.encode(x) == codes));
  }
}

TEST_CASE("Fsq with sigmoids is symmetric for even levels", "[nn][vq]") {
  Fsq quantizer({.levels = {4, 5, 3}, .bound = FsqBound::sigmoid});
  Tensor x = fsq_input();
  Tape tape;
  const Quantized result = quantizer(x);
  check_codes(result.codes, {30, 46, 28});
  tape.backward(sum(result.quantized));
  const Tensor p = sigmoid(x.detach()), expected = real(2) * p * (real(1) - p);
  check_digits(x.grad(), std::vector<double>(expected.data(), expected.data() + 9));
}

TEST_CASE("Fsq's codes stay in range wherever the input is", "[nn][vq]") {
  const double inf = std::numeric_limits<double>::infinity();
  for (const FsqBound bound : {FsqBound::tanh, FsqBound::sigmoid})
    for (std::int64_t L = 3; L <= 1000; ++L) {
      const Fsq quantizer({.levels = {L}, .bound = bound});
      const Tensor x = tensor({real(-inf), real(-30), 30, real(inf)}, {4, 1});
      check_codes(quantizer.encode(x), {0, 0, L - 1, L - 1});
    }
}

TEST_CASE("Fsq with many codes numbers them without loss", "[nn][vq]") {
  const Fsq quantizer({.levels = std::vector<std::int64_t>(6, 1000)});  // 10^18
  CHECK(quantizer.codes() == 1'000'000'000'000'000'000u);
  const Indices codes = {0, 999'999'999'999'999'999, 123'456'789'012'345'678};
  const Tensor q = quantizer.decode(codes);
  check_digits(slice(q, 0, 0, 1), std::vector<double>(6, -1.0));
  check_digits(slice(q, 0, 1, 2), std::vector<double>(6, 0.998));
  check_digits(slice(q, 0, 2, 3), {.356, -.31, -.976, .578, -.088, -.754});
}

TEST_CASE("Fsq and Lfq have the same values in training and evaluation, and decode to them",
          "[nn][vq]") {
  const Tensor z = random({5, 7, 4}, 1).requires_grad_();
  const auto check = [&](Quantizer& quantizer) {
    Tape tape;
    const Quantized training = quantizer(z);
    CHECK(training.quantized.requires_grad());
    CHECK((training.codes.shape() == Indices::shape_type{5, 7}));
    quantizer.eval();
    const std::size_t recorded = tape.size();
    const Quantized evaluation = quantizer(z);
    CHECK(tape.size() == recorded);
    CHECK(same_bits(evaluation.quantized, training.quantized));
    CHECK((evaluation.codes == training.codes));
    CHECK((quantizer.encode(z) == training.codes));
    CHECK(same_bits(quantizer.decode(training.codes), training.quantized));
    CHECK(evaluation.loss.item() == 0);
    CHECK(std::accumulate(evaluation.usage.counts.begin(), evaluation.usage.counts.end(), 0) == 35);
  };
  Fsq fsq({.levels = {8, 5, 5, 4}}), smooth({.levels = {8, 5, 5, 4}, .bound = FsqBound::sigmoid});
  Lfq lfq({.dim = 4, .scale = 0.5});
  check(fsq);
  check(smooth);
  check(lfq);
  CHECK(fsq.parameters().empty());
}

TEST_CASE("Lfq has signs for codes, the first coordinate the highest bit", "[nn][vq]") {
  const Lfq quantizer({.dim = 3, .scale = 2});
  const Tensor x = tensor({1, -1, 3, 0, 0, 0, real(-.1), real(.1), -7}, {3, 3});
  check_codes(quantizer.encode(x), {5, 0, 2});
  check_digits(quantizer.decode(Indices{5, 0, 2}), {2, -2, 2, -2, -2, -2, -2, 2, -2});
  for (const std::int64_t code : all_codes(8))
    CHECK(quantizer.encode(quantizer.decode(Indices{code}))(0) == code);
}

TEST_CASE("Lfq has the entropies and gradients of its loss", "[nn][vq]") {
  Lfq quantizer({.dim = 2, .entropy_weight = 1, .commitment_weight = 0});
  Tensor x = lfq_input();
  Tape tape;
  const Quantized result = quantizer(x);
  check_codes(result.codes, {2, 1, 3});
  check_digits(sum(binary_entropy(x.detach() * real(400)), -1),
               {.093112975183, .365413729376, .180189535532});
  check_digits(result.parts.entropy_batch, {1.096996530240});
  check_digits(result.loss, {-.884091116876});
  tape.backward(result.loss);
  check_digits(x.grad(), {-.035883455074, 9.655009282043, 30.851590281804, -.004612222286,
                          -8.638558575991, -8.889181403021});
}

TEST_CASE("Lfq's task gradient passes unchanged, and commitment pulls to the signs", "[nn][vq]") {
  Lfq quantizer({.dim = 2, .entropy_weight = 0, .commitment_weight = 0.5});
  Tensor x = lfq_input();
  const Tensor g = random({3, 2}, 2);
  Tape tape;
  const Quantized result = quantizer(x);
  const Tensor task = sum(result.quantized * g);
  CHECK(same_bits(tape.gradient(task, x, {.retain = true}), g));
  const Tensor pull = tape.gradient(result.loss, x),
               expected = (x - result.quantized).detach() / real(6);
  check_digits(pull, std::vector<double>(expected.data(), expected.data() + 6));
}

TEST_CASE("binary_entropy keeps its digits where the probability has none left", "[nn][vq]") {
  Tensor a = tensor({0, 30, -30, 80, 400}).requires_grad_();
  Tape tape;
  const Tensor h = binary_entropy(a);
  tape.backward(sum(h));
  const auto expected = [](double x) {
    return std::log1p(std::exp(-x)) + x * std::exp(-x) / (1 + std::exp(-x));
  };
  CHECK_THAT(static_cast<double>(h.data()[0]), WithinRel(std::numbers::ln2, 1e-6));
  CHECK_THAT(static_cast<double>(h.data()[1]), WithinRel(expected(30), 1e-5));
  CHECK(h.data()[1] == h.data()[2]);
  CHECK_THAT(static_cast<double>(h.data()[3]), WithinRel(expected(80), 1e-5));
  CHECK(h.data()[4] < real(1e-37));
  CHECK(a.grad().data()[0] == 0);
  CHECK_THAT(static_cast<double>(a.grad().data()[1]), WithinRel(-30 * std::exp(-30.0), 1e-5));
  CHECK_THAT(static_cast<double>(a.grad().data()[3]), WithinRel(-80 * std::exp(-80.0), 1e-5));
  CHECK(std::isfinite(a.grad().data()[4]));
}

TEST_CASE("mean_code_entropy is that of its twin", "[nn][vq]") {
  for (const std::size_t d : {1, 2, 5, 12}) {
    Tensor a = (random({2, 9, d}, d) * real(2)).detach().requires_grad_();
    Tape tape;
    const Tensor fused = mean_code_entropy(a), twin = composite::mean_code_entropy(a);
    const Tensor da = tape.gradient(fused, a, {.retain = true}), da_twin = tape.gradient(twin, a);
    check_digits(fused, {static_cast<double>(twin.item())}, 1e-12);
    check_digits(da, std::vector<double>(da_twin.data(), da_twin.data() + da_twin.size()), 1e-12);
  }
}

TEST_CASE("The batch's entropy is at most that of the bits, and at most d ln 2", "[nn][vq]") {
  const Tensor a = lfq_input().detach() * real(400);
  const double exact = static_cast<double>(mean_code_entropy(a).item());
  const Tensor p = mean(sigmoid(a), 0), bits = binary_entropy(log(p / (real(1) - p)));
  CHECK(exact < static_cast<double>(sum(bits).item()));
  CHECK(sum(bits).item() <= real(2 * std::numbers::ln2));
}

TEST_CASE("Beyond 12 bits Lfq takes the bits for independent", "[nn][vq]") {
  Lfq quantizer({.dim = 20, .entropy_weight = 1, .sharpness = 1});
  Tensor x = random({50, 20}, 4).requires_grad_();
  Tape tape;
  const Quantized result = quantizer(x);
  const Tensor p = mean(sigmoid(x.detach() * real(4)), 0);
  const Tensor expected = -sum(p * log(p) + (real(1) - p) * log(real(1) - p));
  check_digits(result.parts.entropy_batch, {static_cast<double>(expected.item())});
  tape.backward(result.loss);
  CHECK(std::isfinite(sum(x.grad()).item()));
  CHECK(result.usage.counts.size() == std::size_t{1} << 20);
}

TEST_CASE("Lfq's loss has gradients where every probability is 0 or 1", "[nn][vq]") {
  for (const std::size_t d : {3, 14}) {
    Lfq quantizer({.dim = d});
    Tensor x = (random({20, d}, 5) * real(100)).detach().requires_grad_();
    Tape tape;
    const Quantized result = quantizer(x);
    tape.backward(result.loss);
    CHECK(std::isfinite(result.loss.item()));
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(std::isfinite(x.grad().data()[i]));
  }
}

TEST_CASE("Fsq and Lfq say what is wrong", "[nn][vq]") {
  const auto fsq = [](std::vector<std::int64_t> levels) {
    return error_of<std::invalid_argument>([&] { Fsq quantizer({.levels = levels}); });
  };
  CHECK(fsq({}) == "Fsq: needs levels, such as {8, 5, 5, 5}");
  CHECK(fsq({5, 2}) == "Fsq: levels must be in [3, 1000], got 2 for coordinate 1; for 2 take Lfq");
  CHECK(fsq({5, -4}) == "Fsq: levels must be in [3, 1000], got -4 for coordinate 1");
  CHECK(fsq({1001}) == "Fsq: levels must be in [3, 1000], got 1001 for coordinate 0");
  CHECK(fsq(std::vector<std::int64_t>(7, 1000)) ==
        "Fsq: levels (1000, 1000, 1000, 1000, 1000, 1000, 1000) make more codes than 64 bits can "
        "number");
  Fsq quantizer({.levels = {4, 5, 3}});
  CHECK(error_of<ShapeError>([&] {
          quantizer(zeros({2, 4}));
        }) == "Fsq: last axis of input (2, 4) is 4, expected 3");
  Tensor bad = zeros({2, 3});
  bad.mutable_data()[4] = std::nan("");
  CHECK(error_of<std::invalid_argument>([&] { quantizer(bad); }) ==
        "Fsq: number 4 of the input is NaN");
  CHECK(error_of<std::invalid_argument>([&] { quantizer.encode(bad); }) ==
        "Fsq: number 4 of the input is NaN");
  CHECK(error_of<std::invalid_argument>([&] { quantizer.decode(Indices{60}); }) ==
        "Fsq: code 60 at position 0 is outside [0, 60)");

  const auto lfq = [](LfqOptions options) {
    return error_of<std::invalid_argument>([&] { Lfq quantizer(options); });
  };
  CHECK(lfq({.dim = 0}) == "Lfq: dim must be in [1, 62], got 0");
  CHECK(lfq({.dim = 63}) == "Lfq: dim must be in [1, 62], got 63");
  CHECK(lfq({.dim = 2, .scale = 0}) == "Lfq: scale must be positive, got 0");
  CHECK(lfq({.dim = 2, .sharpness = -1}) == "Lfq: sharpness must be positive, got -1");
  CHECK(lfq({.dim = 2, .diversity = -1}) ==
        "Lfq: weights must not be negative, got entropy_weight 0.1, diversity -1 and "
        "commitment_weight 0.25");
  Lfq signs({.dim = 3});
  CHECK(error_of<std::invalid_argument>([&] { signs(bad); }) ==
        "Lfq: number 4 of the input is NaN");
  CHECK(error_of<std::invalid_argument>([&] { signs.decode(Indices{8}); }) ==
        "Lfq: code 8 at position 0 is outside [0, 8)");
  CHECK(error_of<ShapeError>([] {
          mean_code_entropy(zeros({2, 13}));
        }) ==
        "mean_code_entropy: needs logits (..., d) with d in [1, 12] and at least one row, got "
        "shape (2, 13)");
}
