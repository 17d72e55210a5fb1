// Optimizers: ten steps against PyTorch (reference.py beside this file made the numbers), then what
// all of them share: groups, saving, errors, threads, memory.
#include <xgrad/core/ops.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tape.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/sgd.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr double tolerance = sizeof(real) == 4 ? 2e-5 : 1e-12;

std::vector<Tensor> start() {
  std::vector<Tensor> parameters{tensor({-0.5, -0.25, 0, 0.25, 0.5, 0.75}, {2, 3}),
                                 tensor({real(0.3), real(-0.2), real(0.1)})};
  for (Tensor& p : parameters) p.requires_grad_();
  return parameters;
}

/// A made-up gradient that depends on the parameter, so that an error feeds on itself.
void set_gradient(Tensor& p, std::int64_t step) {
  Tensor grad = Tensor::empty(p.shape());
  for (std::size_t k = 0; k < p.size(); ++k)
    grad.mutable_data()[k] =
        static_cast<real>(static_cast<double>(k + 1) / 4 * p.data()[k] +
                          std::cos(static_cast<double>(step) + static_cast<double>(k)));
  p.set_grad(grad);
}

void take_steps(Optimizer& optimizer, std::int64_t first, std::int64_t last,
                const std::function<double(std::int64_t)>& factor = {}) {
  for (std::int64_t step = first; step < last; ++step) {
    std::size_t i = 0;
    for (Tensor& p : optimizer.parameters())
      if (i++ == 0 || step % 3 != 2)
        set_gradient(p, step);  // the second has no gradient at every third step
    if (factor) optimizer.set_lr_factor(factor(step));
    optimizer.step();
    optimizer.zero_grad();
  }
}

std::vector<double> values(const std::vector<Tensor>& parameters) {
  std::vector<double> all;
  for (const Tensor& p : parameters) all.insert(all.end(), p.data(), p.data() + p.size());
  return all;
}

using Make = std::function<std::unique_ptr<Optimizer>(const std::vector<Tensor>&)>;

template <class Kind, class Options>
Make make(Options options) {
  return [options](const std::vector<Tensor>& p) { return std::make_unique<Kind>(p, options); };
}
Make sgd(SGDOptions options) { return make<SGD>(options); }
Make adam(AdamOptions options) { return make<Adam>(options); }
Make adamw(AdamWOptions options) { return make<AdamW>(options); }

struct Reference {
  const char* name;
  Make make;
  std::vector<double> expected;
};

