// Gradient accumulation: a batch too large for memory is read in parts; nothing else changes.
//
// Gradients of leaves add up until zero_grad(). The loss of a batch is the mean over its rows; so
// the mean over 32 rows is the mean of the means over 4 times 8, and its gradient is the sum of the
// gradients of each mean / 4. A linear regression shows it. Expected with float and seed 1: the
// gradients differ by 5e-7, which is rounding, and both runs end with a loss of 0.0073, near the
// variance of the noise, 0.01.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/optim/adam.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

using namespace xgrad;

constexpr std::int64_t batch = 32, micro_batch = 8, features = 4, steps = 200;
constexpr std::uint64_t seed = 1;

struct Regression {  // y = x w + b
  Tensor w = zeros({features, 1}).requires_grad_();
  Tensor b = zeros({1}).requires_grad_();

  Tensor loss(const Tensor& x, const Tensor& y) const { return mean(square(matmul(x, w) + b - y)); }
};

/// Fills the gradients from `x` and `y`, `rows` rows at a time. Returns the loss of the batch.
real accumulate(const Regression& model, const Tensor& x, const Tensor& y, std::int64_t rows) {
  const real parts = static_cast<real>(batch / rows);
  real total = 0;
  for (std::int64_t row = 0; row < batch; row += rows) {
    Tape tape;  // holds one part only: this is what saves the memory
    const Tensor loss =
        model.loss(slice(x, 0, row, row + rows), slice(y, 0, row, row + rows)) / parts;
    tape.backward(loss);  // adds to what the parts before have left
    total += loss.item();
  }
  return total;
}

real largest_difference(const Tensor& a, const Tensor& b) {
  real largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(a.data()[i] - b.data()[i]));
  return largest;
}

int main() {
  Rng rng(seed);
  const Tensor true_w = randn({features, 1}, rng);
  Regression whole, parts;
  AdamW whole_optimizer({whole.w, whole.b}, {.lr = 0.05, .weight_decay = 0});
  AdamW parts_optimizer({parts.w, parts.b}, {.lr = 0.05, .weight_decay = 0});

  real whole_loss = 0, parts_loss = 0, difference = 0;
  for (std::int64_t step = 0; step < steps; ++step) {
    const Tensor x = randn({batch, features}, rng);                                       // (B, D)
    const Tensor y = matmul(x, true_w) + real(0.5) + real(0.1) * randn({batch, 1}, rng);  // (B, 1)
    whole_loss = accumulate(whole, x, y, batch);
    parts_loss = accumulate(parts, x, y, micro_batch);
    if (step == 0) {  // later the two differ by what rounding made of them
      difference = std::max(largest_difference(whole.w.grad(), parts.w.grad()),
                            largest_difference(whole.b.grad(), parts.b.grad()));
    }
    whole_optimizer.step();
    parts_optimizer.step();
    whole_optimizer.zero_grad();
    parts_optimizer.zero_grad();
  }

  const real error = largest_difference(parts.w, true_w);
  std::cout << "largest difference of gradients, 1 x " << batch << " against "
            << batch / micro_batch << " x " << micro_batch << " rows: " << difference << '\n'
            << "loss after " << steps << " steps: " << whole_loss << " and " << parts_loss << '\n'
            << "largest error of a weight: " << error << '\n';
  if (difference < 1e-5 && error < 0.1) return EXIT_SUCCESS;
  std::cout << "that is more than rounding explains\n";
  return EXIT_FAILURE;
}
