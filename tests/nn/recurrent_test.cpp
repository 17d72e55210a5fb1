// Recurrent cells over three steps against PyTorch's GRUCell and LSTMCell.
#include <xgrad/nn/recurrent.hpp>

#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>

#include "catch.hpp"
#include "reference.hpp"

using namespace xgrad;
using namespace xgrad::testing;

namespace {

std::vector<std::string> names(const Module& cell) {
  std::vector<std::string> all;
  for (const auto& [name, parameter] : cell.named_parameters())
    all.push_back(name + ' ' + to_string(parameter.shape()));
  return all;
}

const Tensor x = wave({2, 3, 3}, 0.4);  // (B, T, in)

}  // namespace

TEST_CASE("GruCell has PyTorch's values and gradients over time", "[nn][recurrent]") {
  const GruCell cell({.in = 3, .hidden = 2});
  fill_waves(cell);
  Tape tape;
  Tensor h;
  for (const Tensor& step : split(x, 1, 1)) h = cell(squeeze(step, 1), h);
  check_near(h, {0.0491757095691, -0.0448328103234, 0.0486867582089, -0.0471910244817});
  const auto gradients = tape.gradient(h, {cell.weight_hh, cell.bias_ih}, {}, wave(h.shape(), 0.2));
  check_near(gradients[0],
             {-0.000362260618477, 0.00153531795611, -0.00795504793335, 0.0268411675491,
              0.00593413571848, -0.00807801957444, -0.0264212713998, 0.0672319187534,
              0.00823847365344, -0.0415181080764, 0.0428833477368, -0.157156420036});
  check_near(gradients[1], {-0.00875721747091, -0.0920261424015, -0.0293102895906, -0.0372945899432,
                            0.849523363514, 0.919940647085});
}

TEST_CASE("LstmCell has PyTorch's values and gradients over time", "[nn][recurrent]") {
  const LstmCell cell({.in = 3, .hidden = 2});
  fill_waves(cell);
  Tape tape;
  LstmState state;
  for (const Tensor& step : split(x, 1, 1)) state = cell(squeeze(step, 1), state);
  check_near(state.h, {-0.00606709984434, -0.0950077694822, -0.00642630592497, -0.0949332623091});
  check_near(state.c, {-0.033368142483, -0.414832336958, -0.0350125470184, -0.416120753237});
  const auto gradients =
      tape.gradient(state.h, {cell.weight_hh, cell.bias_ih}, {}, wave(state.h.shape(), 0.2));
  check_near(gradients[0],
             {-0.000706996014271, 0.00366233471492, 0.000180489793802, 0.0010642998346,
              0.000170114106346, -0.00138290404983, -0.00289847018128, 0.0253320911618,
              0.00389467341619, -0.0381571222679, 0.00762385813763, -0.0671142083088,
              -0.000201668383059, 0.00118683433447, -0.00444602009517, 0.0368151730581});
  check_near(gradients[1], {-0.00452349877573, -0.0399460522082, 0.00521311096638, -0.101378903086,
                            0.300572145218, 0.288024660079, -0.00261363958766, -0.150144027538});
}

TEST_CASE("Cells go without a bias, and take single samples and any leading axes",
          "[nn][recurrent]") {
  const GruCell gru({.in = 3, .hidden = 2, .bias = false});
  const LstmCell lstm({.in = 3, .hidden = 2, .bias = false});
  fill_waves(gru);
  fill_waves(lstm);
  const Tensor first = squeeze(slice(x, 1, 0, 1), 1);  // (2, 3)
  const std::vector<double> from_gru{0.0225754122537, -0.211806371561, 0.0282227782163,
                                     -0.213040957271},
      from_lstm{0.0155471021582, -0.173128080947, 0.0193994183115, -0.175540833515};
  check_near(gru(first), from_gru);
  check_near(lstm(first).h, from_lstm);
  check_near(gru(reshape(first, {2, 1, 3}), zeros({2, 1, 2})), from_gru);
  check_near(gru(squeeze(slice(first, 0, 0, 1), 0)), {from_gru[0], from_gru[1]});
  CHECK(lstm(zeros({0, 3})).c.shape() == Shape{0, 2});
}

TEST_CASE("Cells name their parameters as PyTorch does and start within 1/sqrt(hidden)",
          "[nn][recurrent]") {
  const GruCell gru({.in = 3, .hidden = 4});
  const LstmCell lstm({.in = 3, .hidden = 4});
  CHECK(names(gru) == std::vector<std::string>{"weight_ih (12, 3)", "weight_hh (12, 4)",
                                               "bias_ih (12,)", "bias_hh (12,)"});
  CHECK(names(lstm) == std::vector<std::string>{"weight_ih (16, 3)", "weight_hh (16, 4)",
                                                "bias_ih (16,)", "bias_hh (16,)"});
  for (const Tensor& parameter : lstm.parameters()) {
    const real most = max(abs(parameter)).item();
    CHECK(most <= real(0.5));
    CHECK(most > real(0.35));
  }
  CHECK(gru.to_string() == "GruCell(3 -> 4)  108\nparameters: 108\n");
}