const std::vector<Reference>& references() {
  static const std::vector<Reference> all{
      {"SGD",
       sgd({.lr = 0.05}),
       {-0.4580690430649621, -0.12659623362367672, 0.0817854508136613, 0.1686450812974768,
        0.20580620895311816, 0.2703720639266948, 0.243039817325588, -0.14279135859602804,
        0.1293440520585651}},
      {"SGD, weight decay",
       sgd({.lr = 0.05, .weight_decay = 0.1}),
       {-0.4347872585447781, -0.11746393532702479, 0.08001229790739171, 0.1596926029968178,
        0.1923568005305241, 0.2534559705519675, 0.2347160010072522, -0.13669967575309921,
        0.12566126705057246}},
      {"SGD, momentum",
       sgd({.lr = 0.05, .momentum = 0.9}),
       {-0.44626107320038133, 0.07428550631805113, 0.20730629069714085, 0.014394184971649493,
        -0.27429494967494134, -0.48752322456036556, 0.014307103960461904, -0.09553736463088082,
        0.19151038879482266}},
      {"SGD, momentum, weight decay",
       sgd({.lr = 0.05, .momentum = 0.9, .weight_decay = 0.1}),
       {-0.35026803681781854, 0.09666658007520262, 0.18716612649468964, -0.013261937677965723,
        -0.2903093972957595, -0.49201241900653325, -0.006452713415095631, -0.07668301861922773,
        0.17662480063181923}},
      {"SGD, momentum, dampening",
       sgd({.lr = 0.05, .momentum = 0.9, .dampening = 0.3}),
       {-0.5399304037537248, -0.033776203971817194, 0.2046568029562002, 0.11541892866685925,
        -0.15319843170222, -0.40470588584270334, 0.015908726643943084, -0.15520660803670372,
        0.1941453449157116}},
      {"SGD, nesterov",
       sgd({.lr = 0.05, .momentum = 0.9, .nesterov = true}),
       {-0.4064913970429766, 0.12137595938362884, 0.2127802977347713, 0.000245524522739938,
        -0.254072829395454, -0.38826149964778667, 0.003374986429167537, -0.055043719106797964,
        0.19094551697494055}},
      {"SGD, nesterov, weight decay",
       sgd({.lr = 0.05, .momentum = 0.8, .nesterov = true, .weight_decay = 0.1}),
       {-0.338850488393957, 0.06391035630610434, 0.16433185548811147, 0.03529228526181972,
        -0.14353280029350823, -0.23733284408438693, 0.058834873144688486, -0.05823594864869216,
        0.15759799229859153}},
      {"Adam",
       adam({}),
       {-0.501240908624778, -0.24802697201676438, 0.004177436001852347, 0.25026332363673237,
        0.4944600307733103, 0.7410136468568107, 0.297062503806755, -0.1996415521913159,
        0.1024598408419515}},
      {"Adam, other betas and eps",
       adam({.lr = 0.05, .betas = {0.7, 0.9}, .eps = 1e-3}),
       {-0.5273797486114565, -0.1582205207347807, 0.13885654952586146, 0.21949544165244195,
        0.2554545391231168, 0.3501687918356184, 0.18138950572556248, -0.1689189581432729,
        0.18480070285854222}},
      {"Adam, weight decay",
       adam({.lr = 0.05, .weight_decay = 0.1}),
       {-0.5247596932220999, -0.1417175240899142, 0.16224589075083906, 0.2253182142453682,
        0.15721084946928332, 0.32677371040257286, 0.1526812241242701, -0.1674576823647881,
        0.19745614217833804}},
      {"AdamW",
       adamw({}),
       {-0.5011908115834344, -0.2480020615200253, 0.004177162399883273, 0.25023828878445287,
        0.4944103070123056, 0.7409391480218482, 0.29704163792801536, -0.19962754940873065,
        0.10245273305535521}},
      {"AdamW, other betas and eps",
       adamw({.lr = 0.05, .betas = {0.3, 0.95}, .eps = 1e-3}),
       {-0.47947767476277764, -0.12740679146929362, 0.12758489490017655, 0.18739011779342762,
        0.2415114409929262, 0.36948430363059925, 0.2165487265059349, -0.14292672394069414,
        0.16872636624217513}},
      {"AdamW, weight decay",
       adamw({.lr = 0.05, .weight_decay = 0.5}),
       {-0.4314315896984708, -0.10857442290858405, 0.14085511337278053, 0.18130441374305437,
        0.16555021180087606, 0.22288091600943627, 0.12529981260163175, -0.1453635977693919,
        0.17583515119255919}},
  };
  return all;
}

void check_against(const std::vector<Tensor>& parameters, const std::vector<double>& expected) {
  const std::vector<double> received = values(parameters);
  REQUIRE(received.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("element " << i);
    CHECK_THAT(received[i], WithinAbs(expected[i], tolerance));
  }
}

/// Copies, since the optimizer's own tensors go on changing.
Optimizer::StateDict snapshot(const Optimizer& optimizer) {
  Optimizer::StateDict copy = optimizer.state_dict();
  for (auto& [name, value] : copy) value = value.clone();
  return copy;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(real)) == 0;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = same_bits(a[i], b[i]);
  return same;
}

template <class Error = std::invalid_argument, class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing was thrown)";
}

}  // namespace

TEST_CASE("ten steps of every optimizer agree with PyTorch", "[optim]") {
  for (const Reference& reference : references()) {
    INFO(reference.name);
    const std::vector<Tensor> parameters = start();
    const auto optimizer = reference.make(parameters);
    take_steps(*optimizer, 0, 10);
    check_against(parameters, reference.expected);
    CHECK(optimizer->steps() == 10);
  }
}

TEST_CASE("groups have their own settings, and a schedule scales all of them, as in PyTorch",
          "[optim]") {
  const std::vector<Tensor> parameters = start();
  AdamW optimizer({{.parameters = {parameters[0]}},
                   {.parameters = {parameters[1]}, .lr = 0.1, .weight_decay = 0}},
                  {.lr = 0.05, .weight_decay = 0.5});
  take_steps(optimizer, 0, 10,
             [](std::int64_t step) { return 1.0 / (1.0 + static_cast<double>(step)); });
  check_against(parameters, {-0.5289886371194529, -0.24491504892774787, 0.09353984983146466,
                             0.2865228181684862, 0.4418816524544938, 0.5648526698341892,
                             0.1405108951954327, -0.2637988380115624, 0.24836685295255015});
  CHECK_THAT(optimizer.lr(), WithinRel(0.005, 1e-12));
}

