// The feed-forward halves of a transformer block; see feedforward.hpp.
#include <xgrad/nn/feedforward.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

FeedForwardOptions with_hidden(FeedForwardOptions options, std::size_t by_default) {
  if (options.hidden == 0) options.hidden = by_default;
  return options;
}

LinearOptions widen(const FeedForwardOptions& o) {
  return {.in = o.dim, .out = o.hidden, .bias = o.bias};
}
LinearOptions narrow(const FeedForwardOptions& o) {
  return {.in = o.hidden, .out = o.dim, .bias = o.bias};
}

FeedForwardOptions gelu_sizes(FeedForwardOptions o) { return with_hidden(o, 4 * o.dim); }
FeedForwardOptions swiglu_sizes(FeedForwardOptions o) {
  return with_hidden(o, (8 * o.dim / 3 + 7) / 8 * 8);
}

}  // namespace

FeedForward::FeedForward(Module* owner, std::string name, FeedForwardOptions o)
    : Module(owner, std::move(name)),
      c_fc(this, "c_fc", widen(gelu_sizes(o))),
      c_proj(this, "c_proj", narrow(gelu_sizes(o))),
      dropout(this, "dropout", o.dropout) {}

SwiGlu::SwiGlu(Module* owner, std::string name, FeedForwardOptions o)
    : Module(owner, std::move(name)),
      gate_proj(this, "gate_proj", widen(swiglu_sizes(o))),
      up_proj(this, "up_proj", widen(swiglu_sizes(o))),
      down_proj(this, "down_proj", narrow(swiglu_sizes(o))),
      dropout(this, "dropout", o.dropout) {}

}  // namespace xgrad::inline XGRAD_PRECISION
