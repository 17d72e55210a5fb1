// ResidualVq: stages, their losses, and that the task's gradient comes through once.
#include <xgrad/nn/init.hpp>

#include "error_of.hpp"
#include "vq_fixture.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

ResidualVqOptions two_stages(std::shared_ptr<const Estimator> estimator = nullptr) {
  return {.codebooks = {fixture_codebook(), fixture_codebook(0.25)},
          .estimator = std::move(estimator)};
}

}  // namespace

TEST_CASE("Each stage quantizes what the ones before it left", "[nn][vq]") {
  ResidualVq quantizer(two_stages());
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  check_codes(result.codes, {0, 1, 2, 0, 3, 2});  // stages 1 and 2 of each vector
  check_digits(result.quantized, {1, .25, .375, -.75, .5, .125, .25, -.375, 1});
  check_digits(result.stages[0].parts.codebook, {.107777777778});
  check_digits(result.stages[1].parts.codebook, {.047708333333});
  check_digits(result.parts.commitment, {(.107777777778 + .047708333333) / 2});
  check_digits(result.loss, {1.25 * (.107777777778 + .047708333333) / 2});
}

TEST_CASE("The task's gradient comes through once, however many the stages", "[nn][vq]") {
  ResidualVq quantizer(two_stages());
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  const std::vector<Tensor> parts = quantizer.parameters();
  tape.backward(task_loss(result.quantized));
  CHECK(same_bits(z.grad(), fixture_gradient()));
  for (const Tensor& p : parts) CHECK_FALSE(p.grad().defined());
}

TEST_CASE("The estimator of ResidualVq sees the sum of the stages", "[nn][vq]") {
  ResidualVq quantizer(two_stages(std::make_shared<Rotation>()));
  Tensor z = fixture_vectors();
  Tape tape;
  tape.backward(task_loss(quantizer(z).quantized));
  check_digits(z.grad(),
               {1.243786073633, -2.370556524174, .422038385654, .413107895774, .217647298131,
                -.154582267317, -.615357344978, .226522522703, 2.817540322581});
}

TEST_CASE("The commitment losses of all stages pull at z", "[nn][vq]") {
  ResidualVqOptions options = two_stages();
  ResidualVq quantizer(options);
  Tensor z = fixture_vectors();
  Tape tape;
  const Quantized result = quantizer(z);
  tape.backward(result.loss * real(2));  // the sum of two stages
  check_digits(z.grad(), {-.011111111111, .008333333333, -.0375, .052777777778, .033333333333,
                          .026388888889, -.019444444444, .015277777778, -.033333333333});
  // A stage's codes learn from that stage's rest alone.
  const Tensor rest = (z - embedding(fixture_codes(), Indices{0, 2, 3})).detach();
  const Tensor pull = (embedding(fixture_codes() * real(.25), Indices{1, 0, 2}) - rest) *
                      static_cast<real>(2.0 / 9);
  const Tensor dc = options.codebooks[1]->parameters()[0].grad();
  check_digits(embedding(dc, Indices{1, 0, 2}),
               std::vector<double>(pull.data(), pull.data() + pull.size()));
}

TEST_CASE("decode adds up the stages as operator() did, and skips those that are -1", "[nn][vq]") {
  ResidualVq quantizer(two_stages());
  const Tensor z = fixture_vectors();
  const Quantized result = quantizer(z);
  CHECK(same_bits(quantizer.decode(result.codes), result.quantized));
  CHECK((quantizer.encode(z) == result.codes));
  quantizer.eval();
  Tape tape;
  const Quantized evaluation = quantizer(z);
  CHECK(tape.size() == 0);
  CHECK(same_bits(evaluation.quantized, result.quantized));
  CHECK(evaluation.loss.item() == 0);
  Indices codes = result.codes;
  codes(0, 1) = -1;
  codes(1, 0) = codes(1, 1) = -1;
  check_digits(quantizer.decode(codes), {1, 0, .5, 0, 0, 0, .25, -.375, 1});
}

