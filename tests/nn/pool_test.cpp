// Pooling as steps of a network; the operations are tested in core.
#include <xgrad/nn/pool.hpp>

#include <algorithm>

#include <xgrad/nn/conv.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::equal(a.data(), a.data() + a.size(), b.data());
}

}  // namespace

TEST_CASE("pooling layers are the operations with their settings", "[nn][pool]") {
  Rng rng(1);
  const Tensor x = randn({2, 3, 6, 8}, rng);
  CHECK(same(MaxPool1d{.kernel = 3}(x), max_pool1d(x, 3)));
  CHECK(same(MaxPool2d{.kernel = {2, 3}, .options = {.stride = 1, .padding = 1}}(x),
             max_pool2d(x, {2, 3}, {.stride = 1, .padding = 1})));
  CHECK(same(AvgPool1d{.kernel = 2}(x), avg_pool1d(x, 2)));
  CHECK(same(AvgPool2d{.kernel = 3, .options = {.padding = 1, .count_include_pad = false}}(x),
             avg_pool2d(x, 3, {.padding = 1, .count_include_pad = false})));
}

TEST_CASE("pooling layers are steps of a Sequential and count in its names", "[nn][pool]") {
  Sequential net;
  net.emplace<Conv2d>(ConvLayerOptions{.in = 1, .out = 4, .kernel = 3, .padding = 1});
  net.add(MaxPool2d{.kernel = 2});
  net.emplace<Conv2d>(ConvLayerOptions{.in = 4, .out = 2, .kernel = 3, .padding = 1});
  net.add(AvgPool2d{.kernel = {4, 4}});
  CHECK(net(ones({5, 1, 8, 8})).shape() == Shape{5, 2, 1, 1});
  CHECK(net.named_parameters()[2].first == "2.weight");
}
