// Adapters in PEFT's files: read what PEFT wrote, and write what reads the same. What PEFT makes of
// the files written here is checked by oracle/make_peft_fixtures.py.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include <xgrad/core/files.hpp>
#include <xgrad/nn/checkpoint.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/linear.hpp>
#include <xgrad/nn/lora.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

struct Block : Module {
  using Module::Module;
  Linear up{this, "up", {.in = 6, .out = 5}};
  Linear down{this, "down", {.in = 5, .out = 6, .bias = false}};
};

/// The model of make_peft_fixtures.py, with its weights.
struct Net : Module {
  Net() {
    h.emplace();
    h.emplace();
    load(*this, XGRAD_SOURCE_DIR "/tests/oracle/fixtures/peft/base.safetensors");
  }
  Tensor operator()(const Indices& ids) const {
    Tensor x = emb(ids);
    for (std::size_t i = 0; i < 2; ++i) x = x + h[i].down(tanh(h[i].up(x)));
    return head(x);
  }
  Embedding emb{this, "emb", {.count = 7, .dim = 6}};
  ModuleList<Block> h{this, "h"};
  Linear head{this, "head", {.in = 6, .out = 4}};
};

const Indices ids{{1, 4, 2}, {6, 0, 1}};
const std::string fixtures = XGRAD_SOURCE_DIR "/tests/oracle/fixtures/peft/";
constexpr bool in_double = sizeof(real) == 8;

real distance(const Tensor& a, const Tensor& b) { return (max(abs(a - b)) / max(abs(b))).item(); }

/// A folder of its own, gone at the end; or $XGRAD_PEFT_OUT, which stays, for PEFT to read.
struct Folder {
  Folder() {
    const char* given = std::getenv("XGRAD_PEFT_OUT");
    keep = given != nullptr;
    path = given ? given : (std::filesystem::temp_directory_path() / "xgrad_peft_test").string();
    if (in_double) path += "64";
    if (!keep) std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() {
    if (!keep) std::filesystem::remove_all(path);
  }
  bool keep = false;
  std::string path;
};

void move(Module& model, std::uint64_t seed) {
  Rng rng(seed);
  for (Tensor& parameter : model.trainable_parameters())
    parameter.mutable_array() += (randn(parameter.shape(), rng) * real(0.3)).array();
}

void write(const std::string& path, const std::string& text) { write_file(path, text); }

}  // namespace

TEST_CASE("What PEFT wrote computes here what it computed there", "[nn][lora][oracle]") {
  StateDict outputs = load_state(fixtures + "outputs.safetensors");
  REQUIRE(outputs.size() == 2);
  for (const auto& [name, expected] : outputs) {
    INFO(name);
    Net model;
    const Tensor before = model(ids);
    const auto adapters = lora::load(model, fixtures + name);
    CHECK(adapters.size() == (name == "lora" ? 3 : 4));
    CHECK(adapters.back()->name == "default");
    model.eval();
    CHECK(distance(model(ids), expected) < (in_double ? 1e-13 : 1e-5));
    CHECK(distance(before, expected) > 0.01);
    lora::merge(model);
    CHECK(distance(model(ids), expected) < (in_double ? 1e-13 : 1e-5));
  }
}

