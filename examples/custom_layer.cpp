// How to add an operation and a layer of your own: each in one place, and nothing else to change.
// An operation is a function that calls record(); a layer is a struct that derives from Module.
//
// The operation is a Gaussian bump of trainable width, the layer a row of such bumps (a radial
// basis network: Broomhead & Lowe 1988), and the task to fit a wave. Expected with the settings
// below, in a tenth of a second: errors of derivatives below 3e-5 (float), a loss below 2e-5.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <xgrad/core/record.hpp>  // record(), which xgrad.hpp leaves out: only operations need it
#include <xgrad/xgrad.hpp>

using namespace xgrad;

constexpr std::int64_t points = 256, steps = 1000;
constexpr std::size_t bumps = 24;
constexpr double lr = 0.02;
constexpr std::uint64_t seed = 1;

// ---- the operation

/// y = exp(-(x/w)^2 / 2). x and width w broadcast; (..., D), (D,) -> (..., D).
Tensor bump(const Tensor& x, const Tensor& width) {
  // The value is an xtensor expression, evaluated in one pass. Shapes that do not broadcast are an
  // error that record() words.
  return record("bump", {x, width}, xt::exp(real(-0.5) * xt::square(x.array() / width.array())),
                [](auto& r) {
                  // The rule: for each input, dL/d(input) from r.grad() = dL/dy. Here
                  //   dy/dx = -y x / w^2        dy/dw = y x^2 / w^3
                  // to() undoes the broadcasting of w by itself, and skips what nobody asked for.
                  r.to(0, -r.grad() * r.out() * r.in(0) / square(r.in(1)));
                  r.to(1, r.grad() * r.out() * square(r.in(0)) / (square(r.in(1)) * r.in(1)));
                });
}
// The rule is a generic lambda because it is read in two ways. In a training step r.in(0) and the
// others are arrays, and each line is one lazy expression. Where the gradient itself is to be
// differentiated they are tensors, and the same line records further operations.

/// The same without a template: custom() takes a value that has been computed already, and a rule
/// on tensors that returns one gradient per input. Less lazy (each product is a tensor of its own),
/// and all that xgrad.hpp offers may be used in it.
Tensor bump_on_tensors(const Tensor& x, const Tensor& width) {
  const auto value = [&] {
    const Pause pause;  // the rule below is the derivative; nothing else is to be written down
    return exp(real(-0.5) * square(x / width));
  };
  return custom("bump_on_tensors", {x, width}, value(),
                [](const Tensor& grad, const std::vector<Tensor>& in, const Tensor& y) {
                  const Tensor z = in[0] / in[1];
                  return std::vector{-grad * y * z / in[1], grad * y * square(z) / in[1]};
                });
}

// Two relatives need no rule at all. stop_gradient(x) is x as a constant. straight_through(value,
// x) has one tensor's value and the other's gradient: straight_through(round(x), x) rounds and
// trains.

// ---- the layer

struct BumpsOptions {
  std::size_t in, out;
};

/// bump(a x + b, w), each of the `out` features with its own place and width.
/// (..., in) -> (..., out).
struct Bumps : Module {
  Bumps(Module* owner, std::string name, BumpsOptions o)
      : Module(owner, std::move(name)),
        place(this, "place", {.in = o.in, .out = o.out}),
        width(this, "width", full({o.out}, real(0.3))) {}

  Tensor operator()(const Tensor& x) const {
    const Scope here = enter();  // errors under check_finite can then say "in Net.bumps"
    return bump(place(x), width);
  }

  // Members register themselves: training, saving, loading and printing know them from here on.
  Linear place;
  Parameter width;  // (out,)
};

/// It is used like any other.
struct Net : Module {
  using Module::Module;
  Bumps bumps_layer{this, "bumps", {.in = 1, .out = bumps}};
  Linear mix{this, "mix", {.in = bumps, .out = 1}};
  Tensor operator()(const Tensor& x) const { return mix(bumps_layer(x)); }
};

// ---- is the rule right?

real worst = 0;  // largest error of a derivative, relative to max(1, |derivative|)

void compare(const char* what, real rule, real reference) {
  const real error = std::abs(rule - reference) / std::max(real(1), std::abs(reference));
  worst = std::max(worst, error);
  std::printf("  %-18s %10.6f   %10.6f   %.0e\n", what, static_cast<double>(rule),
              static_cast<double>(reference), static_cast<double>(error));
}

/// Central differences: (f(t + h) - f(t - h)) / 2h. With float, h = 0.01 balances the error of the
/// formula, h^2, against that of rounding, 6e-8 / h.
template <class F>
real slope(const F& f, real t) {
  const real h = sizeof(real) == 4 ? real(1e-2) : real(1e-5);
  return (f(t + h) - f(t - h)) / (2 * h);
}

void check_gradients() {
  const auto value = [](real x, real w) { return bump(scalar(x), scalar(w)).item(); };
  const real x0 = real(0.7), w0 = real(1.3);
  const Tensor x = scalar(x0).requires_grad_(), w = scalar(w0).requires_grad_();

  Tape tape;
  const Tensor y = bump(x, w);
  // `record` writes the backward pass down too, so that its result can be differentiated again.
  const auto first = tape.gradient(y, {x, w}, {.record = true});
  const Tensor second = tape.gradient(first[0], x, {.retain = true});

  std::printf("derivative of bump    by the rule    reference   error\n");
  compare("d/dx", first[0].item(), slope([&](real t) { return value(t, w0); }, x0));
  compare("d/dw", first[1].item(), slope([&](real t) { return value(x0, t); }, w0));
  const auto again = tape.gradient(bump_on_tensors(x, w), {x, w}, {.retain = true});
  compare("d/dx by custom()", again[0].item(), first[0].item());
  compare("d/dw by custom()", again[1].item(), first[1].item());
  const auto by_x = [&](const Tensor& of) { return tape.gradient(of, x, {.retain = true}).item(); };
  compare("stop_gradient(x) x", by_x(stop_gradient(x) * x), x0);
  compare("round, straight on", by_x(straight_through(round(x), x)), 1);
  // By hand: (x^2 / w^4 - 1 / w^2) y.
  compare("d2/dx2", second.item(), (x0 * x0 / (w0 * w0) - 1) / (w0 * w0) * value(x0, w0));
}

// ---- training

int main() {
  check_gradients();

  const Tensor x =
      reshape(arange(0, points), {points, 1}) * real(6.0 / points) - real(3);  // (N, 1)
  Tensor y = Tensor::empty(x.shape());  // a wave and its overtone
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double t = x.data()[i];
    y.mutable_data()[i] = static_cast<real>(std::sin(3 * t) + 0.5 * std::cos(6 * t));
  }

  Net net(seed);
  std::printf("\n%s\n", net.to_string().c_str());
  Adam optimizer(net.parameters(), {.lr = lr});
  const Schedule factor = schedule::cosine({.steps = steps});
  real loss_value = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    Tape tape;
    const Tensor loss = mean(square(net(x) - y));
    tape.backward(loss);
    optimizer.set_lr_factor(factor(step));
    optimizer.step();
    optimizer.zero_grad();
    loss_value = loss.item();
    if (step % 250 == 0 || step + 1 == steps)
      std::printf("step %4d  loss %.6f\n", static_cast<int>(step), static_cast<double>(loss_value));
  }
  if (worst < real(1e-3) && loss_value < real(1e-2)) return EXIT_SUCCESS;
  std::printf("that is worse than it should be\n");
  return EXIT_FAILURE;
}
