// Optimizer: what all optimizers share, which is all but the formula: parameters in groups,
// learning rates, counting, saving. The formulas are in sgd.hpp and adam.hpp.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Parameters that are treated alike. What is left unset is taken from the optimizer's own options.
struct ParameterGroup {
  std::vector<Tensor> parameters = {};
  std::optional<double> lr = {};
  std::optional<double> weight_decay = {};
};

/// What an optimizer is given: parameters or groups of them,
///
///     SGD(model.parameters())
///     SGD({w, b}, {.lr = 0.1})
///     AdamW({{.parameters = matrices}, {.parameters = biases, .weight_decay = 0}}, {.lr = 3e-4})
struct ParameterGroups : std::vector<ParameterGroup> {
  ParameterGroups(std::vector<Tensor> parameters) : vector{{.parameters = std::move(parameters)}} {}
  ParameterGroups(std::initializer_list<Tensor> parameters)
      : ParameterGroups(std::vector<Tensor>(parameters)) {}
  ParameterGroups(std::vector<ParameterGroup> groups) : vector(std::move(groups)) {}
  ParameterGroups(std::initializer_list<ParameterGroup> groups) : vector(groups) {}
};

/// Changes parameters so that a loss goes down. A training step is
///
///     { Tape tape; tape.backward(loss(…)); }        // fills parameter.grad()
///     optimizer.step();                             // reads it
///     optimizer.zero_grad();                        // forgets it
///
/// Parameters are leaves that require a gradient. One without a gradient is left alone by step(),
/// and its own count of steps, which the bias correction of Adam reads, stands still (as in
/// PyTorch). Updates do not depend on the number of threads, and no step asks the system for tensor
/// storage.
///
/// A formula of your own is a class derived from this one that overrides update(); see sgd.cpp.
class Optimizer {
 public:
  /// Named tensors in a fixed order, as PyTorch names them: "step" counts the calls of step(); then
  /// for each parameter i "state.i.step" and what the formula keeps, such as "state.i.exp_avg".
  using StateDict = std::vector<std::pair<std::string, Tensor>>;

  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates every parameter that has a gradient.
  virtual void step();
  /// Makes every gradient undefined.
  void zero_grad();
  /// Zeroes these rows, along the first axis, of what the formula remembers of a parameter and of
  /// its gradient: for rows that were given new values by hand, which old momentum would carry on.
  /// Throws std::invalid_argument for a parameter that is not among parameters(), or a row it has
  /// not.
  void forget(const Tensor& parameter, std::span<const std::int64_t> rows);

  /// Learning rates from now on: `factor` times what the groups were given. With a schedule
  /// (schedule.hpp), `optimizer.set_lr_factor(schedule(step))` before each step. Throws unless
  /// finite and at least 0.
  void set_lr_factor(double factor);
  /// The first group's learning rate now.
  double lr() const { return slots_.front().lr * lr_factor_; }
  /// How often step() ran.
  std::int64_t steps() const { return steps_; }
  /// All parameters, group after group.
  std::vector<Tensor> parameters() const;

  /// What to save to go on later: handles on the live state, which further steps change; clone()
  /// what you keep. Hyperparameters are not in it: the program that resumes states them.
  StateDict state_dict() const;
  /// Continues where the saved optimizer was. The order of the entries is free. Throws
  /// std::invalid_argument (ShapeError for shapes) at the first name that is missing, of another
  /// shape or unknown; nothing has changed then.
  void load_state_dict(const StateDict& saved);

 protected:
  /// One parameter and what the optimizer remembers of it.
  struct Slot {
    Tensor parameter;
    double lr, weight_decay;         // of its group
    std::int64_t step = 0;           // updates so far, this one included while update() runs
    std::vector<Tensor> state = {};  // one per state name, zeros at first; or none
  };

  /// `name` begins the error texts. `state_names` are the tensors of the parameter's shape that the
  /// formula keeps. Throws std::invalid_argument for settings below 0 or not finite, and for
  /// parameters that are undefined, do not require a gradient, are no leaves, or come twice.
  Optimizer(const char* name, const ParameterGroups& groups, double lr, double weight_decay,
            std::vector<std::string> state_names);

  /// The formula: writes slot.parameter and slot.state. `grad` is the direction to go against, most
  /// often slot.parameter.grad().
  virtual void update(Slot& slot, const Tensor& grad, double lr) = 0;

  /// step() for the parameters from number `first` on: for a derived class that has its own way
  /// with those before (lora_pro.cpp).
  void step_from(std::size_t first);

  const char* name() const { return name_; }
  double lr_factor() const { return lr_factor_; }
  std::vector<Slot>& slots() { return slots_; }

 private:
  const char* name_;
  std::vector<std::string> state_names_;
  std::vector<Slot> slots_;
  double lr_factor_ = 1;
  std::int64_t steps_ = 0;
};

}  // namespace xgrad::inline XGRAD_PRECISION
