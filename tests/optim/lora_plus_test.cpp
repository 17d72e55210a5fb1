// LoRA+: which parameter has which learning rate.
#include <xgrad/core/tape.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/lora.hpp>
#include <xgrad/nn/norm.hpp>
#include <xgrad/optim/lora_plus.hpp>
#include <xgrad/optim/sgd.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

struct Net : Module {
  using Module::Module;
  Embedding table{this, "table", {.count = 10, .dim = 6}};
  Linear up{this, "up", {.in = 6, .out = 8}};
  Linear down{this, "down", {.in = 8, .out = 5}};
  LayerNorm norm{this, "norm", {.dim = 5}};
  Tensor operator()(const Indices& ids) const { return norm(down(relu(up(table(ids))))); }
};

bool has(const ParameterGroup& group, std::initializer_list<Tensor> expected) {
  bool same = group.parameters.size() == expected.size();
  for (std::size_t i = 0; same && i < expected.size(); ++i)
    same = group.parameters[i].data() == expected.begin()[i].data();
  return same;
}

}  // namespace

TEST_CASE("LoRA+ groups A and others, biases, B and magnitudes, and embeddings' factors",
          "[optim][lora]") {
  Net net;
  const auto adapters = lora::attach(net, {.rank = 2,
                                           .dora = false,
                                           .targets = {"table", "up", "down"},
                                           .modules_to_save = {"norm"},
                                           .bias = lora::Bias::lora_only});
  REQUIRE(adapters.size() == 3);
  const lora::Adapter &table = *adapters[0], &up = *adapters[1], &down = *adapters[2];
  const ParameterGroups groups =
      lora::plus_groups(net, {.lr = 0.25, .ratio = 8, .embedding_lr = 0.5, .weight_decay = 0.1});
  REQUIRE(groups.size() == 4);
  CHECK(has(groups[0], {up.A, down.A, net.norm.weight}));
  CHECK(has(groups[1], {net.up.bias, net.down.bias, net.norm.bias}));
  CHECK(has(groups[2], {up.B, down.B}));
  CHECK(has(groups[3], {table.A, table.B}));
  const double lr[] = {0.25, 0.25, 2, 0.5}, decay[] = {0.1, 0, 0.1, 0.1};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(groups[i].lr == lr[i]);
    CHECK(groups[i].weight_decay == decay[i]);
  }
}

TEST_CASE("LoRA+ lets B move as many times as far as its ratio says", "[optim][lora]") {
  const auto moved = [](double ratio) {
    Net net(1);
    const auto adapters = lora::attach(net, {.rank = 2, .targets = {"up"}});
    SGD optimizer(lora::plus_groups(net, {.lr = 0.01, .ratio = ratio}));
    {
      Tape tape;
      tape.backward(mean(net(Indices{1, 2, 3}) * tensor({1, -2, 3, 0, 1})));
    }
    optimizer.step();
    return adapters[0]->B.clone();
  };
  const Tensor once = moved(1), fast = moved(4);
  double largest = 0;
  for (std::size_t i = 0; i < once.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(once.data()[i])));
    CHECK_THAT(fast.data()[i], WithinAbs(4.0 * static_cast<double>(once.data()[i]), 1e-7));
  }
  CHECK(largest > 0);
}

TEST_CASE("LoRA+ counts DoRA's magnitudes to B and says what it refuses", "[optim][lora]") {
  Net net;
  const auto adapters = lora::attach(net, {.rank = 2, .dora = true, .targets = {"up"}});
  const ParameterGroups groups = lora::plus_groups(net);
  REQUIRE(groups.size() == 2);
  CHECK(has(groups[0], {adapters[0]->A}));
  CHECK(has(groups[1], {adapters[0]->B, adapters[0]->magnitude}));
  CHECK(groups[1].lr == 16 * 1e-4);

  CHECK(error_of([&] { lora::plus_groups(net, {.ratio = 0.5}); }) ==
        "plus_groups: ratio must be finite and at least 1, got 0.5");
  Net bare;
  CHECK(error_of([&] { lora::plus_groups(bare); }) ==
        "plus_groups: the model has no adapters; attach() them first");
}