TEST_CASE("parameters come as a list, a vector or groups", "[optim]") {
  const std::vector<Tensor> p = start();
  CHECK(SGD(p).parameters().size() == 2);
  CHECK(SGD({p[0], p[1]}).parameters().size() == 2);
  CHECK(SGD({p[0]}, {.lr = 0.5}).lr() == 0.5);
  CHECK(Adam({{.parameters = p, .lr = 0.25}}).lr() == 0.25);
  CHECK(AdamW(std::vector<ParameterGroup>{{.parameters = p}}).lr() == 1e-3);
  const AdamW groups({{.parameters = {p[1]}}, {.parameters = {p[0]}}});
  CHECK(groups.parameters()[0].data() == p[1].data());
}

TEST_CASE("a parameter without a gradient is left alone, and its count of steps stands still",
          "[optim]") {
  const std::vector<Tensor> parameters = start();
  const Tensor untouched = parameters[1].clone();
  AdamW optimizer(parameters);
  for (int i = 0; i < 2; ++i) {
    set_gradient(optimizer.parameters()[0], i);
    optimizer.step();
  }
  CHECK(same_bits(parameters[1], untouched));
  const auto state = optimizer.state_dict();
  CHECK(state[0].first == "step");
  CHECK(state[0].second.item() == 2);
  CHECK(state[1].first == "state.0.step");
  CHECK(state[1].second.item() == 2);
  CHECK(state[4].first == "state.1.step");
  CHECK(state[4].second.item() == 0);
  optimizer.zero_grad();
  CHECK_FALSE(parameters[0].grad().defined());
}

TEST_CASE("state has PyTorch's names", "[optim]") {
  const auto names = [](const Optimizer& optimizer) {
    std::string all;
    for (const auto& [name, value] : optimizer.state_dict())
      all += name + to_string(value.shape()) + ' ';
    return all;
  };
  const std::vector<Tensor> p = start();
  CHECK(names(SGD(p)) == "step() state.0.step() state.1.step() ");
  CHECK(names(SGD(p, {.momentum = 0.5})) ==
        "step() state.0.step() state.0.momentum_buffer(2, 3) state.1.step() "
        "state.1.momentum_buffer(3,) ");
  CHECK(names(AdamW(p)) ==
        "step() state.0.step() state.0.exp_avg(2, 3) state.0.exp_avg_sq(2, 3) "
        "state.1.step() state.1.exp_avg(3,) state.1.exp_avg_sq(3,) ");
}

TEST_CASE("a saved optimizer continues bit for bit", "[optim]") {
  for (const Reference& reference : references()) {
    INFO(reference.name);
    const std::vector<Tensor> parameters = start();
    const auto optimizer = reference.make(parameters);
    take_steps(*optimizer, 0, 5);

    std::vector<Tensor> resumed_parameters;
    for (const Tensor& p : parameters) resumed_parameters.push_back(p.clone().requires_grad_());
    const auto resumed = reference.make(resumed_parameters);
    auto saved = snapshot(*optimizer);
    std::reverse(saved.begin(), saved.end());  // files have an order of their own
    resumed->load_state_dict(saved);
    CHECK(resumed->steps() == 5);

    take_steps(*optimizer, 5, 10);
    take_steps(*resumed, 5, 10);
    CHECK(same_bits(parameters, resumed_parameters));
  }
}

TEST_CASE("loading its own state leaves an optimizer as it is", "[optim]") {
  AdamW optimizer(start());
  take_steps(optimizer, 0, 3);
  const auto before = snapshot(optimizer);
  optimizer.load_state_dict(optimizer.state_dict());
  const auto after = optimizer.state_dict();
  for (std::size_t i = 0; i < before.size(); ++i)
    CHECK(same_bits(before[i].second, after[i].second));
}

