// What optimizers share; see optimizer.hpp.
#include <xgrad/optim/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <unordered_map>

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

void check_setting(const char* name, const char* what, double value) {
  require(value >= 0 && std::isfinite(value), name, ": ", what,
          " must be finite and at least 0, got ", value);
}

std::int64_t to_count(const std::string& key, real value) {
  require(value >= 0 && std::isfinite(value) && value == std::floor(value), "load_state_dict: \"",
          key, "\": a number of steps cannot be ", value);
  return static_cast<std::int64_t>(value);
}

}  // namespace

Optimizer::Optimizer(const char* name, const ParameterGroups& groups, double lr,
                     double weight_decay, std::vector<std::string> state_names)
    : name_(name), state_names_(std::move(state_names)) {
  check_setting(name, "lr", lr);
  check_setting(name, "weight_decay", weight_decay);
  std::unordered_map<const real*, std::size_t>
      known;  // by storage: a detached twin counts as the same
  for (const ParameterGroup& group : groups) {
    check_setting(name, "a group's lr", group.lr.value_or(lr));
    check_setting(name, "a group's weight_decay", group.weight_decay.value_or(weight_decay));
    for (const Tensor& x : group.parameters) {
      const std::size_t index = slots_.size();
      require(x.defined(), name, ": parameter ", index, " is undefined");
      const Shape& shape = x.shape();
      require(x.requires_grad(), name, ": parameter ", index, " ", shape,
              " does not require a gradient; call requires_grad_() or leave it out");
      require(x.is_leaf(), name, ": parameter ", index, " ", shape,
              " is the result of a recorded operation; only leaves can be optimized");
      const auto [first, is_new] = known.emplace(x.data(), index);
      require(is_new, name, ": parameters ", first->second, " and ", index, " ", shape,
              " are the same tensor");
      slots_.push_back({x, group.lr.value_or(lr), group.weight_decay.value_or(weight_decay)});
    }
  }
  require(!slots_.empty(), name, ": there are no parameters to optimize");
  for (Slot& slot : slots_)
    for (std::size_t i = 0; i < state_names_.size(); ++i)
      slot.state.push_back(zeros(slot.parameter.shape()));
}

void Optimizer::step() { step_from(0); }

void Optimizer::step_from(std::size_t first) {
  for (Slot& slot : std::span(slots_).subspan(first)) {
    if (!slot.parameter.grad().defined()) continue;
    ++slot.step;
    update(slot, slot.parameter.grad(), slot.lr * lr_factor_);
  }
  ++steps_;
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.zero_grad();
}

void Optimizer::forget(const Tensor& parameter, std::span<const std::int64_t> rows) {
  const auto slot = std::ranges::find_if(
      slots_, [&](const Slot& s) { return s.parameter.data() == parameter.data(); });
  require(slot != slots_.end(), "forget: this ", name_, " does not train that parameter of shape ",
          parameter.shape());
  const std::size_t count = parameter.ndim() == 0 ? 1 : parameter.size(0),
                    width = count == 0 ? 0 : parameter.size() / count;
  for (const std::int64_t row : rows)
    require(static_cast<std::size_t>(row) < count, "forget: row ", row, " is outside [0, ", count,
            ")");
  for (const Tensor& state : slot->state)
    require<ShapeError>(state.shape() == parameter.shape(), "forget: this ", name_,
                        " remembers numbers of shape ", state.shape(), " for a parameter of shape ",
                        parameter.shape(), ", which have other rows");
  const auto zero_rows = [&](Tensor x) {
    for (const std::int64_t row : rows)
      std::fill_n(x.mutable_data() + static_cast<std::size_t>(row) * width, width, real(0));
    return x;
  };
  for (const Tensor& state : slot->state) zero_rows(state);
  if (const Tensor& grad = slot->parameter.grad(); grad.defined())
    slot->parameter.set_grad(zero_rows(grad.clone()));  // others may share its numbers
}

void Optimizer::set_lr_factor(double factor) {
  check_setting("set_lr_factor", "factor", factor);
  lr_factor_ = factor;
}

std::vector<Tensor> Optimizer::parameters() const {
  std::vector<Tensor> all;
  for (const Slot& slot : slots_) all.push_back(slot.parameter);
  return all;
}

Optimizer::StateDict Optimizer::state_dict() const {
  StateDict dict{{"step", scalar(static_cast<real>(steps_))}};
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::string prefix = "state." + std::to_string(i) + '.';
    dict.emplace_back(prefix + "step", scalar(static_cast<real>(slots_[i].step)));
    for (std::size_t k = 0; k < slots_[i].state.size(); ++k)
      dict.emplace_back(prefix + state_names_[k], slots_[i].state[k]);
  }
  return dict;
}

void Optimizer::load_state_dict(const StateDict& saved) {
  std::unordered_map<std::string, Tensor> left;
  for (const auto& [key, value] : saved)
    require(left.emplace(key, value).second, "load_state_dict: \"", key, "\" comes twice");

  // First everything is checked, then everything is copied.
  std::vector<Tensor> values;  // in the order of state_dict()
  for (const auto& [key, here] : state_dict()) {
    const auto found = left.extract(key);
    require(!found.empty() && found.mapped().defined(), "load_state_dict: \"", key,
            "\" is missing");
    values.push_back(found.mapped());
    require<ShapeError>(values.back().shape() == here.shape(), "load_state_dict: \"", key,
                        "\": saved has ", values.back().shape(), ", ", name_, " has ",
                        here.shape());
    if (key == "step" || key.ends_with(".step")) to_count(key, values.back().item());
  }
  for (const auto& [key, value] : saved)
    require(!left.contains(key), "load_state_dict: \"", key, "\" is not part of this ", name_);

  auto next = values.begin();
  steps_ = to_count("step", (next++)->item());
  for (Slot& slot : slots_) {
    slot.step = to_count("step", (next++)->item());
    for (Tensor& state : slot.state) {
      const Tensor& value = *next++;
      if (value.data() != state.data())
        std::copy_n(value.data(), value.size(), state.mutable_data());
    }
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
