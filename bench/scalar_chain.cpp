// 2000 operations on single numbers, one after the other, and backward through them: what an
// operation costs besides its arithmetic.
#include "support/workload.hpp"
using namespace bench;

int main(int argc, char** argv) {
  const Session session = start(argc, argv);
  const long length = session["length"];
  Tensor x = scalar(0.5f), w = scalar(0.9f);
  x.requires_grad_(), w.requires_grad_();
  session.serve(
      [&] {
        x.zero_grad(), w.zero_grad();
        Tape tape;
        Tensor y = x;
        for (long i = 0; i < length / 4; ++i) y = tanh(y * w + x) - w;  // 4 operations
        tape.backward(y);
      },
      [&] { return static_cast<double>(x.grad().item() + w.grad().item()); });
}
