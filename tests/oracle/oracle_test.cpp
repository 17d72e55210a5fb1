// Oracle parity: layers, losses, optimizers and schedules against numbers that PyTorch computed in
// float64. The script beside this file wrote them; a row here and a case there have one name.
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <xgrad/core/tape.hpp>
#include <xgrad/models/mlp.hpp>
#include <xgrad/nn/activation.hpp>
#include <xgrad/nn/attention.hpp>
#include <xgrad/nn/checkpoint.hpp>
#include <xgrad/nn/conv.hpp>
#include <xgrad/nn/embedding.hpp>
#include <xgrad/nn/feedforward.hpp>
#include <xgrad/nn/loss.hpp>
#include <xgrad/nn/multihead.hpp>
#include <xgrad/nn/norm.hpp>
#include <xgrad/nn/pool.hpp>
#include <xgrad/nn/position.hpp>
#include <xgrad/nn/recurrent.hpp>
#include <xgrad/optim/adam.hpp>
#include <xgrad/optim/schedule.hpp>
#include <xgrad/optim/sgd.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

constexpr double tolerance = sizeof(real) == 8 ? 1e-10 : 2e-5;

using Tensors = std::map<std::string, Tensor>;

/// The cases of a group: fixtures/layers.safetensors holds "linear/in.x" as ["linear"]["in.x"].
std::map<std::string, Tensors> load_cases(const std::string& group) {
  std::map<std::string, Tensors> cases;
  for (const auto& [path, x] :
       load_state(XGRAD_SOURCE_DIR "/tests/oracle/fixtures/" + group + ".safetensors")) {
    const std::size_t slash = path.find('/');
    cases[path.substr(0, slash)][path.substr(slash + 1)] = x;
  }
  return cases;
}

/// Calls check(row, tensors) for each row, and finds rows without a case and cases without a row.
template <class Row, class Check>
void check_group(const std::string& group, const std::vector<Row>& rows, const Check& check) {
  const auto cases = load_cases(group);
  std::set<std::string> unmatched;
  for (const auto& [name, tensors] : cases) unmatched.insert(name);
  for (const Row& row : rows) {
    INFO(row.name);
    if (unmatched.erase(row.name) == 0)
      unmatched.insert(row.name);
    else
      check(row, cases.at(row.name));
  }
  CHECK(unmatched == std::set<std::string>{});
}

void check_near(const std::string& name, const Tensor& x, const Tensor& expected) {
  INFO(name);
  REQUIRE(x.defined());
  REQUIRE(x.shape() == expected.shape());
  for (std::size_t i = 0; i < x.size(); ++i) {
    INFO("element " << i);
    const double value = expected.data()[i];
    CHECK_THAT(x.data()[i], WithinRel(value, tolerance) || WithinAbs(value, tolerance));
  }
}

// ---- layers and losses

/// What a row takes from its case. Remembers all that it gave, to be compared after the backward
/// sweep.
class Case {
 public:
  explicit Case(const Tensors& tensors) : tensors_(tensors) {}

  /// A real input, which asks for a gradient if PyTorch computed one.
  Tensor in(const std::string& name = "x") {
    Tensor x = tensors_.at("in." + name).clone();
    if (tensors_.contains("grad." + name)) x.requires_grad_();
    return given_[name] = x;
  }
  Indices ids(const std::string& name = "x") const {
    const Tensor& x = tensors_.at("ids." + name);
    return xt::cast<std::int64_t>(x.array());
  }
  /// Gives a layer its parameters and buffers, which must have PyTorch's names.
  void load(Module& layer) {
    StateDict state;
    for (const auto& [name, x] : tensors_)
      for (const std::string kind : {"param.", "buffer."})
        if (name.starts_with(kind)) state.emplace_back(name.substr(kind.size()), x);
    layer.load_state_dict(state);
    for (const auto& [name, x] : layer.state_dict()) given_[name] = x;
  }

