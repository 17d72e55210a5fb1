// A program of somebody who uses xgrad: the derivative of x^2 at 3, and the size of a number.
#include <cstdio>
#include <xgrad/xgrad.hpp>

int main() {
  using namespace xgrad;
  const Tensor x = scalar(3).requires_grad_();
  Tape tape;
  tape.backward(x * x);
  std::printf("%g in %zu bytes\n", static_cast<double>(x.grad().item()), sizeof(real));
}