TEST_CASE("Adapters are saved in PEFT's layout and come back", "[nn][lora][oracle]") {
  const Folder folder;
  StateDict outputs;
  const auto round_trip = [&](const std::string& name, Net& model) {
    INFO(name);
    model.eval();
    const Tensor expected = model(ids);
    outputs.emplace_back(name, expected);
    lora::save(model, folder.path + '/' + name);
    Net again;
    lora::load(again, folder.path + '/' + name);
    again.eval();
    CHECK(distance(again(ids), expected) < (in_double ? 1e-13 : 1e-5));
  };
  for (const char* name : {"lora", "dora"}) {
    Net model;
    lora::load(model, fixtures + name);
    round_trip(name, model);
    // The same tensors under the same names as in PEFT's file.
    const std::string file = "/adapter_model.safetensors";
    const StateDict theirs = load_state(fixtures + name + file),
                    ours = load_state(folder.path + '/' + name + file);
    REQUIRE(ours.size() == theirs.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      CHECK(ours[i].first == theirs[i].first);
      CHECK(max(abs(ours[i].second - theirs[i].second)).item() == 0);
    }
  }
  {
    Net model;
    lora::attach(model, {.rank = 3,
                         .alpha = 2.5,
                         .rank_stabilized = true,
                         .exclude = {"head"},
                         .rank_pattern = {{"1.up", 2}, {R"(h\.1\.down)", 1}}});
    move(model, 1);
    round_trip("all_linear", model);
  }
  for (const bool stabilized : {false, true})
    for (const lora::Reference mode : {lora::Reference::keep, lora::Reference::fold}) {
      Net model;
      const auto adapters = lora::attach(model, {.rank = 3,
                                                 .alpha = 5,
                                                 .rank_stabilized = stabilized,
                                                 .targets = {"up", "head", "emb"},
                                                 .rank_pattern = {{"head", 2}},
                                                 .alpha_pattern = {{"0.up", 4}}});
      Rng rng(4);
      for (lora::Adapter* adapter : adapters)
        if (adapter->layer != "h.1.up")
          adapter->start_from(randn(adapter->A.shape(), rng), randn(adapter->B.shape(), rng), mode);
      move(model, 2);
      round_trip(std::string(mode == lora::Reference::keep ? "kept" : "folded") +
                     (stabilized ? "_rs" : ""),
                 model);
    }
  {
    Net model;
    auto* adapter = lora::attach(model, {.rank = 2, .dora = true, .targets = {"0.down"}}).front();
    Rng rng(6);
    adapter->start_from(randn({2, 5}, rng), randn({6, 2}, rng), lora::Reference::fold);
    move(model, 3);
    round_trip("folded_dora", model);
  }
  save_state(folder.path + "/outputs.safetensors", outputs);
}

TEST_CASE("A converted adapter has twice the rank and the same scale", "[nn][lora]") {
  // E1 of the notes: W and the update are 4 -> 3, s = 2; A0 = A/2-like factors of small integers.
  struct One : Module {
    Linear fc{this, "fc", {.in = 4, .out = 3, .bias = false}};
  } model;
  const Folder folder;
  auto* adapter = lora::attach(model, {.rank = 2, .alpha = 4}).front();
  adapter->start_from(tensor({.5, 0, .5, 0, .5, .5, 0, -.5}, {2, 4}),
                      tensor({.5, 0, 0, .5, .5, -.5}, {3, 2}), lora::Reference::keep);
  std::copy_n(tensor({1, 2, 0, 1, 0, 1, -1, 1}).data(), 8, adapter->A.mutable_data());
  std::copy_n(tensor({1, -1, 0, 1, 2, 0}).data(), 6, adapter->B.mutable_data());
  const Tensor update = adapter->update();
  lora::save(model, folder.path + "/one");
  One other;
  auto* loaded = lora::load(other, folder.path + "/one").front();
  CHECK(loaded->rank == 4);
  CHECK(loaded->alpha == 8);
  CHECK(loaded->scale() == 2);
  CHECK(loaded->reference() == nullptr);
  CHECK(max(abs(loaded->update() - update)).item() == 0);
}

TEST_CASE("The settings are written as PEFT spells them", "[nn][lora]") {
  const Folder folder;
  Net model;
  lora::attach(model, {.rank = 2, .alpha = 16, .targets = {"up", "down"}, .name = "b"});
  lora::save(model, folder.path, "b");
  CHECK(read_file(folder.path + "/b/adapter_config.json") == R"({
  "alpha_pattern": {},
  "auto_mapping": null,
  "base_model_name_or_path": null,
  "bias": "none",
  "fan_in_fan_out": false,
  "inference_mode": true,
  "init_lora_weights": true,
  "layers_pattern": null,
  "layers_to_transform": null,
  "lora_alpha": 16,
  "lora_dropout": 0.0,
  "modules_to_save": null,
  "peft_type": "LORA",
  "r": 2,
  "rank_pattern": {},
  "revision": null,
  "target_modules": [
    "up",
    "down"
  ],
  "task_type": null,
  "use_dora": false,
  "use_rslora": false
}
)");
  CHECK(error_of<std::invalid_argument>([&] { lora::save(model, folder.path); }) ==
        "lora: no adapter \"default\" to save");
}