  void check(const Tensor& out) const {
    for (const auto& [name, expected] : tensors_) {
      const std::string part = name.substr(name.find('.') + 1);
      if (name == "out") check_near(name, out, expected);
      if (name.starts_with("grad.")) check_near(name, given_.at(part).grad(), expected);
      if (name.starts_with("after.")) check_near(name, given_.at(part), expected);
    }
  }

 private:
  const Tensors& tensors_;
  Tensors given_;
};

/// A case, and how its output is computed here.
struct Row {
  const char* name;
  std::function<Tensor(Case&)> output;
};

void check_gradients(const Row& row, const Tensors& tensors) {
  Case given(tensors);
  Tape tape;
  const Tensor out = row.output(given);
  tape.backward(sum(tensors.at("cotangent") * out));
  given.check(out);
}

/// A layer with the case's parameters, on the case's inputs.
template <class Layer, class Options>
auto layer(Options options, bool training = true) {
  return [=](Case& c) {
    Layer layer(options);
    layer.train(training);
    c.load(layer);
    return layer(c.in());
  };
}

CausalSelfAttentionOptions attention(std::size_t dim, std::size_t heads,
                                     std::shared_ptr<const Position> position = nullptr) {
  return {.dim = dim, .heads = heads, .position = std::move(position)};
}