TEST_CASE("Stages that a step leaves out have code -1", "[nn][vq]") {
  ResidualVqOptions options;
  for (std::uint64_t l = 0; l < 4; ++l)
    options.codebooks.push_back(std::make_shared<Codebook>(
        CodebookOptions{.codes = 8, .dim = 3, .init = CodebookInit::normal, .seed = l}));
  options.min_stages = 2;
  ResidualVq quantizer(options);
  Rng rng(1);
  const Tensor z = randn({10, 3}, rng);
  std::vector<int> seen(5);
  for (int step = 0; step < 60; ++step) {
    const Quantized result = quantizer(z);
    const std::size_t active = result.stages.size();
    ++seen[active];
    for (std::size_t n = 0; n < 10; ++n)
      for (std::size_t l = 0; l < 4; ++l) CHECK((result.codes(n, l) == -1) == (l >= active));
    CHECK(same_bits(quantizer.decode(result.codes), result.quantized));
    CHECK(result.usage.counts.size() == 32);
  }
  CHECK(seen[0] + seen[1] == 0);
  for (const int times : {seen[2], seen[3], seen[4]}) CHECK(times >= 8);  // 20 expected
  quantizer.eval();
  CHECK(quantizer(z).stages.size() == 4);
  quantizer.train();
  const auto draws = [&] {
    quantizer.reseed(3);
    std::vector<std::size_t> all;
    for (int i = 0; i < 8; ++i) all.push_back(quantizer(z).stages.size());
    return all;
  };
  CHECK(draws() == draws());
}

TEST_CASE("Codebooks of later stages begin with what is left for them", "[nn][vq]") {
  ResidualVqOptions options;
  options.codebook_weight = 0;
  for (int l = 0; l < 3; ++l)
    options.codebooks.push_back(
        std::make_shared<EmaCodebook>(EmaCodebookOptions{.codes = 16, .dim = 4}));
  ResidualVq quantizer(options);
  Rng rng(2);
  const Tensor z = randn({200, 4}, rng);
  const Quantized result = quantizer(z);
  for (std::size_t l = 1; l < 3; ++l)
    CHECK(result.stages[l].parts.commitment.item() < result.stages[l - 1].parts.commitment.item());
  CHECK(result.usage.counts.size() == 48);
  CHECK(result.usage.qerr < result.stages[0].usage.qerr);
}

TEST_CASE("With a code that is 0 in every table no stage makes it worse", "[nn][vq]") {
  ResidualVqOptions options;
  for (std::uint64_t l = 0; l < 4; ++l) {
    options.codebooks.push_back(std::make_shared<Codebook>(
        CodebookOptions{.codes = 8, .dim = 3, .init = CodebookInit::normal, .seed = l}));
    Tensor weight = options.codebooks.back()->parameters()[0];
    std::fill_n(weight.mutable_data(), 3, real(0));
  }
  ResidualVq quantizer(options);
  Rng rng(3);
  const Tensor z = randn({50, 3}, rng);
  const Quantized result = quantizer(z);
  Tensor rest = z, before = norm(z, 2, -1);
  for (const Quantized& stage : result.stages) {
    rest = rest - stage.quantized.detach();
    const Tensor now = norm(rest, 2, -1);
    CHECK(sum(now > before * real(1.00001)).item() == 0);
    before = now;
  }
}

TEST_CASE("ResidualVq's state has the stages' codebooks", "[nn][vq]") {
  ResidualVq first(two_stages()), second(two_stages());
  CHECK(first.state_dict().front().first == "stages.0.codebook.weight");
  Tensor weight = first.stages[1].options.codebook->parameters()[0];
  init::constant(weight, 2);
  second.load_state_dict(first.state_dict());
  CHECK(same_bits(second.decode(Indices{{0, 1}}), first.decode(Indices{{0, 1}})));
}

TEST_CASE("ResidualVq says what is wrong", "[nn][vq]") {
  const auto refusal = [](ResidualVqOptions options) {
    return error_of<std::invalid_argument>([&] { ResidualVq quantizer(options); });
  };
  const auto shared = fixture_codebook();
  CHECK(refusal({}) == "ResidualVq: needs at least 1 codebook");
  CHECK(refusal({.codebooks = {nullptr}}) == "ResidualVq: codebook 0 is empty");
  CHECK(refusal({.codebooks = {shared, shared}}) ==
        "ResidualVq: stages 0 and 1 have the same codebook, which would move twice a step: make "
        "one for each");
  CHECK(refusal({.codebooks = {shared, std::make_shared<Codebook>(
                                           CodebookOptions{.codes = 4, .dim = 2})}}) ==
        "ResidualVq: codebooks 0 and 1 have vectors of width 3 and 2");
  CHECK(refusal({.codebooks = {shared}, .min_stages = 2}) ==
        "ResidualVq: min_stages is 2 of 1 stages");
  ResidualVq quantizer(two_stages());
  CHECK(error_of<ShapeError>([&] {
          quantizer(zeros({2, 4}));
        }) == "ResidualVq: last axis of input (2, 4) is 4, expected 3");
  CHECK(error_of<ShapeError>([&] {
          quantizer.decode(Indices{0, 1, 2});
        }) == "ResidualVq: needs codes (..., 2), got shape (3,)");
  CHECK(error_of<std::invalid_argument>([&] {
          quantizer.decode(Indices{{0, 4}});
        }) == "VectorQuantizer: code 4 at position 0 is outside [0, 4)");
}
