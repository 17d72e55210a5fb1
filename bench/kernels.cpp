// How near the row-wise and elementwise operations come to the speed of memory.
// Not products of matrices, which are bound by arithmetic, and not whole training steps.
//
// Each benchmark states its compulsory traffic: every array read once, every array written once. In
// the same process, turn by turn with the operation and on as many threads, runs the plainest loop
// with that traffic. `floor` is the loop's time over the operation's, each the best of its turns,
// so that other programs disturb it little: 1 is the speed of memory, 0.7 the least we want where
// arithmetic does not rule. `best_us` and `GB/s` are the operation's; `floor/...` the loops alone;
// `Time` is that of the operation's five turns that make an iteration, so that there is a best of
// several however short the run. Names end in the number of threads; `small/` works on arrays that
// stay in the caches.
//
//     kernels --benchmark_filter=layer_norm
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include <xgrad/core/parallel.hpp>
#include <xgrad/xgrad.hpp>

using namespace xgrad;

namespace {

/// Compulsory traffic in arrays of the benchmark's size; the arrays written are among those read,
/// as an optimizer's are, or others. What is smaller (weights, results of sums) does not count.
struct Traffic {
  int reads, writes;
  bool in_place = false;
};

// Beyond the last cache, and within it.
struct Size {
  std::size_t rows, columns;
  std::size_t count() const { return rows * columns; }
};
constexpr Size large{8192, 2048}, small{2048, 384};

template <int reads, int writes, bool in_place>
void plain_loop(std::size_t count, real* const* arrays) {
  parallel_for(count, 32768, [&](std::size_t begin, std::size_t end) {
    real* __restrict x[7];
    for (int k = 0; k < 7; ++k) x[k] = arrays[k];
    if constexpr (writes == 0) {
      // Compilers do not reorder sums: four registers, in which nothing waits for the last sum.
      using Line = real __attribute__((vector_size(64)));
      constexpr std::size_t lanes = sizeof(Line) / sizeof(real);
      Line sums[4] = {};
      for (std::size_t i = begin; i + 4 * lanes <= end; i += 4 * lanes)
        for (std::size_t n = 0; n < 4; ++n) {
          Line next;
          std::memcpy(&next, x[0] + i + n * lanes, sizeof(Line));
          sums[n] += next;
        }
      benchmark::DoNotOptimize(sums);
    } else {
#pragma GCC ivdep
      for (std::size_t i = begin; i < end; ++i) {
        real sum = 0;
        for (int k = 0; k < reads; ++k) sum += x[k][i];
        for (int k = 0; k < writes; ++k) x[in_place ? k : reads + k][i] = sum * real(0.1);
      }
    }
  });
}

void run_floor(Traffic t, std::size_t count) {
  static std::vector<Tensor> arrays = [] {
    std::vector<Tensor> made;
    for (int k = 0; k < 7; ++k) made.push_back(zeros({large.count()}));
    return made;
  }();
  real* pointers[7];
  for (int k = 0; k < 7; ++k) pointers[k] = arrays[k].mutable_data();
  const auto is = [t](int reads, int writes, bool in_place) {
    return t.reads == reads && t.writes == writes && t.in_place == in_place;
  };
  if (is(1, 0, false)) return plain_loop<1, 0, false>(count, pointers);
  if (is(0, 1, false)) return plain_loop<0, 1, false>(count, pointers);
  if (is(1, 1, false)) return plain_loop<1, 1, false>(count, pointers);
  if (is(2, 1, false)) return plain_loop<2, 1, false>(count, pointers);
  if (is(3, 1, false)) return plain_loop<3, 1, false>(count, pointers);
  if (is(3, 2, false)) return plain_loop<3, 2, false>(count, pointers);
  if (is(1, 1, true)) return plain_loop<1, 1, true>(count, pointers);
  if (is(2, 1, true)) return plain_loop<2, 1, true>(count, pointers);
  if (is(3, 2, true)) return plain_loop<3, 2, true>(count, pointers);
  if (is(4, 3, true)) return plain_loop<4, 3, true>(count, pointers);
  throw std::logic_error("no plain loop has this traffic");
}

double seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Times `work`, turn by turn with the plain loop. `prepare` runs before each, untimed.
void measure(benchmark::State& state, Traffic t, std::size_t count, const auto& work) {
  set_num_threads(static_cast<int>(state.range(0)));
  double own = seconds(work), plain = 1e9;
  for (auto _ : state) {
    double sum = 0;
    for (int turn = 0; turn < 5; ++turn) {
      plain = std::min(plain, seconds([&] { run_floor(t, count); }));
      const double once = seconds(work);
      own = std::min(own, once);
      sum += once;
    }
    state.SetIterationTime(sum);
  }
  const auto bytes = static_cast<double>((t.reads + t.writes) * count * sizeof(real));
  state.counters["bytes"] = bytes;
  state.counters["GB/s"] = bytes / own * 1e-9;
  state.counters["best_us"] = own * 1e6;
  state.counters["floor"] = plain / own;
}

void add(const std::string& name, const auto& body) {
  for (const int threads : {1, 2})
    benchmark::RegisterBenchmark(name.c_str(), body)
        ->Arg(threads)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

/// Normal numbers, of which as many are drawn as the largest tensor has: drawing them anew would
/// take longer than measuring.
Tensor random(const Ints& shape) {
  static const Tensor drawn = [] {
    Rng rng(1);
    return randn({static_cast<std::int64_t>(large.count())}, rng);
  }();
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return reshape(slice(drawn, 0, 0, count), shape);
}

using Inputs = std::vector<Tensor>;
using Function = std::function<Tensor(const Inputs&)>;

/// Forward without a tape, and the rule alone: the tape is kept and read again and again.
void add_op(const std::string& name, Traffic forward, Traffic backward, const Function& f,
            const std::function<Inputs(Size)>& make) {
  for (const Size size : {large, small}) {
    const std::string prefix = size.rows == large.rows ? "" : "small/";
    add(prefix + name, [=](benchmark::State& state) {
      const Inputs x = make(size);
      measure(state, forward, size.count(), [&] { benchmark::DoNotOptimize(f(x)); });
    });
    if (backward.reads + backward.writes == 0) continue;
    add(prefix + name + "/backward", [=](benchmark::State& state) {
      Inputs x = make(size);
      for (Tensor& t : x) t.requires_grad_();
      Tape tape;
      const Tensor y = f(x), seed = random(y.shape());
      measure(state, backward, size.count(), [&] {
        for (Tensor& t : x) t.zero_grad();
        tape.backward(y, seed, {.retain = true});
      });
    });
  }
}

Inputs one(Size s) { return {random({s.rows, s.columns})}; }
Inputs two(Size s) { return {random({s.rows, s.columns}), random({s.rows, s.columns})}; }
Inputs with_row(Size s) { return {random({s.rows, s.columns}), random({s.columns})}; }
Inputs with_rows(Size s) {
  return {random({s.rows, s.columns}), random({s.columns}), random({s.columns})};
}
Inputs with_column(Size s) { return {random({s.rows, s.columns}), random({s.rows, 1})}; }

constexpr Traffic none{0, 0}, read{1, 0}, write{0, 1}, copy{1, 1}, triad{2, 1};

Indices ids(std::size_t count, std::size_t below) {
  static Rng rng(2);
  Indices made = Indices::from_shape({count});
  for (auto& id : made) id = static_cast<std::int64_t>(rng.below(below));
  return made;
}

void add_unary() {
  const auto unary = [](const char* name, Tensor (*f)(const Tensor&)) {
    add_op(
        name, copy, triad, [f](const Inputs& x) { return f(x[0]); }, one);
  };
  unary("relu", relu);
  unary("tanh", tanh);
  unary("exp", exp);
  unary("silu", silu);
  unary("sigmoid", sigmoid);
  unary("square", square);
  add_op(
      "gelu_erf", copy, triad, [](const Inputs& x) { return gelu(x[0]); }, one);
  add_op(
      "gelu_tanh", copy, triad, [](const Inputs& x) { return gelu(x[0], Gelu::tanh); }, one);
  add_op(
      "pow3", copy, triad, [](const Inputs& x) { return pow(x[0], 3); }, one);
  add_op(
      "pow2.5", copy, triad, [](const Inputs& x) { return pow(x[0], real(2.5)); }, one);
  add_op(
      "neg", copy, copy, [](const Inputs& x) { return -x[0]; }, one);
  add_op(
      "add_scalar", copy, none, [](const Inputs& x) { return x[0] + 1; }, one);
  add_op(
      "mul_scalar", copy, copy, [](const Inputs& x) { return x[0] * 3; }, one);
}

void add_binary() {
  add_op(
      "add", triad, none, [](const Inputs& x) { return x[0] + x[1]; }, two);
  add_op(
      "sub", triad, copy, [](const Inputs& x) { return x[0] - x[1]; }, two);
  add_op(
      "mul", triad, {3, 2}, [](const Inputs& x) { return x[0] * x[1]; }, two);
  add_op(
      "swiglu", triad, {3, 2}, [](const Inputs& x) { return swiglu(x[0], x[1]); }, two);
  add_op(
      "less", triad, none, [](const Inputs& x) { return x[0] < x[1]; }, two);
  add_op(
      "where", {3, 1}, none, [](const Inputs& x) { return where(x[0], x[0], x[1]); }, two);
  add_op(
      "add_itself", copy, copy, [](const Inputs& x) { return x[0] + x[0]; }, one);
  add_op(
      "add_row", copy, copy, [](const Inputs& x) { return x[0] + x[1]; }, with_row);
  add_op(
      "mul_row", copy, triad, [](const Inputs& x) { return x[0] * x[1]; }, with_row);
  add_op(
      "mul_column", copy, triad, [](const Inputs& x) { return x[0] * x[1]; }, with_column);
}

void add_rows() {
  add_op(
      "layer_norm", copy, triad, [](const Inputs& x) { return layer_norm(x[0], x[1], x[2]); },
      with_rows);
  add_op(
      "rms_norm", copy, triad, [](const Inputs& x) { return rms_norm(x[0], x[1]); }, with_row);
  add_op(
      "softmax", copy, triad, [](const Inputs& x) { return softmax(x[0]); }, one);
  add_op(
      "log_softmax", copy, triad, [](const Inputs& x) { return log_softmax(x[0]); }, one);
  add_op(
      "logsumexp", read, copy, [](const Inputs& x) { return logsumexp(x[0], 1); }, one);
  add_op(
      "sum_last", read, write, [](const Inputs& x) { return sum(x[0], -1); }, one);
  add_op(
      "sum_first", read, write, [](const Inputs& x) { return sum(x[0], 0); }, one);
  add_op(
      "sum_middle", read, write,
      [](const Inputs& x) {
        return sum(reshape(x[0], {16, -1, x[0].size(-1)}), 1);
      },
      one);
  add_op(
      "mean", read, write, [](const Inputs& x) { return mean(x[0]); }, one);
  add_op(
      "var", read, copy, [](const Inputs& x) { return var(x[0], -1); }, one);
  add_op(
      "max", read, copy, [](const Inputs& x) { return max(x[0], -1); }, one);
  add_op(
      "cumsum_last", copy, copy, [](const Inputs& x) { return cumsum(x[0], -1); }, one);
  add_op(
      "cumsum_first", copy, copy, [](const Inputs& x) { return cumsum(x[0], 0); }, one);
  add_op(
      "logcumsumexp", copy, none, [](const Inputs& x) { return logcumsumexp(x[0], -1); }, one);
}

void add_moves() {
  add_op(
      "transpose", copy, copy, [](const Inputs& x) { return transpose(x[0]); }, one);
  add_op(
      "permute_0213", copy, copy,
      [](const Inputs& x) {
        const auto rows = static_cast<std::int64_t>(x[0].size(0) / 8);
        return permute(reshape(x[0], {8, rows, -1, 64}), {0, 2, 1, 3});
      },
      one);
  add_op(
      "concat_last", copy, copy,
      [](const Inputs& x) {
        return concat(
            {reshape(x[0], {-1, x[0].size(1) / 2}), reshape(x[0], {-1, x[0].size(1) / 2})}, 1);
      },
      [](Size s) {
        return Inputs{random({s.rows, s.columns / 2})};
      });
  add_op(  // back come the first third's numbers, and zeros
      "split3", copy, write,
      [](const Inputs& x) {
        return split(x[0], static_cast<std::int64_t>(x[0].size(1) + 2) / 3, -1)[0];
      },
      one);
  add_op(
      "dropout", copy, copy,
      [](const Inputs& x) {
        Rng rng(3);
        return dropout(x[0], real(0.1), rng);
      },
      one);
  add_op(
      "embedding", copy, triad,
      [](const Inputs& x) { return embedding(x[0], ids(x[0].size(0), x[0].size(0))); }, one);
}

/// Loss and gradient of logits: read once, written once, and again so to become the gradient of
/// what here is a leaf.
void add_cross_entropy() {
  for (const Size size : {Size{1024, 8192}, Size{160, 50257}, Size{2048, 65}})
    add("cross_entropy/" + std::to_string(size.columns), [=](benchmark::State& state) {
      Tensor x = random({size.rows, size.columns}).requires_grad_();
      const Indices targets = ids(size.rows, size.columns);
      measure(state, copy, 2 * size.count(), [&] {
        x.zero_grad();
        Tape tape;
        tape.backward(cross_entropy(x, targets));
      });
    });
}

// ---- optimizers: a model's parameters, 13 million numbers in 50 large tensors and 50 small ones

std::vector<Tensor> parameters(bool tiny) {
  std::vector<Tensor> made;
  if (tiny)
    return {random({16, 2}).requires_grad_(),  random({16}).requires_grad_(),
            random({16, 16}).requires_grad_(), random({16}).requires_grad_(),
            random({1, 16}).requires_grad_(),  random({1}).requires_grad_()};
  for (int layer = 0; layer < 50; ++layer) {
    made.push_back(random({512, 512}).requires_grad_());
    made.push_back(random({512}).requires_grad_());
  }
  return made;
}

template <class Make>
void add_optimizer(const std::string& name, Traffic t, const Make& make) {
  for (const bool tiny : {false, true})
    add((tiny ? "tiny/" : "") + name, [=](benchmark::State& state) {
      std::vector<Tensor> all = parameters(tiny);
      std::size_t count = 0;
      for (Tensor& p : all) {
        p.set_grad(random(Ints(p.shape())));
        count += p.size();
      }
      const auto step = make(all);
      measure(state, t, count, [&] { step(); });
    });
}

void add_optimizers() {
  add_optimizer("sgd", {2, 1, true}, [](const std::vector<Tensor>& p) {
    return [optimizer = std::make_shared<SGD>(p)] { optimizer->step(); };
  });
  add_optimizer("sgd_momentum", {3, 2, true}, [](const std::vector<Tensor>& p) {
    return
        [optimizer = std::make_shared<SGD>(p, SGDOptions{.momentum = 0.9})] { optimizer->step(); };
  });
  add_optimizer("adamw", {4, 3, true}, [](const std::vector<Tensor>& p) {
    return [optimizer = std::make_shared<AdamW>(p)] { optimizer->step(); };
  });
  add_optimizer("grad_norm", read, [](const std::vector<Tensor>& p) {
    return [p] { clip_grad_norm(p, std::numeric_limits<real>::infinity()); };
  });
}

void add_floors() {
  const auto loop = [](const char* name, Traffic t) {
    for (const Size size : {large, small})
      add((size.rows == large.rows ? "floor/" : "small/floor/") + std::string(name),
          [=](benchmark::State& state) {
            measure(state, t, size.count(), [&] { run_floor(t, size.count()); });
          });
  };
  loop("read", read);
  loop("write", write);
  loop("copy", copy);
  loop("triad", triad);
}

}  // namespace

int main(int argc, char** argv) {
  add_floors();
  add_unary();
  add_binary();
  add_rows();
  add_moves();
  add_cross_entropy();
  add_optimizers();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