const std::vector<Row> layers{
    {"linear", layer<Linear>(LinearOptions{.in = 4, .out = 3})},
    {"linear_no_bias", layer<Linear>(LinearOptions{.in = 4, .out = 3, .bias = false})},
    {"embedding",
     [](Case& c) {
       Embedding layer({.count = 6, .dim = 3});
       c.load(layer);
       return layer(c.ids());
     }},

    {"layer_norm", layer<LayerNorm>(LayerNormOptions{.dim = 5})},
    {"layer_norm_no_bias", layer<LayerNorm>(LayerNormOptions{.dim = 5, .eps = 0.1, .bias = false})},
    {"rms_norm", layer<RMSNorm>(RMSNormOptions{.dim = 5})},
    {"group_norm", layer<GroupNorm>(GroupNormOptions{.groups = 2, .channels = 4})},
    {"group_norm_plain", layer<GroupNorm>(GroupNormOptions{
                             .groups = 3, .channels = 6, .eps = 1e-2, .affine = false})},
    {"batch_norm_train",
     layer<BatchNorm>(BatchNormLayerOptions{.channels = 3, .momentum = 0.25})},
    {"batch_norm_train_image", layer<BatchNorm>(BatchNormLayerOptions{.channels = 3})},
    {"batch_norm_train_plain",
     layer<BatchNorm>(BatchNormLayerOptions{.channels = 3, .eps = 1e-2, .affine = false})},
    {"batch_norm_eval", layer<BatchNorm>(BatchNormLayerOptions{.channels = 3}, false)},

    {"dropout_eval", layer<Dropout>(0.5, false)},
    {"dropout_of_none", layer<Dropout>(0.0)},
    {"prelu", layer<PRelu>(PReluOptions{})},
    {"prelu_channels", layer<PRelu>(PReluOptions{.channels = 3})},

    {"feed_forward", layer<FeedForward>(FeedForwardOptions{.dim = 3})},
    {"swiglu", layer<SwiGlu>(FeedForwardOptions{.dim = 3, .hidden = 5, .bias = false})},
    {"mlp", layer<Mlp>(MlpOptions{.sizes = {3, 5, 4, 2},
                                  .activation = [](const Tensor& x) { return tanh(x); }})},

    {"attention", layer<CausalSelfAttention>(attention(4, 2))},
    {"attention_grouped",
     layer<CausalSelfAttention>(CausalSelfAttentionOptions{.dim = 8, .heads = 4, .kv_heads = 2})},
    {"attention_rope", layer<CausalSelfAttention>(attention(8, 2, std::make_shared<Rope>()))},
    {"attention_alibi", layer<CausalSelfAttention>(attention(4, 2, std::make_shared<Alibi>()))},
    {"multihead",
     [](Case& c) {
       MultiheadAttention attention({.dim = 4, .heads = 2});
       c.load(attention);
       const Tensor x = c.in();
       return attention(x, x, x);
     }},
    {"multihead_causal",
     [](Case& c) {
       MultiheadAttention attention({.dim = 4, .heads = 2, .bias = false});
       c.load(attention);
       const Tensor x = c.in();
       return attention(x, x, x, {.causal = true});
     }},
    {"multihead_padding",
     [](Case& c) {
       MultiheadAttention attention({.dim = 4, .heads = 2});
       c.load(attention);
       return attention(c.in("q"), c.in("k"), c.in("v"), {.key_padding = c.in("padding")});
     }},
    {"position_learned",
     [](Case& c) {
       LearnedPosition position({.length = 6, .dim = 4});
       c.load(position);
       return position.on_embedding(c.in(), 1);
     }},
    {"position_sinusoidal", [](Case& c) { return SinusoidalPosition().on_embedding(c.in(), 0); }},

    {"conv1d", layer<Conv1d>(ConvLayerOptions{.in = 2, .out = 3, .kernel = 3})},
    {"conv1d_options", layer<Conv1d>(ConvLayerOptions{.in = 4,
                                                      .out = 6,
                                                      .kernel = 3,
                                                      .stride = 2,
                                                      .padding = 2,
                                                      .dilation = 2,
                                                      .groups = 2,
                                                      .bias = false})},
    {"conv2d", layer<Conv2d>(ConvLayerOptions{.in = 2, .out = 3, .kernel = {3, 2}})},
    {"conv2d_options", layer<Conv2d>(ConvLayerOptions{.in = 4,
                                                      .out = 2,
                                                      .kernel = {2, 3},
                                                      .stride = {2, 1},
                                                      .padding = {0, 1},
                                                      .dilation = {1, 2},
                                                      .groups = 2})},
    {"conv_transpose1d",
     layer<ConvTranspose1d>(ConvTransposeLayerOptions{.in = 3, .out = 2, .kernel = 3})},
    {"conv_transpose1d_options",
     layer<ConvTranspose1d>(ConvTransposeLayerOptions{.in = 4,
                                                      .out = 2,
                                                      .kernel = 3,
                                                      .stride = 3,
                                                      .padding = 1,
                                                      .output_padding = 2,
                                                      .groups = 2,
                                                      .bias = false,
                                                      .dilation = 2})},
    {"conv_transpose2d",
     layer<ConvTranspose2d>(ConvTransposeLayerOptions{.in = 3, .out = 2, .kernel = {2, 3}})},
    {"conv_transpose2d_options",
     layer<ConvTranspose2d>(ConvTransposeLayerOptions{.in = 2,
                                                      .out = 4,
                                                      .kernel = {3, 2},
                                                      .stride = {2, 3},
                                                      .padding = {1, 0},
                                                      .output_padding = {1, 2},
                                                      .groups = 2})},

    {"max_pool1d", [](Case& c) { return MaxPool1d{.kernel = 2}(c.in()); }},
    {"max_pool2d",
     [](Case& c) {
       return MaxPool2d{.kernel = {3, 2},
                        .options = {.stride = {1, 2}, .padding = 1, .dilation = {2, 1}}}(c.in());
     }},
    {"avg_pool1d",
     [](Case& c) {
       return AvgPool1d{.kernel = 3, .options = {.stride = 2, .padding = 1}}(c.in());
     }},
    {"avg_pool2d",
     [](Case& c) {
       return AvgPool2d{.kernel = {3, 2},
                        .options = {.stride = 2, .padding = 1, .count_include_pad = false}}(c.in());
     }},

    {"gru_cell",
     [](Case& c) {
       GruCell cell({.in = 3, .hidden = 4});
       c.load(cell);
       return cell(c.in("x"), c.in("h"));
     }},
    {"gru_cell_plain",
     layer<GruCell>(RecurrentCellOptions{.in = 3, .hidden = 4, .bias = false})},
    {"lstm_cell",
     [](Case& c) {
       LstmCell cell({.in = 3, .hidden = 4});
       c.load(cell);
       const auto [hidden, memory] = cell(c.in("x"), {.h = c.in("h"), .c = c.in("c")});
       return stack({hidden, memory});
     }},
    {"lstm_cell_plain",
     [](Case& c) {
       LstmCell cell({.in = 3, .hidden = 4, .bias = false});
       c.load(cell);
       const auto [hidden, memory] = cell(c.in());
       return stack({hidden, memory});
     }},
};

