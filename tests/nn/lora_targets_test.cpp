// Which names the options mean. The expected lists are what PEFT's check_target_module_exists and
// get_pattern_key say.
#include <xgrad/nn/lora/targets.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

const std::vector<std::string> names = {"model.layers.3.q",
                                        "layers.3.q",
                                        "layers.13.q",
                                        "model.layers.13.self_attn.q_proj",
                                        "proj",
                                        "my.proj",
                                        "q_proj",
                                        "x.q_proj",
                                        "a.layers.3.layers.4.q",
                                        "h.0.attn.c_attn",
                                        "model.h.1.attn.c_attn",
                                        "head",
                                        "head.dense",
                                        "x.head.dense",
                                        "xhead.dense",
                                        "lm_head"};

using List = std::vector<std::string>;

List named_by(const lora::Options& options) {
  List result;
  for (const std::string& name : names)
    if (lora::is_target(options, name)) result.push_back(name);
  return result;
}

}  // namespace

TEST_CASE("A list names modules by the end of their names, from a dot on", "[nn][lora]") {
  CHECK(named_by({.targets = {"proj"}}) == List{"proj", "my.proj"});
  CHECK(named_by({.targets = {"q", "head.dense"}}) == List{"model.layers.3.q", "layers.3.q",
                                                           "layers.13.q", "a.layers.3.layers.4.q",
                                                           "head.dense", "x.head.dense"});
}

TEST_CASE("A string is a regular expression for the whole name", "[nn][lora]") {
  CHECK(named_by({.targets = R"(.*layers\.\d+\.q)"}) ==
        List{"model.layers.3.q", "layers.3.q", "layers.13.q", "a.layers.3.layers.4.q"});
  CHECK(named_by({.targets = "q_proj"}) == List{"q_proj"});
}

TEST_CASE("Layer numbers count behind a container with a dot before it, but not for whole names",
          "[nn][lora]") {
  CHECK(named_by({.targets = {"q", "q_proj"}, .layers_to_transform = {3}}) ==
        List{"model.layers.3.q", "q_proj", "a.layers.3.layers.4.q"});
  CHECK(named_by({.targets = {"q", "layers.3.q"}, .layers_to_transform = {13, 4}}) ==
        List{"layers.3.q"});
  CHECK(named_by({.targets = {"q", "q_proj"}, .layers_to_transform = {13}}) ==
        List{"model.layers.13.self_attn.q_proj", "q_proj"});
  CHECK(
      named_by(
          {.targets = {"q", "c_attn"}, .layers_to_transform = {3}, .layers_pattern = {"layers"}}) ==
      List{"model.layers.3.q", "a.layers.3.layers.4.q"});
  CHECK(named_by({.targets = {"q", "c_attn"},
                  .layers_to_transform = {1, 13},
                  .layers_pattern = {"h", "layers"}}) == List{"model.h.1.attn.c_attn"});
}

TEST_CASE("Excluded modules, and those that are trained in full, are no targets", "[nn][lora]") {
  CHECK(named_by({.targets = ".*proj.*|.*q|head.*", .exclude = {"q", "head"}}) ==
        List{"model.layers.13.self_attn.q_proj", "proj", "my.proj", "q_proj", "x.q_proj",
             "head.dense"});
  CHECK(named_by({.targets = ".*q", .exclude = "layers.*"}) ==
        List{"model.layers.3.q", "a.layers.3.layers.4.q"});
  CHECK(named_by({.targets = ".*head.*", .modules_to_save = {"head"}}) ==
        List{"xhead.dense", "lm_head"});
  CHECK(named_by({.targets = {"dense", "q"}, .modules_to_save = {"layers.3", "x.head"}}) ==
        List{"layers.13.q", "head.dense", "xhead.dense"});
}

TEST_CASE("The first pattern that matches decides about rank and alpha", "[nn][lora]") {
  const lora::Options options{
      .rank = 8,
      .alpha = 1,
      .rank_pattern = {{"q", 1}, {"layers.13.*", 2}, {"13.self_attn.q_proj", 3}},
      .alpha_pattern = {{"layers", 5}, {"proj", 6}, {R"(model\.h\.1.*)", 7}}};
  const std::size_t ranks[] = {1, 1, 1, 2, 8, 8, 8, 8, 1, 8, 8, 8, 8, 8, 8, 8};
  const double alphas[] = {1, 1, 1, 1, 6, 6, 1, 1, 1, 1, 7, 1, 1, 1, 1, 1};
  for (std::size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    CHECK(lora::rank_of(options, names[i]) == ranks[i]);
    CHECK(lora::alpha_of(options, names[i]) == alphas[i]);
  }
}
