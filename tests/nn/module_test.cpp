// The tree of modules: names, modes, initial values, loading, and what happens when things go
// wrong.
#include <xgrad/nn/module.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/dropout.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/norm.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

struct Net : Module {
  using Module::Module;
  Linear up{this, "up", {.in = 3, .out = 4}};
  Dropout drop{this, "drop", 0.5};
  Linear down{this, "down", {.in = 4, .out = 2, .bias = false}};
  StateBuffer steps{this, "steps", zeros({1})};
  Parameter scale{this, "scale", ones({2})};
  Tensor operator()(const Tensor& x) const { return down(drop(relu(up(x)))) * scale; }
};

/// Its first layers are Net's, so they start as Net's do.
struct DeeperNet : Module {
  using Module::Module;
  Linear first{this, "first", {.in = 3, .out = 3}};
  Linear up{this, "up", {.in = 3, .out = 4}};
  Linear down{this, "down", {.in = 4, .out = 2, .bias = false}};
};

struct Holder : Module {
  using Module::adopt;
  using Module::Module;
};

std::vector<std::string> names(const StateDict& state) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : state) result.push_back(name);
  return result;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

bool same(const StateDict& a, const StateDict& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& left, const auto& right) {
                      return left.first == right.first && same(left.second, right.second);
                    });
}

StateDict copy(const StateDict& state) {
  StateDict result;
  for (const auto& [name, tensor] : state) result.emplace_back(name, tensor.clone());
  return result;
}