const std::vector<Row> losses{
    {"mse_loss", [](Case& c) { return mse_loss(c.in("x"), c.in("y")); }},
    {"l1_loss", [](Case& c) { return l1_loss(c.in("x"), c.in("y")); }},
    {"cross_entropy", [](Case& c) { return cross_entropy(c.in("x"), c.ids("y")); }},
    {"cross_entropy_sequence", [](Case& c) { return cross_entropy(c.in("x"), c.ids("y")); }},
    {"cross_entropy_options",
     [](Case& c) {
       return cross_entropy(c.in("x"), c.ids("y"),
                            {.ignore_index = 2, .label_smoothing = real(0.125)});
     }},
    {"nll_loss", [](Case& c) { return nll_loss(log_softmax(c.in("x")), c.ids("y")); }},
    {"nll_loss_ignore", [](Case& c) { return nll_loss(log_softmax(c.in("x")), c.ids("y"), 2); }},
    {"huber_loss", [](Case& c) { return huber_loss(c.in("x"), c.in("y")); }},
    {"huber_loss_delta", [](Case& c) { return huber_loss(c.in("x"), c.in("y"), real(0.25)); }},
    {"bce_with_logits", [](Case& c) { return bce_with_logits(c.in("x"), c.in("y")); }},
    {"kl_div", [](Case& c) { return kl_div(log_softmax(c.in("x")), c.in("y")); }},
    {"kl_div_target", [](Case& c) { return kl_div(c.in("x"), c.in("y")); }},
    {"cosine_embedding_loss",
     [](Case& c) { return cosine_embedding_loss(c.in("x"), c.in("y"), c.ids("sign")); }},
    {"cosine_embedding_loss_margin",
     [](Case& c) {
       return cosine_embedding_loss(c.in("x"), c.in("y"), c.ids("sign"), real(-0.5));
     }},
    {"triplet_loss", [](Case& c) { return triplet_loss(c.in("x"), c.in("y"), c.in("z")); }},
    {"triplet_loss_options",
     [](Case& c) {
       return triplet_loss(c.in("x"), c.in("y"), c.in("z"), {.margin = real(0.25), .p = 3});
     }},
};

// ---- optimizers

/// An optimizer of two parameters, and the settings of the groups in which they are.
struct OptimizerRow {
  const char* name;
  std::function<std::unique_ptr<Optimizer>(const ParameterGroups&)> make;
  ParameterGroup first = {}, second = {};
  Schedule schedule = schedule::constant();
};

template <class Kind, class Options>
auto optimizer(Options options) {
  return [=](const ParameterGroups& groups) { return std::make_unique<Kind>(groups, options); };
}
auto sgd(SGDOptions options) { return optimizer<SGD>(options); }
auto adam(AdamOptions options) { return optimizer<Adam>(options); }
auto adamw(AdamWOptions options) { return optimizer<AdamW>(options); }

