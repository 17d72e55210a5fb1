// Recurrent cells; see recurrent.hpp.
#include <xgrad/nn/recurrent.hpp>

#include <cmath>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

Tensor uniform_init(const Ints& shape, std::size_t hidden, Rng rng) {
  const auto bound = static_cast<real>(1 / std::sqrt(static_cast<double>(hidden)));
  return init::uniform(zeros(shape), -bound, bound, rng);
}

/// Pre-activations (..., G hidden), one part per gate.
std::vector<Tensor> by_gate(const Tensor& all, std::size_t hidden) {
  return split(all, static_cast<std::int64_t>(hidden), -1);
}

}  // namespace

RecurrentCell::RecurrentCell(Module* owner, std::string name, const char* type, std::size_t gates,
                             RecurrentCellOptions o)
    : Module(owner, std::move(name)),
      options((require(o.in > 0 && o.hidden > 0, type, "(", o.in, " -> ", o.hidden,
                       "): sizes must be positive"),
               o)),
      weight_ih(this, "weight_ih",
                uniform_init({gates * o.hidden, o.in}, o.hidden, init_rng("weight_ih"))),
      weight_hh(this, "weight_hh",
                uniform_init({gates * o.hidden, o.hidden}, o.hidden, init_rng("weight_hh"))),
      bias_ih(this, "bias_ih",
              o.bias ? uniform_init({gates * o.hidden}, o.hidden, init_rng("bias_ih")) : Tensor()),
      bias_hh(this, "bias_hh",
              o.bias ? uniform_init({gates * o.hidden}, o.hidden, init_rng("bias_hh")) : Tensor()),
      type_(type) {}

Tensor RecurrentCell::state_for(const Tensor& x, const Tensor& state) const {
  require<ShapeError>(x.ndim() >= 1 && x.size(-1) == options.in, type_, "(", describe(),
                      "): needs an input (..., ", options.in, "), got shape ", x.shape());
  Shape expected = x.shape();
  expected.back() = options.hidden;
  if (!state.defined()) return zeros(expected);
  require<ShapeError>(state.shape() == expected, type_, "(", describe(), "): state has shape ",
                      state.shape(), ", input ", x.shape(), " needs ", expected);
  return state;
}

std::string RecurrentCell::describe() const {
  return concat_text(options.in, " -> ", options.hidden);
}

Tensor GruCell::operator()(const Tensor& x, const Tensor& h) const {
  const Scope here = enter();
  const Tensor last = state_for(x, h);
  const auto in = by_gate(linear(x, weight_ih, bias_ih), options.hidden),
             past = by_gate(linear(last, weight_hh, bias_hh), options.hidden);
  const Tensor reset = sigmoid(in[0] + past[0]), update = sigmoid(in[1] + past[1]),
               candidate = tanh(in[2] + reset * past[2]);
  return lerp(candidate, last, update);
}

LstmState LstmCell::operator()(const Tensor& x, const LstmState& state) const {
  const Scope here = enter();
  const Tensor h = state_for(x, state.h), memory = state_for(x, state.c);
  const auto gate =
      by_gate(linear(x, weight_ih, bias_ih) + linear(h, weight_hh, bias_hh), options.hidden);
  const Tensor c = sigmoid(gate[1]) * memory + sigmoid(gate[0]) * tanh(gate[2]);
  return {sigmoid(gate[3]) * tanh(c), c};
}

}  // namespace xgrad::inline XGRAD_PRECISION
