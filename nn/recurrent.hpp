// Recurrent cells: one step in time each, with PyTorch's formulas, gate order and key names.
// There is no layer around them: the loop over time is the program's.
//
//     LstmCell cell({.in = 3, .hidden = 8});
//     LstmState state;                                    // zeros
//     for (const Tensor& step : split(x, 1, 1))           // x (B, T, 3), step (B, 1, 3)
//       state = cell(squeeze(step, 1), state);            // state.h (B, 8)
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct RecurrentCellOptions {
  std::size_t in, hidden;
  bool bias = true;
};

/// What the cells below have in common: weight_ih (G hidden, in), weight_hh (G hidden, hidden),
/// bias_ih and bias_hh (G hidden,) for G gates, all of them uniform in ±1/sqrt(hidden) at first.
struct RecurrentCell : Module {
  RecurrentCell(Module* owner, std::string name, const char* type, std::size_t gates,
                RecurrentCellOptions options);

  const RecurrentCellOptions options;
  Parameter weight_ih, weight_hh, bias_ih, bias_hh;

 protected:
  /// The state, zeros if undefined. Throws ShapeError if it or x does not fit.
  Tensor state_for(const Tensor& x, const Tensor& state) const;
  std::string describe() const override;

 private:
  const char* type_;
};

/// Gated recurrent unit: x (..., in), h (..., hidden) -> (..., hidden); without h it starts from
/// zeros. With W the rows of weight_ih, U those of weight_hh, in the order r, z, n,
///
///     r = sigmoid(W_r x + b_r + U_r h + c_r)          reset
///     z = sigmoid(W_z x + b_z + U_z h + c_z)          update
///     n = tanh(W_n x + b_n + r (U_n h + c_n))         candidate
///     h' = (1 - z) n + z h
///
/// Cho et al. 2014 (1406.1078), who apply r before U_n; this is PyTorch's and cuDNN's form.
struct GruCell : RecurrentCell {
  explicit GruCell(RecurrentCellOptions options) : GruCell(nullptr, "", options) {}
  GruCell(Module* owner, std::string name, RecurrentCellOptions options)
      : RecurrentCell(owner, std::move(name), "GruCell", 3, options) {}
  Tensor operator()(const Tensor& x, const Tensor& h = {}) const;
};

struct LstmState {
  Tensor h, c;  ///< what it says and what it remembers, each (..., hidden); undefined: zeros
};

/// Long short-term memory: x (..., in) and a state -> the next state. With pre-activations as
/// above, in the order i, f, g, o,
///
///     c' = sigmoid(f) c + sigmoid(i) tanh(g)          forget, and take in
///     h' = sigmoid(o) tanh(c')
///
/// Hochreiter & Schmidhuber 1997; with the forget gate of Gers, Schmidhuber & Cummins 2000.
struct LstmCell : RecurrentCell {
  explicit LstmCell(RecurrentCellOptions options) : LstmCell(nullptr, "", options) {}
  LstmCell(Module* owner, std::string name, RecurrentCellOptions options)
      : RecurrentCell(owner, std::move(name), "LstmCell", 4, options) {}
  LstmState operator()(const Tensor& x, const LstmState& state = {}) const;
};

}  // namespace xgrad::inline XGRAD_PRECISION