const std::vector<OptimizerRow> optimizers{
    {"sgd", sgd({.lr = 0.1})},
    {"sgd_weight_decay", sgd({.lr = 0.1, .weight_decay = 0.1})},
    {"sgd_momentum", sgd({.lr = 0.1, .momentum = 0.9})},
    {"sgd_dampening", sgd({.lr = 0.1, .momentum = 0.9, .dampening = 0.5, .weight_decay = 0.1})},
    {"sgd_nesterov", sgd({.lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1})},
    {"sgd_idle", sgd({.lr = 0.1, .momentum = 0.9})},
    {"sgd_groups", sgd({.lr = 0.1, .momentum = 0.5}), {.lr = 0.01}, {.weight_decay = 0.5}},
    {"sgd_schedule", sgd({.lr = 0.1}), {}, {}, schedule::step_decay({.every = 3, .gamma = 0.5})},
    {"adam", adam({})},
    {"adam_idle", adam({.lr = 0.1})},
    {"adam_options", adam({.lr = 0.1, .betas = {0.8, 0.95}, .eps = 1e-2, .weight_decay = 0.1})},
    {"adamw", adamw({})},
    {"adamw_options", adamw({.lr = 0.1, .betas = {0.8, 0.95}, .eps = 1e-2, .weight_decay = 0.1})},
    {"adamw_groups", adamw({.lr = 0.1}), {.weight_decay = 0.5}, {.lr = 0.01, .weight_decay = 0.0}},
};

/// Row `step` of what was stored for parameter i.
Tensor at_step(const Tensors& tensors, const std::string& name, std::size_t i, std::int64_t step) {
  const Tensor& all = tensors.at(name + "." + std::to_string(i));
  return squeeze(slice(all, 0, step, step + 1), 0);
}

void check_steps(const OptimizerRow& row, const Tensors& tensors) {
  std::vector<ParameterGroup> groups{row.first, row.second};
  for (std::size_t i = 0; i < 2; ++i)
    groups[i].parameters = {tensors.at("param." + std::to_string(i)).clone().requires_grad_()};
  const auto optimizer = row.make(groups);
  const std::vector<Tensor> parameters = optimizer->parameters();
  for (std::int64_t step = 0; step < 10; ++step) {
    INFO("step " << step);
    for (std::size_t i = 0; i < 2; ++i) {
      const Tensor gradient = at_step(tensors, "gradient", i, step);
      Tensor(parameters[i]).set_grad(std::isnan(gradient.data()[0]) ? Tensor() : gradient);
    }
    optimizer->set_lr_factor(row.schedule(step));
    optimizer->step();
    for (std::size_t i = 0; i < 2; ++i)
      check_near("parameter", parameters[i], at_step(tensors, "path", i, step));
  }
  for (const auto& [name, x] : optimizer->state_dict())
    if (tensors.contains(name)) check_near(name, x, tensors.at(name));
}

// ---- schedules

struct ScheduleRow {
  const char* name;
  Schedule factor;
};

const std::vector<ScheduleRow> schedules{
    {"constant", schedule::constant()},
    {"step_decay", schedule::step_decay({.every = 3, .gamma = 0.5})},
    {"linear", schedule::linear({.steps = 10, .end = 0.25})},
    {"cosine", schedule::cosine({.steps = 10, .end = 0.125})},
    {"constant_warmup", schedule::constant({.warmup = 4})},
    {"step_decay_warmup", schedule::step_decay({.warmup = 4, .every = 3, .gamma = 0.5})},
    {"linear_warmup", schedule::linear({.warmup = 4, .steps = 12, .end = 0.25})},
    {"cosine_warmup", schedule::cosine({.warmup = 4, .steps = 12, .end = 0.125})},
};

void check_factors(const ScheduleRow& row, const Tensors& tensors) {
  const Tensor& expected = tensors.at("factor");
  std::vector<real> factors;
  for (std::size_t step = 0; step < expected.size(); ++step)
    factors.push_back(static_cast<real>(row.factor(static_cast<std::int64_t>(step))));
  check_near("factor", tensor(factors, expected.shape()), expected);
}

}  // namespace

TEST_CASE("layers give PyTorch's outputs, gradients and running statistics", "[oracle][nn]") {
  check_group("layers", layers, check_gradients);
}

TEST_CASE("losses give PyTorch's values and gradients", "[oracle][nn]") {
  check_group("losses", losses, check_gradients);
}

TEST_CASE("optimizers take PyTorch's ten steps and end in its state", "[oracle][optim]") {
  check_group("optimizers", optimizers, check_steps);
}

TEST_CASE("schedules follow PyTorch's", "[oracle][optim]") {
  check_group("schedules", schedules, check_factors);
}
