// Adapters merged into weights: the same outputs, and the way back.
#include <algorithm>
#include <cmath>
#include <limits>

#include <xgrad/core/tape.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/lora.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

struct Net : Module {
  using Module::Module;
  Embedding table{this, "table", {.count = 9, .dim = 6}};
  Linear up{this, "up", {.in = 6, .out = 13}};
  Linear down{this, "down", {.in = 13, .out = 4, .bias = false}};
  Tensor operator()(const Indices& ids) const { return down(tanh(up(table(ids)))); }
};

const Indices ids{{1, 4, 2}, {8, 0, 1}};
constexpr bool in_double = sizeof(real) == 8;

void stir(Module& model) {
  Rng rng(1);
  for (lora::Adapter* adapter : lora::adapters(model))
    for (Tensor& factor : adapter->parameters()) {
      const Tensor noise = randn(factor.shape(), rng) * real(0.3);
      std::copy_n(noise.data(), noise.size(), factor.mutable_data());
    }
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

real distance(const Tensor& a, const Tensor& b) { return (max(abs(a - b)) / max(abs(b))).item(); }

const std::vector<std::string> everything = {"table", "up", "down"};

}  // namespace

TEST_CASE("A merged model computes what its adapters did", "[nn][lora]") {
  for (const bool keep_base : {false, true})
    for (const bool dora : {false, true}) {
      INFO("keep_base " << keep_base << ", DoRA " << dora);
      Net model;
      const Tensor base = model(ids), W = model.up.weight.clone(), E = model.table.weight.clone();
      lora::attach(model, {.rank = 2, .alpha = 3, .targets = everything, .name = "a"});
      lora::attach(model, {.rank = 3, .dora = dora, .targets = {"up", "down"}, .name = "b"});
      stir(model);
      lora::activate(model, {{"a", 0.5}, {"b", 2}});
      const Tensor adapted = model(ids);
      CHECK(distance(adapted, base) > 0.01);

      CHECK(lora::merge(model, {.keep_base = keep_base}) == 3);
      CHECK(distance(model(ids), adapted) < (in_double ? 1e-12 : 1e-5));
      CHECK(same_bits(model.up(zeros({2, 6})),
                      linear(zeros({2, 6}), model.up.weight, model.up.bias)));
      const Tensor merged = model.up.weight.clone();
      CHECK(lora::merge(model) == 0);
      CHECK(same_bits(model.up.weight, merged));

      CHECK(lora::unmerge(model) == 3);
      CHECK(lora::unmerge(model) == 0);
      CHECK(same_bits(model.up.weight, W) == (keep_base || dora));
      CHECK(same_bits(model.table.weight, E) == keep_base);
      CHECK(distance(model(ids), adapted) < (in_double ? 1e-12 : 1e-5));
      lora::activate(model, {});
      CHECK(distance(model(ids), base) < (in_double ? 1e-12 : 1e-5));
    }
}

TEST_CASE("Merging and unmerging a hundred times does not drift", "[nn][lora]") {
  Net model;
  lora::attach(model, {.rank = 2, .targets = everything});
  stir(model);
  const Tensor W = model.up.weight.clone();
  lora::merge(model);
  const Tensor merged = model.up.weight.clone();
  lora::unmerge(model);
  for (int cycle = 1; cycle < 100; ++cycle) {
    lora::merge(model);
    lora::unmerge(model);
  }
  for (std::size_t i = 0; i < W.size(); ++i) {
    const real largest = std::max(std::abs(W.data()[i]), std::abs(merged.data()[i]));
    CHECK(std::abs(model.up.weight.data()[i] - W.data()[i]) <=
          std::nextafter(largest, std::numeric_limits<real>::infinity()) - largest);
  }
}

TEST_CASE("Misuse of a merged model is an error that names the layer", "[nn][lora]") {
  Net model;
  auto adapters = lora::attach(model, {.rank = 2, .targets = {"up", "down"}});
  stir(model);
  lora::merge(model);
  {
    Tape tape;
    CHECK(error_of<std::logic_error>([&] { model(ids); }) ==
          "lora: \"up\": adapters are merged; unmerge() before training");
    model.eval();
    model(ids);
    model.train();
  }
  model(ids);
  const std::string merged = "lora: \"up\": adapters are merged; unmerge() first";
  CHECK(error_of<std::logic_error>([&] { lora::activate(model, {"default"}); }) == merged);
  CHECK(error_of<std::logic_error>([&] { lora::detach(model); }) == merged);
  CHECK(error_of<std::logic_error>([&] { lora::attach(model, {.rank = 2, .name = "b"}); }) ==
        merged);
  CHECK(error_of<std::logic_error>([&] {
          adapters[0]->start_from(zeros({2, 6}), zeros({13, 2}), lora::Reference::keep);
        }) == merged);

  adapters[1]->B.mutable_data()[3] += 1;
  const std::string changed =
      "lora: \"down\": an adapter was changed while merged; unmerge() before that";
  CHECK(error_of<std::logic_error>([&] { model(ids); }) == changed);
  const Tensor W = model.up.weight.clone();
  CHECK(error_of<std::logic_error>([&] { lora::unmerge(model); }) == changed);
  CHECK(same_bits(model.up.weight, W));

  Net other;
  lora::attach(other, {.rank = 2});
  lora::merge(other);
  other.up.weight.mutable_data()[0] = 0;
  CHECK(error_of<std::logic_error>([&] { other(ids); }) ==
        "lora: \"up\": the weight was changed while merged; unmerge() before that");
}

TEST_CASE("What is not finite is not merged", "[nn][lora]") {
  Net model;
  const auto adapters = lora::attach(model, {.rank = 2, .targets = {"up", "down"}});
  stir(model);
  adapters[1]->B.mutable_data()[0] = std::numeric_limits<real>::quiet_NaN();
  const Tensor W = model.up.weight.clone();
  CHECK(error_of<std::runtime_error>([&] { lora::merge(model); }) ==
        "lora: \"down\": the merged weight would not be finite");
  CHECK(same_bits(model.up.weight, W));
  CHECK(lora::unmerge(model) == 0);
}