TEST_CASE("What cannot be written leaves the old files as they were", "[nn][lora]") {
  const Folder folder;
  Net model;
  lora::attach(model, {.rank = 2, .targets = {"1.up"}});
  const std::string here = folder.path + "/held", weights = here + "/adapter_model.safetensors";
  lora::save(model, here);
  const std::string settings = read_file(here + "/adapter_config.json");
  std::filesystem::remove(weights);
  std::filesystem::create_directory(weights);  // where no file can be
  lora::detach(model);
  lora::attach(model, {.rank = 3, .targets = {"1.up"}});
  CHECK_THROWS_AS(lora::save(model, here), std::runtime_error);
  CHECK(read_file(here + "/adapter_config.json") == settings);
  CHECK(std::distance(std::filesystem::directory_iterator(here),
                      std::filesystem::directory_iterator()) == 2);  // and no temporary
}

TEST_CASE("Every option comes back from its file", "[nn][lora]") {
  const Folder folder;
  struct Deep : Module {
    Net model_{};
    Deep() { adopt("model", model_); }
  } model;
  const lora::Options options{.rank = 3,
                              .alpha = 2.5,
                              .rank_stabilized = true,
                              .dropout = 0.125,
                              .targets = {"up", "down"},
                              .exclude = {"0.down"},
                              .modules_to_save = {"head"},
                              .layers_to_transform = {0, 1},
                              .layers_pattern = {"h", "blocks"},
                              .rank_pattern = {{"z", 7}, {"up", 2}, {"a", 1}},
                              .alpha_pattern = {{"1.up", 0.5}},
                              .bias = lora::Bias::all};
  lora::attach(model, options);
  lora::save(model, folder.path + "/deep");
  Deep other;
  const lora::Options o = *lora::load(other, folder.path + "/deep").front()->options;
  CHECK(o.rank == 3);
  CHECK(o.alpha == 2.5);
  CHECK(o.rank_stabilized);
  CHECK(o.dropout == 0.125);
  CHECK(o.targets.list == options.targets.list);
  CHECK(o.exclude.list == options.exclude.list);
  CHECK(o.modules_to_save == options.modules_to_save);
  CHECK(o.layers_to_transform == options.layers_to_transform);
  CHECK(o.layers_pattern == options.layers_pattern);
  CHECK(o.rank_pattern == options.rank_pattern);
  CHECK(o.alpha_pattern == options.alpha_pattern);
  CHECK(o.bias == lora::Bias::all);
  CHECK_FALSE(o.dora);
  CHECK(lora::adapters(other).size() == lora::adapters(model).size());
}

