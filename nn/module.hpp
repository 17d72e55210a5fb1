// Module: a tree of named parameters. A layer is a struct whose members register themselves with
// their owner as they are constructed. What a layer computes is its own business: there is no
// virtual forward.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/scope.hpp>

namespace xgrad::inline XGRAD_PRECISION {

class Module;

/// Tensors by dotted name, in order of registration: `up.weight`, `up.bias`,
/// `blocks.0.attn.qkv.weight`.
using StateDict = std::vector<std::pair<std::string, Tensor>>;

/// A tensor that training changes, owned by a module under a name.
class Parameter : public Tensor {
 public:
  /// Absent: not registered, `defined()` is false. For layers that may go without, such as a bias.
  Parameter() = default;
  /// Registers with `owner` and asks for a gradient; absent if `initial` is undefined.
  Parameter(Module* owner, std::string name, Tensor initial);
  Parameter(const Parameter&) = delete;  // its owner holds its address
  Parameter& operator=(const Parameter&) = delete;
};

/// A tensor that belongs to the state but is not trained, such as a running mean.
class StateBuffer : public Tensor {
 public:
  StateBuffer(Module* owner, std::string name, Tensor initial);
  StateBuffer(const StateBuffer&) = delete;
  StateBuffer& operator=(const StateBuffer&) = delete;
};

/// Base of layers and models.
///
///     struct Net : Module {
///       using Module::Module;                            // Net net; or Net net(seed);
///       Linear up  {this, "up",   {.in = 784, .out = 256}};
///       Linear down{this, "down", {.in = 256, .out = 10}};
///       Tensor operator()(const Tensor& x) const { return down(relu(up(x))); }
///     };
///
/// Modules are neither copied nor moved, since their children know their address.
class Module {
 public:
  /// A root. `seed` fixes the initial values of all parameters below: each draws from a stream of
  /// its own, chosen by the seed and its full name, so adding a layer does not change the others.
  explicit Module(std::uint64_t seed = 0) : seed_(seed) {}
  /// A child, which registers with its owner under `name`. A null owner makes a root with seed 0.
  Module(Module* owner, std::string name);
  /// Leaves its owner; adopted modules that live on become roots again.
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// All parameters below, as tensors that share their values.
  std::vector<Tensor> parameters() const;
  StateDict named_parameters() const;
  /// Those that ask for a gradient.
  std::vector<Tensor> trainable_parameters() const;
  /// This module ("") and all below, by dotted name.
  std::vector<std::pair<std::string, const Module*>> named_modules() const;
  std::vector<std::pair<std::string, Module*>> named_modules();

  /// Parameters and buffers.
  StateDict state_dict() const;
  /// Copies values in. Every name must be there with its shape and none besides, else
  /// std::invalid_argument names the first that disagrees and nothing changes.
  void load_state_dict(const StateDict& state);

  /// Training or evaluation: the mode of this module and all below (dropout asks for it).
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }

  /// Stops (or resumes) the gradients of parameters whose name contains `pattern`. Returns how many
  /// matched; throws std::invalid_argument if none did.
  std::size_t freeze(std::string_view pattern, bool frozen = true);
  void zero_grad();

  /// Restarts the random streams of all layers below that draw numbers while training. A training
  /// program that calls reseed(step) can be stopped and resumed bit for bit.
  void reseed(std::uint64_t seed);

  /// The tree with shapes and parameter counts, one line each.
  std::string to_string() const;

  /// "blocks.0.attn"; empty for a root.
  std::string path() const;

  /// Says that this module computes while the result lives, so that errors and profiles can name it
  /// ("Gpt.h.0.attn"). The first line of a layer's operator(): `const Scope here = enter();`.
  Scope enter() const;

 protected:
  /// Adds a module that was made elsewhere (a position scheme, say) as a child. It must be a root
  /// so far.
  void adopt(std::string name, Module& child);
  /// The stream for the initial value of the parameter `name` of this module.
  Rng init_rng(std::string_view name) const;
  /// For layers that draw numbers: reseed() calls it with a stream of their own. Until then they
  /// draw from an init_rng() taken at construction.
  virtual void on_reseed(Rng /*rng*/) {}
  /// What to_string() says besides the type: "784 -> 256".
  virtual std::string describe() const { return {}; }

 private:
  friend class Parameter;
  friend class StateBuffer;
  template <class Visit>
  void visit(const std::string& prefix, const Visit& visit_module) const;
  void check_name(const std::string& name) const;
  const Module& root() const { return owner_ ? owner_->root() : *this; }

  Module* owner_ = nullptr;
  std::string name_;
  std::uint64_t seed_ = 0;
  bool training_ = true;
  std::vector<std::pair<std::string, Module*>> children_;
  std::vector<std::pair<std::string, Tensor*>> parameters_, buffers_;
};

/// Children of one type, named "0", "1", …: `ModuleList<Block> blocks{this, "blocks"};`
template <class T>
class ModuleList : public Module {
 public:
  using Module::Module;
  template <class... Arguments>
  T& emplace(Arguments&&... arguments) {
    items_.push_back(std::make_unique<T>(this, std::to_string(items_.size()),
                                         std::forward<Arguments>(arguments)...));
    return *items_.back();
  }
  std::size_t size() const { return items_.size(); }
  T& operator[](std::size_t i) { return *items_.at(i); }
  const T& operator[](std::size_t i) const { return *items_.at(i); }

 private:
  std::vector<std::unique_ptr<T>> items_;
};

/// Layers and functions, one after the other; each takes and gives one tensor. Every entry counts
/// in the names, as in PyTorch: Linear, function, Linear are "0", "1", "2".
///
///     Sequential net;
///     net.emplace<Linear>(LinearOptions{.in = 2, .out = 16});
///     net.add([](const Tensor& x) { return relu(x); });
class Sequential : public Module {
 public:
  using Module::Module;
  template <class T, class... Arguments>
  T& emplace(Arguments&&... arguments) {
    auto layer = std::make_unique<T>(this, std::to_string(steps_.size()),
                                     std::forward<Arguments>(arguments)...);
    T& reference = *layer;
    layers_.push_back(std::move(layer));
    add([&reference](const Tensor& x) { return reference(x); });
    return reference;
  }
  void add(std::function<Tensor(const Tensor&)> step) { steps_.push_back(std::move(step)); }
  std::size_t size() const { return steps_.size(); }
  Tensor operator()(Tensor x) const {
    const Scope here = enter();
    for (const auto& step : steps_) x = step(x);
    return x;
  }

 private:
  std::vector<std::unique_ptr<Module>> layers_;
  std::vector<std::function<Tensor(const Tensor&)>> steps_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