TEST_CASE("a state that does not fit is refused by name, and nothing changes", "[optim]") {
  AdamW optimizer(start());
  take_steps(optimizer, 0, 3);
  const auto before = snapshot(optimizer);
  const auto refused = [&](const std::function<void(Optimizer::StateDict&)>& spoil) {
    auto state = snapshot(AdamW(start()));  // zeros: would be noticed
    spoil(state);
    return message([&] { optimizer.load_state_dict(state); });
  };
  using State = Optimizer::StateDict;
  CHECK(refused([](State& s) { s.erase(s.begin() + 2); }) ==
        "load_state_dict: \"state.0.exp_avg\" is missing");
  CHECK(refused([](State& s) { s[3].second = {}; }) ==
        "load_state_dict: \"state.0.exp_avg_sq\" is missing");
  CHECK(refused([](State& s) { s[6].second = zeros({4}); }) ==
        "load_state_dict: \"state.1.exp_avg_sq\": saved has (4,), AdamW has (3,)");
  CHECK(refused([](State& s) { s.emplace_back("state.2.step", scalar(1)); }) ==
        "load_state_dict: \"state.2.step\" is not part of this AdamW");
  CHECK(refused([](State& s) { s.push_back(s[1]); }) ==
        "load_state_dict: \"state.0.step\" comes twice");
  CHECK(refused([](State& s) { s[4].second = scalar(real(1.5)); }) ==
        "load_state_dict: \"state.1.step\": a number of steps cannot be 1.5");
  CHECK(refused([](State& s) { s[0].second = scalar(-1); }) ==
        "load_state_dict: \"step\": a number of steps cannot be -1");

  const auto after = optimizer.state_dict();
  for (std::size_t i = 0; i < before.size(); ++i)
    CHECK(same_bits(before[i].second, after[i].second));
  CHECK_THROWS_AS(optimizer.load_state_dict(SGD(start(), {.momentum = 0.9}).state_dict()),
                  std::invalid_argument);
}

TEST_CASE("parameters that cannot be optimized are refused", "[optim]") {
  const Tensor w = zeros({2, 3}).requires_grad_();
  CHECK(message([&] { SGD(std::vector<Tensor>{}); }) == "SGD: there are no parameters to optimize");
  CHECK(message([&] { Adam({{.lr = 1.0}}); }) == "Adam: there are no parameters to optimize");
  CHECK(message([&] { AdamW({w, Tensor()}); }) == "AdamW: parameter 1 is undefined");
  CHECK(message([&] { SGD({zeros({4})}); }) ==
        "SGD: parameter 0 (4,) does not require a gradient; call requires_grad_() or leave it out");
  CHECK(message([&] {
          SGD({w, zeros({4}).requires_grad_(), w});
        }) == "SGD: parameters 0 and 2 (2, 3) are the same tensor");
  CHECK(message([&] {
          SGD({w, w.detach().requires_grad_()});
        }) == "SGD: parameters 0 and 1 (2, 3) are the same tensor");
  Tape tape;
  const Tensor y = w * real(2);
  CHECK(message([&] { SGD({y}); }) ==
        "SGD: parameter 0 (2, 3) is the result of a recorded operation; only leaves can be "
        "optimized");
  CHECK(w.requires_grad());
}

TEST_CASE("settings outside their ranges are refused", "[optim]") {
  const std::vector<Tensor> p = start();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(message([&] { SGD(p, {.lr = -0.5}); }) ==
        "SGD: lr must be finite and at least 0, got -0.5");
  CHECK(message([&] { Adam(p, {.lr = nan}); }) ==
        "Adam: lr must be finite and at least 0, got nan");
  CHECK(message([&] { AdamW(p, {.weight_decay = -1}); }) ==
        "AdamW: weight_decay must be finite and at least 0, got -1");
  CHECK(message([&] { AdamW({{.parameters = p, .lr = -1.0}}); }) ==
        "AdamW: a group's lr must be finite and at least 0, got -1");
  CHECK(message([&] { AdamW({{.parameters = p, .weight_decay = -1.0}}); }) ==
        "AdamW: a group's weight_decay must be finite and at least 0, got -1");
  CHECK(message([&] { SGD(p, {.momentum = -0.1}); }) ==
        "SGD: momentum must be finite and at least 0, got -0.1");
  CHECK(message([&] { SGD(p, {.dampening = nan}); }) == "SGD: dampening must be finite, got nan");
  CHECK(message([&] { SGD(p, {.nesterov = true}); }) ==
        "SGD: nesterov needs a momentum above 0 and no dampening, got momentum 0 and dampening 0");
  CHECK(message([&] { Adam(p, {.betas = {1, 0.9}}); }) == "Adam: betas must be in [0, 1), got 1");
  CHECK(message([&] {
          AdamW(p, {.betas = {0.9, -0.1}});
        }) == "AdamW: betas must be in [0, 1), got -0.1");
  CHECK(message([&] { AdamW(p, {.eps = -1e-8}); }) ==
        "AdamW: eps must be finite and at least 0, got -1e-08");
  SGD optimizer(p, {.lr = 0.5});
  CHECK(message([&] { optimizer.set_lr_factor(-1); }) ==
        "set_lr_factor: factor must be finite and at least 0, got -1");
  CHECK(optimizer.lr() == 0.5);
}

