// What a row costs the smooth top-k operators, by its length and k, forward and with backward.
// Operators take turns with softmax of the same scores, each the best of its turns, on one thread
// and in seconds of processor time, so that other programs disturb it little. One line of JSON per
// operator and size, in seconds per row.
#include <ctime>

#include "support/workload.hpp"
using namespace bench;

namespace {

struct Contender {
  const char* name;
  std::function<Tensor(const Tensor&, std::size_t)> op;
  std::size_t largest = SIZE_MAX;  // of n k that it is measured with
  double forward = INFINITY, both = INFINITY;
};

template <class Op>
Contender contender(const char* name, Op op, std::size_t largest = SIZE_MAX) {
  return {name, [op](const Tensor& x, std::size_t k) { return op(x, k, 1); }, largest};
}

/// Keeps in `best` the least seconds that `call` took.
void take_turn(double& best, const std::function<void()>& call) {
  const std::clock_t start = std::clock();
  call();
  best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
}

}  // namespace

int main(int argc, char** argv) {
  const Settings settings(argc, argv);
  set_num_threads(1);
  constexpr std::size_t moderate = 2'000'000, numbers = 100'000;
  const std::pair<std::size_t, std::size_t> sizes[] = {
      {64, 6}, {1000, 10}, {1000, 100}, {10'000, 100}, {100'000, 10}, {100'000, 1000}};
  for (const auto& [n, k] : sizes) {
    const std::size_t rows = numbers / n;
    Rng rng(1);
    Tensor x = randn({rows, n}, rng);
    const Tensor g = randn({rows, n}, rng);
    x.requires_grad_();
    Contender contenders[] = {
        {"softmax", [](const Tensor& x, std::size_t) { return softmax(x); }},
        {"hard_topk", [](const Tensor& x, std::size_t k) { return hard_topk(x, k); }},
        contender("SigmoidTopK", SigmoidTopK()),
        contender("MinExpTopK", MinExpTopK()),
        contender("LaplaceTopK", LaplaceTopK()),
        contender("SparseTopK<1>", SparseTopK<1>()),
        contender("SparseTopK<3>", SparseTopK<3>()),
        contender("GradTopK", GradTopK()),
        contender("GradTopK, whole", GradTopK({.leaf = n}), moderate),
        contender("GradTopK, halved", GradTopK({.leaf = 32})),
        contender("SoftKMax", SoftKMax(), moderate),
        contender("SequentialSoftmax", SequentialSoftmax(), moderate)};
    for (long turn = 0; turn < settings["turns"]; ++turn)
      for (Contender& each : contenders) {
        if (n * k > each.largest) continue;
        const Tensor scores = x.detach();
        take_turn(each.forward, [&] { each.op(scores, k); });
        take_turn(each.both, [&] {
          Tape tape;
          const Tensor y = each.op(x, k);
          if (y.requires_grad()) tape.backward(y, g);
        });
        x.zero_grad();
      }
    for (const Contender& each : contenders)
      if (n * k <= each.largest)
        std::printf(
            "{\"operator\": \"%s\", \"n\": %zu, \"k\": %zu, \"forward\": %.4g, "
            "\"both\": %.4g}\n",
            each.name, n, k, each.forward / static_cast<double>(rows),
            each.both / static_cast<double>(rows));
  }
}
