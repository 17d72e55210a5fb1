// Part 1: a linear layer with L = |W - Y|^2 / 2, so that the full gradient is G = W - Y and the
// best that a low-rank step can do is known: of LoRA-Pro's at every step, of LoRA-GA's at the
// first.
#include <algorithm>
#include <cmath>

#include "study.hpp"
#include "support/chart.hpp"

namespace study {
namespace {

void copy(const Tensor& from, Tensor to) {
  std::copy_n(from.data(), from.size(), to.mutable_data());
}

struct Layer : Module {
  Layer(const Tensor& W, const Tensor& target)
      : linear(this, "linear", {.in = W.size(1), .out = W.size(0), .bias = false}), Y(target) {
    copy(W, linear.weight);
  }
  /// W as it acts, (out, in): the transpose of what the layer makes of the identity's rows.
  Tensor weight() const { return transpose(linear(diag(full({Y.size(1)}, 1)))); }
  Tensor loss() const { return sum(square(weight() - Y)) * real(0.5); }
  Tensor gradient() const { return weight() - Y; }
  void backward() const {
    Tape tape;
    tape.backward(loss());
  }

  Linear linear;
  const Tensor Y;
};

/// |E - G| / |G|.
double residual(const Tensor& E, const Tensor& G) { return norm(E - G).item() / norm(G).item(); }

/// The c for which c E is nearest to G.
double best_scale(const Tensor& E, const Tensor& G) {
  return sum(E * G).item() / static_cast<double>(sum(square(E)).item());
}

constexpr int steps = 50;
// Of the random ones.
constexpr std::size_t in = 48, out = 32, rank = 4;
const std::string random_problem = "48 -> 32, rank 4";

// ---- every step ---------------------------------------------------------------------------------

struct Problem {
  std::string name;
  Tensor W, Y, A, B;  // (out, in) twice, (rank, in), (out, rank)
  double scale, lr;
};

/// A matrix of full rank whose size lies in its first directions.
Tensor falling(std::size_t out, std::size_t in, Rng& rng) {
  Tensor sum = zeros({out, in});
  for (std::size_t i = 1; i <= out; ++i) {
    const Tensor u = randn({out, 1}, rng), v = randn({1, in}, rng);
    sum = sum + matmul(u, v) / static_cast<real>(i);
  }
  return sum;
}

/// Small integers, 4 -> 3 with rank 2, and a random one.
std::vector<Problem> problems(const Settings& s) {
  Rng rng = Rng(s.seed).fork("exact");
  const Tensor W = randn({out, in}, rng);
  return {{"4 -> 3, rank 2", tensor({2, 0, 1, -1, -1, 1, 1, 0, 0, 3, -2, 1}, {3, 4}),
           tensor({1, 0, 2, 1, 0, -1, 1, 1, 2, 1, 0, 1}, {3, 4}),
           tensor({1, 2, 0, 1, 0, 1, -1, 1}, {2, 4}), tensor({1, -1, 0, 1, 2, 0}, {3, 2}), 2, 0.01},
          {random_problem, W, W + falling(out, in, rng), randn({rank, in}, rng) * real(0.2),
           randn({out, rank}, rng) * real(0.2), 2, 0.05}};
}

/// The smallest |s (B dA + dB A) - G| / |G| over all dA, dB: what G has outside of the column space
/// of B and the row space of A.
double optimum(const Tensor& A, const Tensor& B, const Tensor& G) {
  const Tensor rest = G - matmul(B, solve(matmul(B, B, {.transpose_a = true}),
                                          matmul(B, G, {.transpose_a = true})));
  const Tensor outside = rest - matmul(matmul(rest, A, {.transpose_b = true}),
                                       solve(matmul(A, A, {.transpose_b = true}), A));
  return norm(outside).item() / norm(G).item();
}

/// SGD on A and B with steps of the given kind; before each what their gradients, as such and
/// as LoRA-Pro's directions, would make of W, against G.
void descend(Context& context, const Problem& p, const std::string& method,
             const std::function<std::unique_ptr<Optimizer>(lora::Adapter&, double lr)>& make) {
  Layer layer(p.W, p.Y);
  const std::size_t r = p.A.size(0);
  lora::Adapter& adapter =
      *lora::attach(layer, {.rank = r, .alpha = p.scale * static_cast<double>(r)}).front();
  copy(p.A, adapter.A);
  copy(p.B, adapter.B);
  std::unique_ptr<Optimizer> optimizer;
  for (int step = 0; step <= steps; ++step) {
    layer.backward();
    const Tensor G = layer.gradient();
    const lora::Directions gradients{adapter.A.grad(), adapter.B.grad()};
    const auto equivalent = [&](const lora::Directions& directions) {
      return lora::equivalent_gradient(adapter.A, adapter.B, directions, p.scale);
    };
    const Tensor plain = equivalent(gradients);
    const double c = best_scale(plain, G);
    context.results.add(
        {{"study", "exact"},
         {"problem", p.name},
         {"method", method},
         {"step", step},
         {"loss", layer.loss().item()},
         {"gradient", norm(G).item()},
         {"optimum", optimum(adapter.A, adapter.B, G)},
         {"lora_pro",
          residual(equivalent(lora::pro_directions(adapter.A, adapter.B, gradients, p.scale)), G)},
         {"lora", residual(plain * static_cast<real>(c), G)}});
    // LoRA's first step is made as long as suits it best, or it would be many times as long.
    if (!optimizer) optimizer = make(adapter, method == "lora" ? p.lr * c : p.lr);
    optimizer->step();
    optimizer->zero_grad();
  }
}

/// SGD on W itself, from the same W.
void descend_fully(Context& context, const Problem& p) {
  const Layer layer(p.W + matmul(p.B, p.A) * static_cast<real>(p.scale), p.Y);
  SGD optimizer(layer.parameters(), {.lr = p.lr});
  for (int step = 0; step <= steps; ++step) {
    layer.backward();
    context.results.add({{"study", "exact"},
                         {"problem", p.name},
                         {"method", "full"},
                         {"step", step},
                         {"loss", layer.loss().item()},
                         {"gradient", norm(layer.gradient()).item()}});
    optimizer.step();
    optimizer.zero_grad();
  }
}

template <lora::XMode mode>
std::unique_ptr<Optimizer> pro(lora::Adapter& adapter, double lr) {
  return std::make_unique<LoraProSGD>(lora::pairs({&adapter}),
                                      LoraProSGDOptions{.lr = lr, .x_mode = mode});
}

void measure_steps(Context& context) {
  for (const Problem& p : problems(context.settings)) {
    descend_fully(context, p);
    descend(context, p, "lora-pro, zero", pro<lora::XMode::zero>);
    descend(context, p, "lora-pro, symmetric", pro<lora::XMode::symmetric>);
    descend(context, p, "lora-pro, sylvester", pro<lora::XMode::sylvester>);
    descend(context, p, "lora", [](lora::Adapter& adapter, double lr) {
      return std::make_unique<SGD>(ParameterGroups{adapter.A, adapter.B}, SGDOptions{.lr = lr});
    });
  }
  const auto& results = context.results;
  const Rows all = results.where({{"study", "exact"}});
  Rows some, losses;
  for (const Row& row : all) {
    const int step = row["step"];
    if (step != 0 && step != 1 && step != 5 && step % 25 != 0) continue;
    losses.push_back(row);
    losses.back()["run"] =
        row["problem"].get<std::string>() + ": " + row["method"].get<std::string>();
    if (row["method"] == "lora-pro, sylvester") some.push_back(row);
  }
  context.show(
      "1. A linear layer with L = |W - Y|^2 / 2 and gradient G = W - Y. How far from G a step "
      "moves\n"
      "   W, |E - G| / |G|, along LoRA-Pro's path: the smallest possible, LoRA-Pro's, and LoRA's "
      "at\n"
      "   the same A and B if it has the length that suits it best",
      table(some, {"problem", "step", "loss", "gradient", "optimum", "lora_pro", "lora"}));
  context.show("   Losses", cross_table(losses, "run", "step", "loss"));
  std::size_t count = 0;
  double excess = 0, nearest = INFINITY, farthest = 0;
  for (const Row& row : all) {
    if (!row.contains("optimum")) continue;
    ++count;
    const double best = row["optimum"], own = row["lora_pro"], plain = row["lora"];
    excess = std::max(excess, std::abs(own - best));
    nearest = std::min(nearest, plain - own);
    farthest = std::max(farthest, plain - own);
  }
  context.read("Over all " + std::to_string(count) +
               " steps LoRA-Pro's distance differs from the smallest possible by at most " +
               number(excess) + "; LoRA's is larger by " + number(nearest) + " to " +
               number(farthest) + ". LoRA " + (nearest >= -1e-6 ? "never" : "sometimes") +
               " has the smaller one.");
  std::vector<std::string> ends;
  for (const Row& row :
       results.where({{"study", "exact"}, {"problem", random_problem}, {"step", steps}}))
    ends.push_back(row["method"].get<std::string>() + ' ' + shown(row["loss"]));
  const Problem random = problems(context.settings).back();
  const double bound = sum(square(slice(svd_values(random.Y - random.W), 0, rank, out))).item() / 2;
  context.read("Losses of the random layer after " + std::to_string(steps) + " steps: " +
               listed(ends) + ". No update of rank 4 has less than " + number(bound) + '.');
}

// ---- the first step -----------------------------------------------------------------------------

struct Start {
  std::string name;
  std::function<void(Layer&)> begin;
};

const std::vector<Start>& starts() {
  const auto loss_of = [](Layer& layer) { return [&layer](std::size_t) { return layer.loss(); }; };
  static const std::vector<Start> all{
      {"lora", [](Layer&) {}},
      {"pissa", [](Layer& layer) { lora::pissa(layer); }},
      {"olora", [](Layer& layer) { lora::olora(layer); }},
      {"lora-ga", [=](Layer& layer) { lora::lora_ga(layer, loss_of(layer), {.batches = 1}); }},
      {"lora-ga, gd",
       [=](Layer& layer) {
         lora::lora_ga(layer, loss_of(layer), {.batches = 1, .scale = lora::GaScale::gd});
       }},
  };
  return all;
}

/// W has had no step yet.
void measure_starts(Context& context) {
  Rng rng = Rng(context.settings.seed).fork("start");
  const Tensor W = randn({out, in}, rng) * real(0.15), G = falling(out, in, rng);
  const Tensor sigma = svd_values(G);
  const double best = norm(slice(sigma, 0, 2 * rank, out)).item() / norm(G).item();
  for (const Start& start : starts()) {
    Layer layer(W, W - G);
    lora::Adapter& adapter =
        *lora::attach(layer, {.rank = rank, .alpha = 2 * rank, .rank_stabilized = true}).front();
    start.begin(layer);
    const Tensor before = layer.weight();
    layer.backward();
    const Tensor E = lora::equivalent_gradient(
        adapter.A, adapter.B, {adapter.A.grad(), adapter.B.grad()}, adapter.scale());
    const double zeta = 1 / best_scale(E, G);
    SGD({adapter.A, adapter.B}, {.lr = 1e-3 / zeta}).step();
    const double first_order = residual(E / static_cast<real>(zeta), G);
    context.results.add({{"study", "start"},
                         {"start", start.name},
                         {"moved", residual(before, W)},
                         {"zeta", zeta},
                         {"optimum", best},
                         {"first_order", first_order},
                         {"step", residual((before - layer.weight()) / real(1e-3), G)}});
  }
  const Rows rows = context.results.where({{"study", "start"}});
  context.show(
      "   The first step from different starts, W 32 x 48 and rank 4, with learning rate lr, "
      "against full\n"
      "   training's with lr zeta: |E - G| / |G|. moved: change of W by the start itself, over "
      "|W|;\n"
      "   optimum: of matrices of rank 8; step: of an actual one, lr zeta = 0.001",
      table(rows, {"start", "moved", "zeta", "optimum", "first_order", "step"}));
  std::vector<std::string> attain, miss;
  for (const Row& row : rows)
    (row["step"].get<double>() - best < 0.01 * best ? attain : miss)
        .push_back(row["start"].get<std::string>() + " (" + shown(row["step"]) + ')');
  context.read("No first step of rank 8 comes nearer to G than " + number(best) +
               " |G|. Within a hundredth of that: " + listed(attain) +
               "; farther: " + listed(miss) + '.');
}

void draw(Context& context) {
  examples::Series optimum{"the smallest possible, which is LoRA-Pro's", {}, {}},
      plain{"LoRA's there", {}, {}};
  std::vector<examples::Series> losses;
  for (const Row& row : context.results.where({{"study", "exact"}, {"problem", random_problem}})) {
    const std::string method = row["method"];
    if (losses.empty() || losses.back().name != method) losses.push_back({method, {}, {}});
    losses.back().xs.push_back(row["step"]);
    losses.back().ys.push_back(row["loss"]);
    if (method != "lora-pro, sylvester") continue;
    for (auto& [series, column] : {std::pair(&optimum, "lora_pro"), std::pair(&plain, "lora")}) {
      series->xs.push_back(row["step"]);
      series->ys.push_back(row[column]);
    }
  }
  context.draw(
      "exact.svg",
      examples::side_by_side(
          {examples::line_chart("Distance from the full gradient, along LoRA-Pro's path", "step",
                                "|E - G| / |G|", {optimum, plain}, {.width = 560, .height = 360}),
           examples::line_chart("Loss of a linear layer", "step", "|W - Y|^2 / 2", losses,
                                {.width = 560, .height = 360})},
          2));
}

}  // namespace

void measure_exact(Context& context) {
  measure_steps(context);
  measure_starts(context);
  draw(context);
}

}  // namespace study
