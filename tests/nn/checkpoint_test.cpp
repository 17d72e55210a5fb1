// Checkpoints: a model through a file and back, other dtypes, and the errors.
#include <xgrad/nn/checkpoint.hpp>

#include <unistd.h>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <xgrad/core/safetensors.hpp>
#include <xgrad/nn/linear.hpp>

#include "catch.hpp"
#include "error_of.hpp"

using namespace xgrad;

namespace {

struct TemporaryPath {
  TemporaryPath() {
    static int serial = 0;
    const auto name =
        "xgrad-checkpoint-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
    path = (std::filesystem::temp_directory_path() / (name + ".safetensors")).string();
  }
  ~TemporaryPath() { std::filesystem::remove(path); }
  std::string path;
};

struct Net : Module {
  using Module::Module;
  Linear up{this, "up", {.in = 3, .out = 4}};
  StateBuffer steps{this, "steps", zeros({})};
};

std::vector<real> values(const Module& module) {
  std::vector<real> all;
  for (const auto& [name, tensor] : module.state_dict())
    all.insert(all.end(), tensor.data(), tensor.data() + tensor.size());
  return all;
}

template <class T>
SavedTensor saved(const char* dtype, std::vector<std::size_t> shape,
                  const std::vector<T>& numbers) {
  return {dtype, std::move(shape), std::as_bytes(std::span(numbers))};
}

}  // namespace

TEST_CASE("A model comes back from its file bit for bit", "[nn][checkpoint]") {
  const TemporaryPath file;
  Net net(1), other(2);
  net.steps.mutable_data()[0] = 12;
  save(net, file.path);
  CHECK(values(net) != values(other));
  load(other, file.path);
  CHECK(values(net) == values(other));

  const Safetensors contents = load_safetensors(file.path);
  CHECK(contents.metadata.at("format") == "pt");
  CHECK(contents.tensors.at("up.weight").dtype == kRealDtype);
  CHECK(contents.tensors.at("steps").shape.empty());
}

TEST_CASE("A state dict comes back with its names and metadata", "[nn][checkpoint]") {
  const TemporaryPath file;
  save_state(file.path, {{"b", tensor({1, 2})}, {"a", scalar(3)}, {"empty", zeros({0, 2})}},
             {{"step", "7"}});
  const StateDict state = load_state(file.path);
  REQUIRE(state.size() == 3);
  CHECK(state[0].first == "a");
  CHECK(state[0].second.item() == 3);
  CHECK(state[1].first == "b");
  CHECK(state[1].second.data()[1] == 2);
  CHECK(state[2].second.shape() == Shape{0, 2});
  CHECK(load_safetensors(file.path).metadata.at("step") == "7");
}

TEST_CASE("Files of other float types are converted", "[nn][checkpoint]") {
  const TemporaryPath file;
  const std::vector<std::uint16_t> halves{
      0x3C00, 0xC000, 0x3555, 0x0001, 0x3800, 0x4248,   // 1 -2 .333 2^-24 .5 3.14
      0x0000, 0x8000, 0x7BFF, 0x3C01, 0xBC00, 0x4000};  // 0 -0 65504 1.001 -1 2
  const std::vector<std::uint16_t> brains{0x3F80, 0xC000, 0x4049, 0x3E80};  // 1 -2 3.14 .25
  const std::vector<double> doubles{0.1};
  save_safetensors(file.path, {.tensors = {{"up.weight", saved("F16", {4, 3}, halves)},
                                           {"up.bias", saved("BF16", {4}, brains)},
                                           {"steps", saved("F64", {}, doubles)}}});
  Net net;
  load(net, file.path);
  CHECK(net.up.weight.data()[1] == -2);
  CHECK(net.up.weight.data()[2] == real(0.333251953125));
  CHECK(net.up.weight.data()[3] == real(0x1p-24));
  CHECK(net.up.weight.data()[8] == 65504);
  CHECK(net.up.bias.data()[2] == real(3.140625));
  CHECK(net.up.bias.data()[3] == real(0.25));
  CHECK(net.steps.item() == real(0.1));
}

TEST_CASE("A file that does not fit the model is named, and the model stays as it was",
          "[nn][checkpoint]") {
  const TemporaryPath file;
  Net net;
  const std::vector<real> before = values(net);
  const std::string where = "  (" + file.path + ")";
  const auto text = [&](const StateDict& state) {
    save_state(file.path, state);
    const std::string message = error_of<std::invalid_argument>([&] { load(net, file.path); });
    CHECK(values(net) == before);
    return message;
  };
  CHECK(text({{"steps", zeros({})}, {"up.weight", zeros({4, 3})}}) ==
        "load: \"up.bias\" (4,) is missing from the file" + where);
  CHECK(text({{"steps", zeros({})}, {"up.weight", zeros({3, 4})}, {"up.bias", zeros({4})}}) ==
        "load: \"up.weight\": file has (3, 4), model has (4, 3)" + where);
  CHECK(text({{"steps", zeros({})},
              {"up.weight", zeros({4, 3})},
              {"up.bias", zeros({4})},
              {"up.gain", zeros({4})}}) ==
        "load: the file has \"up.gain\" (4,), the model does not" + where);
}

TEST_CASE("A file that is missing or damaged throws a runtime_error that names it",
          "[nn][checkpoint]") {
  const TemporaryPath file;
  Net net;
  CHECK_THROWS_AS(load(net, file.path), std::runtime_error);
  save(net, file.path);
  std::filesystem::resize_file(file.path, std::filesystem::file_size(file.path) - 1);
  const std::string text = error_of<std::runtime_error>([&] { load(net, file.path); });
  CHECK(text.starts_with("load \"" + file.path + "\": "));
}