Tensor random(const Ints& shape, std::uint64_t seed = 1) {
  Rng rng(seed);
  return randn(shape, rng);
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("A module names its parameters and buffers in PyTorch's order", "[nn][module]") {
  Net net;
  CHECK(names(net.named_parameters()) == Names{"scale", "up.weight", "up.bias", "down.weight"});
  CHECK(names(net.state_dict()) == Names{"scale", "steps", "up.weight", "up.bias", "down.weight"});
  CHECK(net.parameters().size() == 4);
  CHECK(net.down.path() == "down");
  CHECK(net.path().empty());

  Names modules;
  for (const auto& [name, module] : net.named_modules()) modules.push_back(name);
  CHECK(modules == Names{"", "up", "drop", "down"});
}

TEST_CASE("Named parameters share their values with the layer", "[nn][module]") {
  Net net;
  net.named_parameters()[0].second.mutable_data()[1] = 7;
  CHECK(net.scale.data()[1] == 7);
}

TEST_CASE("An absent bias is undefined and unnamed", "[nn][module]") {
  const Linear with({.in = 2, .out = 3}), without({.in = 2, .out = 3, .bias = false});
  CHECK(names(with.named_parameters()) == Names{"weight", "bias"});
  CHECK(names(without.named_parameters()) == Names{"weight"});
  CHECK_FALSE(without.bias.defined());
}

TEST_CASE("Sequential counts functions in its names, as PyTorch does", "[nn][module]") {
  Sequential net;
  const Linear& first = net.emplace<Linear>(LinearOptions{.in = 2, .out = 3});
  net.add([](const Tensor& x) { return relu(x); });
  const Linear& second = net.emplace<Linear>(LinearOptions{.in = 3, .out = 1});
  CHECK(net.size() == 3);
  CHECK(names(net.state_dict()) == Names{"0.weight", "0.bias", "2.weight", "2.bias"});
  const Tensor x = random({5, 2});
  CHECK(same(net(x), second(relu(first(x)))));
}

TEST_CASE("ModuleList numbers its children", "[nn][module]") {
  Holder owner;
  ModuleList<Linear> layers(&owner, "layers");
  layers.emplace(LinearOptions{.in = 1, .out = 2, .bias = false});
  layers.emplace(LinearOptions{.in = 2, .out = 1, .bias = false});
  CHECK(layers.size() == 2);
  CHECK(layers[1].path() == "layers.1");
  CHECK(names(owner.state_dict()) == Names{"layers.0.weight", "layers.1.weight"});
  CHECK_THROWS_AS(layers[2], std::out_of_range);
}

TEST_CASE("A name must be new, not empty and free of dots", "[nn][module]") {
  Net net;
  Holder owner;
  ModuleList<Holder> middle(&owner, "middle");
  Holder& inner = middle.emplace();
  CHECK(error_of<std::invalid_argument>([&] { Parameter twice(&net, "up", zeros({1})); }) ==
        "module: the name \"up\" is taken twice in \"\"");
  CHECK(error_of<std::invalid_argument>([&] { StateBuffer twice(&net, "scale", zeros({1})); }) ==
        "module: the name \"scale\" is taken twice in \"\"");
  CHECK(error_of<std::invalid_argument>([&] {
          Linear twice(&net, "steps", {.in = 1, .out = 1});
        }) == "module: the name \"steps\" is taken twice in \"\"");
  const Parameter first(&inner, "weight", zeros({1}));
  CHECK(error_of<std::invalid_argument>([&] { Parameter twice(&inner, "weight", zeros({1})); }) ==
        "module: the name \"weight\" is taken twice in \"middle.0\"");
  CHECK(error_of<std::invalid_argument>([&] { Holder child(&owner, "a.b"); }) ==
        "module: \"a.b\" is no name: it must not be empty or contain a dot");
  CHECK(error_of<std::invalid_argument>([&] { Holder child(&owner, ""); }) ==
        "module: \"\" is no name: it must not be empty or contain a dot");
}

TEST_CASE("A module has one owner at a time", "[nn][module]") {
  const auto child = std::make_unique<Linear>(LinearOptions{.in = 1, .out = 1});
  Holder outlives;
  {
    Holder owner;
    owner.adopt("layer", *child);
    CHECK(child->path() == "layer");
    CHECK(error_of<std::logic_error>([&] { owner.adopt("again", *child); }) ==
          "module \"again\" already has an owner");
    CHECK(error_of<std::logic_error>([&] { outlives.adopt("layer", *child); }) ==
          "module \"layer\" already has an owner");
    CHECK(owner.named_parameters().size() == 2);
  }
  CHECK(child->path().empty());  // its owner is gone
  outlives.adopt("other", *child);
  CHECK(names(outlives.named_parameters()) == Names{"other.weight", "other.bias"});
}

TEST_CASE("A child that fails to be made, or goes away, leaves no trace in its owner",
          "[nn][module]") {
  Sequential net;
  net.emplace<Linear>(LinearOptions{.in = 1, .out = 2});
  CHECK_THROWS_AS(net.emplace<Linear>(LinearOptions{.in = 0, .out = 2}), std::invalid_argument);
  CHECK(names(net.state_dict()) == Names{"0.weight", "0.bias"});
  net.emplace<Linear>(LinearOptions{.in = 2, .out = 2});
  CHECK(net.named_modules().size() == 3);

  Holder owner;
  { Holder child(&owner, "child"); }
  CHECK(owner.named_modules().size() == 1);
}

TEST_CASE("freeze stops gradients by name and says how many", "[nn][module]") {
  Net net;
  CHECK(net.trainable_parameters().size() == 4);
  CHECK(net.freeze("weight") == 2);
  CHECK(net.trainable_parameters().size() == 2);
  {
    Tape tape;
    tape.backward(mean(net(random({5, 3}))));
  }
  CHECK_FALSE(net.up.weight.grad().defined());
  CHECK_FALSE(net.down.weight.grad().defined());
  CHECK(net.up.bias.grad().defined());
  CHECK(net.scale.grad().defined());
  net.zero_grad();
  CHECK_FALSE(net.up.bias.grad().defined());

  CHECK(net.freeze("down", false) == 1);
  CHECK(net.down.weight.requires_grad());
  CHECK_FALSE(net.up.weight.requires_grad());
  CHECK(error_of<std::invalid_argument>([&] { net.freeze("middle"); }) ==
        "freeze: no parameter's name contains \"middle\"");
}

TEST_CASE("train and eval reach all modules below", "[nn][module]") {
  Net net;
  const Tensor x = random({5, 3});
  CHECK(net.is_training());
  CHECK(net.drop.is_training());
  net.eval();
  CHECK_FALSE(net.is_training());
  CHECK_FALSE(net.drop.is_training());
  CHECK(same(net(x), net(x)));
  net.drop.train();
  CHECK(net.drop.is_training());
  CHECK_FALSE(net.is_training());
}

TEST_CASE("reseed restarts the layers that draw numbers", "[nn][module][dropout]") {
  Net net;
  const Tensor x = random({50, 3});
  net.reseed(3);
  const Tensor first = net(x), second = net(x);
  net.reseed(3);
  CHECK(same(net(x), first));
  CHECK(same(net(x), second));
  CHECK_FALSE(same(first, second));
  net.reseed(4);
  CHECK_FALSE(same(net(x), first));
}

TEST_CASE("Initial values depend on the seed and on the parameter's name alone", "[nn][module]") {
  const Net net, again, other(1);
  const DeeperNet deeper;
  CHECK(same(net.state_dict(), again.state_dict()));
  CHECK(same(net.up.weight, deeper.up.weight));
  CHECK(same(net.up.bias, deeper.up.bias));
  CHECK(same(net.down.weight, deeper.down.weight));
  CHECK_FALSE(same(net.up.weight, other.up.weight));
  CHECK_FALSE(same(deeper.first.bias, slice(deeper.up.bias, 0, 0, 3)));
}

TEST_CASE("A module prints as a tree with parameter counts", "[nn][module]") {
  Net net;
  CHECK(net.to_string() ==
        "Net  2\n"
        "  up: Linear(3 -> 4)  16\n"
        "  drop: Dropout(p = 0.5)\n"
        "  down: Linear(4 -> 2)  8\n"
        "parameters: 26\n");

  Holder owner;
  ModuleList<LayerNorm> norms(&owner, "norms");
  norms.emplace(LayerNormOptions{.dim = 2});
  CHECK(owner.to_string() ==
        "Holder\n"
        "  norms: ModuleList\n"
        "    0: LayerNorm(2)  4\n"
        "parameters: 4\n");
}

TEST_CASE("load_state_dict copies values in, whatever their order", "[nn][module]") {
  Net net, other(5);
  other.steps.mutable_data()[0] = 9;
  StateDict state = other.state_dict();
  std::reverse(state.begin(), state.end());
  net.load_state_dict(state);
  CHECK(same(net.state_dict(), other.state_dict()));
  net.scale.mutable_data()[0] = 3;  // copied, not shared
  CHECK(other.scale.data()[0] == 1);
  net.load_state_dict(net.state_dict());
  CHECK(net.scale.data()[0] == 3);
}

TEST_CASE("load_state_dict names what disagrees, and then changes nothing", "[nn][module]") {
  Net net;
  const StateDict before = copy(net.state_dict());
  const auto load = [&](const std::function<void(StateDict&)>& spoil) {
    StateDict state = copy(Net(5).state_dict());
    spoil(state);
    const std::string text = error_of<std::invalid_argument>([&] { net.load_state_dict(state); });
    CHECK(same(net.state_dict(), before));
    return text;
  };
  CHECK(load([](StateDict& s) { s.erase(s.begin() + 2); }) ==
        "load: \"up.weight\" (4, 3) is missing from the file");
  CHECK(load([](StateDict& s) {
          s.back().second = zeros({4, 2});
        }) == "load: \"down.weight\": file has (4, 2), model has (2, 4)");
  CHECK(load([](StateDict& s) { s.emplace_back("down.bias", zeros({2})); }) ==
        "load: the file has \"down.bias\" (2,), the model does not");
}

TEST_CASE("Loading between forward and backward is noticed", "[nn][module]") {
  Net net;
  Tape tape;
  const Tensor y = mean(net(random({5, 3})));
  net.load_state_dict(copy(Net(5).state_dict()));
  CHECK_THROWS_AS(tape.backward(y), std::logic_error);
}