TEST_CASE("Files that do not fit are refused by layer, and nothing changes", "[nn][lora]") {
  const Folder folder;
  Net model;
  lora::attach(model, {.rank = 2, .targets = {"up"}});
  const std::string here = folder.path + "/bad", config = here + "/adapter_config.json",
                    weights = here + "/adapter_model.safetensors";
  lora::save(model, here);
  const StateDict good = load_state(weights);
  const std::string settings = read_file(config);
  Net other;
  const auto error = [&](const std::string& file) {
    const std::string text = error_of<std::runtime_error>([&] { lora::load(other, here); });
    const std::string start = "load \"" + file + "\": ";
    REQUIRE(text.substr(0, start.size()) == start);
    CHECK(lora::adapters(other).empty());
    return text.substr(start.size());
  };
  const auto with = [&](std::string from, const std::string& to) {
    std::string text = settings;
    REQUIRE(text.find(from) != text.npos);
    write(config, text.replace(text.find(from), from.size(), to));
  };
  const auto with_key = [&](const std::string& key, const std::string& value) {
    with("\"peft_type\"", "\"" + key + "\": " + value + ", \"peft_type\"");
    return error(config);
  };

  StateDict state = good;
  state[0].second = zeros({2, 9});
  save_state(weights, state);
  CHECK(error(weights) ==
        "layer \"h.0.up\": \"base_model.model.h.0.up.lora_A.weight\": file has (2, 9), model needs "
        "(2, 6)");
  state = good;
  state[3].first = "base_model.model.h.1.up.lora_b.weight";
  save_state(weights, state);
  CHECK(error(weights) ==
        "layer \"h.1.up\": \"base_model.model.h.1.up.lora_B.weight\" (5, 2) is missing from the "
        "file");
  state = good;
  state.emplace_back("base_model.model.h.2.up.lora_A.weight", zeros({2, 6}));
  save_state(weights, state);
  CHECK(error(weights) ==
        "\"base_model.model.h.2.up.lora_A.weight\" (2, 6) belongs to no layer that the settings "
        "name");
  state = good;
  state.emplace_back("base_model.model.h.1.up.lora_A.default.weight", zeros({2, 6}));
  save_state(weights, state);
  CHECK(error(weights) == "\"base_model.model.h.1.up.lora_A.weight\" is there twice");

  save_state(weights, good);
  with("\"r\": 2", "\"r\": 3");
  CHECK(error(weights) ==
        "layer \"h.0.up\": \"base_model.model.h.0.up.lora_A.weight\": file has (2, 6), model needs "
        "(3, 6)");
  with("\"r\": 2,", "");
  CHECK(error(config) == "r is missing");
  with("\"lora_alpha\": 8,", "");
  CHECK(error(config) == "lora_alpha is missing");
  with("\"r\": 2", "\"r\": 1.5");
  CHECK(error(config) == "r: 1.5 is no count");
  with("\"r\": 2", "\"r\": -2");
  CHECK(error(config) == "r: -2 is no count");
  with("\"lora_alpha\": 8", "\"lora_alpha\": \"8\"");
  CHECK(error(config) == "lora_alpha: \"8\" is no number");
  with("\"LORA\"", "\"IA3\"");
  CHECK(error(config) == "peft_type is \"IA3\", expected \"LORA\"");
  with("\"bias\": \"none\"", "\"bias\": \"some\"");
  CHECK(error(config) == "bias: \"some\" is unknown");
  with("\"use_dora\": false", "\"use_dora\": 1");
  CHECK(error(config) == "use_dora: 1 is neither true nor false");
  with("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"");
  CHECK(error(config) ==
        "init_lora_weights: \"pissa\" is not supported, since it changes the base weight; convert "
        "the adapter first");
  CHECK(with_key("lora_bias", "true") == "lora_bias: true is not supported");
  CHECK(with_key("layer_replication", "[[0, 4]]") == "layer_replication: [[0,4]] is not supported");
  CHECK(with_key("trainable_token_indices", "[1]") ==
        "trainable_token_indices: [1] is not supported");
  write(config, "[]");
  CHECK(error(config) == "the file is not a JSON object");
  write(config, settings.substr(0, 40));
  CHECK(error(config) == "the file is not a JSON object");

  // Defaults of settings that are not implemented, unknown keys, and names as they are in memory.
  with("\"peft_type\"",
       "\"lora_bias\": false, \"loftq_config\": {}, \"news\": 3, \"eva_config\": null, "
       "\"peft_type\"");
  state = good;
  state[3].first = "base_model.model.h.1.up.lora_B.default.weight";
  save_state(weights, state);
  CHECK(lora::load(other, here).size() == 2);
  CHECK(error_of<std::invalid_argument>([&] { lora::load(other, here); }) ==
        "lora: \"h.0.up\" has an adapter \"default\" already");
}