TEST_CASE("a step between forward and backward is caught", "[optim]") {
  const Tensor w = ones({3}).requires_grad_();
  SGD optimizer({w}, {.lr = 0.1});
  Tape tape;
  const Tensor loss = sum(square(w));
  Tensor(w).set_grad(ones({3}));
  optimizer.step();
  CHECK(message<std::logic_error>([&] { tape.backward(loss); }) ==
        "backward: a tensor that the rule of square reads was changed in place after it was "
        "recorded");
}

TEST_CASE("training finds the minimum, and no step after the first asks for tensor storage",
          "[optim]") {
  for (const Reference& reference : references()) {
    INFO(reference.name);
    Tensor w = tensor({3, -2}).requires_grad_();
    const Tensor target = tensor({1, 1});
    const auto optimizer = reference.make({w});
    std::uint64_t allocations = 0;
    real first = 0, last = 0;
    for (int step = 0; step < 20; ++step) {
      Tape tape;
      const Tensor loss = sum(square(w - target));
      tape.backward(loss);
      optimizer->step();
      optimizer->zero_grad();
      if (step == 0) {
        first = loss.item();
        allocations = memory::stats().allocations;
      }
      last = loss.item();
    }
    CHECK(memory::stats().allocations == allocations);
    CHECK(last < first);
  }
}

TEST_CASE("an optimizer step has the same bits on any number of threads", "[optim]") {
  const int threads_before = num_threads();
  const auto train = [](const Make& make, int threads) {
    set_num_threads(threads);
    Rng rng(7);
    std::vector<Tensor> p{randn({100'003}, rng).requires_grad_()};  // four blocks, the last one odd
    const auto optimizer = make(p);
    for (int step = 0; step < 3; ++step) {
      p[0].set_grad(randn({100'003}, rng));
      optimizer->step();
    }
    return p;
  };
  for (const Reference& reference : references()) {
    INFO(reference.name);
    const std::vector<Tensor> one = train(reference.make, 1);
    CHECK(same_bits(one, train(reference.make, 2)));
    CHECK(same_bits(one, train(reference.make, 3)));
  }
  set_num_threads(threads_before);
}

TEST_CASE("forgotten rows stand still at the next step, and no others", "[optim]") {
  Tensor a = ones({3, 2}).requires_grad_(), b = ones({3, 2}).requires_grad_();
  AdamW optimizer({a, b}, {.weight_decay = 0});
  for (int step = 0; step < 3; ++step) {
    Tape tape;
    tape.backward(sum(a + b));  // the gradients of both may be one tensor
    const Tensor before = a.clone();
    if (step == 2) optimizer.forget(a, std::vector<std::int64_t>{1});
    optimizer.step();
    optimizer.zero_grad();
    for (std::size_t i = 0; i < a.size(); ++i)
      CHECK((a.data()[i] == before.data()[i]) == (step == 2 && i / 2 == 1));
  }
  for (std::size_t i = 1; i < b.size(); ++i) CHECK(b.data()[i] == b.data()[0]);
}

TEST_CASE("empty and 0-d parameters are parameters too", "[optim]") {
  std::vector<Tensor> p{zeros({0, 3}).requires_grad_(), scalar(1).requires_grad_()};
  for (Tensor& x : p) x.set_grad(ones(x.shape()));
  AdamW(p, {.lr = 0.5, .weight_decay = 0}).step();
  CHECK_THAT(static_cast<double>(p[1].item()), WithinAbs(0.5, 1e-6));
  SGD(p, {.lr = 0.5, .momentum = 0.9}).step();
  CHECK_THAT(static_cast<double>(p[1].item()), WithinAbs(0, 1e-6));
}

TEST_CASE("NaN in a gradient reaches its own element only; an infinite parameter stays",
          "[optim]") {
  const real inf = std::numeric_limits<real>::infinity(),
             nan = std::numeric_limits<real>::quiet_NaN();
  for (const Make& make : {sgd({}), sgd({.momentum = 0.9}), adam({}), adamw({})}) {
    Tensor p = tensor({1, inf, 2}).requires_grad_();
    p.set_grad(tensor({nan, 1, 1}));
    make({p})->step();
    CHECK(std::isnan(p.data()[0]));
    CHECK(p.data()[1] == inf);
    CHECK(p.data()[2] < 2);
  }
}
