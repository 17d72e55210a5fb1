// The tree of modules; see module.hpp.
#include <xgrad/nn/module.hpp>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <typeinfo>

#include <cxxabi.h>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

std::string join(const std::string& prefix, const std::string& name) {
  return prefix.empty() ? name : prefix + '.' + name;
}

/// "Linear" for xgrad::f32::Linear, "Mlp" for a user's own type.
std::string type_name(const Module& module) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(typeid(module).name(), nullptr, nullptr, &status), std::free);
  std::string name = text ? text.get() : "Module";
  const std::size_t arguments = name.find('<');
  const std::size_t scope = name.rfind("::", arguments);
  name = name.substr(scope == std::string::npos ? 0 : scope + 2);
  return name.substr(0, name.find('<'));
}

}  // namespace

Parameter::Parameter(Module* owner, std::string name, Tensor initial) : Tensor(std::move(initial)) {
  if (!defined()) return;
  requires_grad_();
  if (!owner) return;
  owner->check_name(name);
  owner->parameters_.emplace_back(std::move(name), this);
}

StateBuffer::StateBuffer(Module* owner, std::string name, Tensor initial)
    : Tensor(std::move(initial)) {
  if (!owner) return;
  owner->check_name(name);
  owner->buffers_.emplace_back(std::move(name), this);
}

Module::Module(Module* owner, std::string name) {
  if (owner) owner->adopt(std::move(name), *this);
}

Module::~Module() {
  if (owner_)
    std::erase_if(owner_->children_, [&](const auto& item) { return item.second == this; });
  for (const auto& [name, child] : children_) {  // adopted ones: members have left already
    child->owner_ = nullptr;
    child->name_.clear();
  }
}

void Module::adopt(std::string name, Module& child) {
  require<std::logic_error>(!child.owner_, "module \"", name, "\" already has an owner");
  check_name(name);
  child.owner_ = this;
  child.name_ = name;
  children_.emplace_back(std::move(name), &child);
}

void Module::check_name(const std::string& name) const {
  require(!name.empty() && name.find('.') == std::string::npos, "module: \"", name,
          "\" is no name: it must not be empty or contain a dot");
  const auto taken = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const auto& item) { return item.first == name; });
  };
  require(!taken(children_) && !taken(parameters_) && !taken(buffers_), "module: the name \"", name,
          "\" is taken twice in \"", path(), "\"");
}

std::string Module::path() const { return owner_ ? join(owner_->path(), name_) : name_; }

Scope Module::enter() const {
  const auto describe = [](const void* subject) {
    const Module& module = *static_cast<const Module*>(subject);
    const std::string root = type_name(module.root());
    return module.owner_ ? join(root, module.path()) : root;
  };
  return Scope(describe, this);
}

Rng Module::init_rng(std::string_view name) const {
  return Rng(root().seed_).fork(join(path(), std::string(name)));
}

template <class Visit>
void Module::visit(const std::string& prefix, const Visit& visit_module) const {
  visit_module(prefix, *this);
  for (const auto& [name, child] : children_) child->visit(join(prefix, name), visit_module);
}

StateDict Module::named_parameters() const {
  StateDict result;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, parameter] : module.parameters_)
      result.emplace_back(join(prefix, name), *parameter);
  });
  return result;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> result;
  for (auto& [name, parameter] : named_parameters()) result.push_back(std::move(parameter));
  return result;
}

std::vector<Tensor> Module::trainable_parameters() const {
  std::vector<Tensor> result = parameters();
  std::erase_if(result, [](const Tensor& parameter) { return !parameter.requires_grad(); });
  return result;
}

std::vector<std::pair<std::string, const Module*>> Module::named_modules() const {
  std::vector<std::pair<std::string, const Module*>> result;
  visit("", [&](const std::string& prefix, const Module& module) {
    result.emplace_back(prefix, &module);
  });
  return result;
}

std::vector<std::pair<std::string, Module*>> Module::named_modules() {
  std::vector<std::pair<std::string, Module*>> result;
  for (auto& [name, module] : std::as_const(*this).named_modules())
    result.emplace_back(std::move(name), const_cast<Module*>(module));
  return result;
}

StateDict Module::state_dict() const {
  StateDict result;
  visit("", [&](const std::string& prefix, const Module& module) {
    for (const auto& [name, parameter] : module.parameters_)
      result.emplace_back(join(prefix, name), *parameter);
    for (const auto& [name, buffer] : module.buffers_)
      result.emplace_back(join(prefix, name), *buffer);
  });
  return result;
}

void Module::load_state_dict(const StateDict& state) {
  StateDict own = state_dict();
  const auto find = [](const StateDict& dict, const std::string& name) {
    return std::find_if(dict.begin(), dict.end(),
                        [&](const auto& item) { return item.first == name; });
  };
  for (const auto& [name, target] : own) {
    const auto source = find(state, name);
    require(source != state.end(), "load: \"", name, "\" ", target.shape(),
            " is missing from the file");
    require(source->second.shape() == target.shape(), "load: \"", name, "\": file has ",
            source->second.shape(), ", model has ", target.shape());
  }
  for (const auto& [name, source] : state)
    require(find(own, name) != own.end(), "load: the file has \"", name, "\" ", source.shape(),
            ", the model does not");
  for (auto& [name, target] : own) {
    const Tensor& source = find(state, name)->second;
    std::copy_n(source.data(), source.size(), target.mutable_data());
  }
}

void Module::train(bool on) {
  training_ = on;
  for (const auto& [name, child] : children_) child->train(on);
}

std::size_t Module::freeze(std::string_view pattern, bool frozen) {
  std::size_t matches = 0;
  for (auto& [name, parameter] : named_parameters()) {
    if (name.find(pattern) == std::string::npos) continue;
    parameter.requires_grad_(!frozen);
    ++matches;
  }
  require(matches > 0, "freeze: no parameter's name contains \"", pattern, "\"");
  return matches;
}

void Module::zero_grad() {
  for (Tensor& parameter : parameters()) parameter.zero_grad();
}

void Module::reseed(std::uint64_t seed) {
  visit("", [&](const std::string& prefix, const Module& module) {
    const_cast<Module&>(module).on_reseed(Rng(seed).fork(prefix));
  });
}

std::string Module::to_string() const {
  std::ostringstream text;
  std::size_t total = 0;
  visit("", [&](const std::string& prefix, const Module& module) {
    const auto depth =
        static_cast<std::size_t>(std::count(prefix.begin(), prefix.end(), '.')) + !prefix.empty();
    std::size_t count = 0;
    for (const auto& [name, parameter] : module.parameters_) count += parameter->size();
    total += count;
    text << std::string(2 * depth, ' ') << (prefix.empty() ? "" : module.name_ + ": ")
         << type_name(module);
    if (const std::string details = module.describe(); !details.empty())
      text << '(' << details << ')';
    if (count > 0) text << "  " << count;
    text << '\n';
  });
  text << "parameters: " << total << '\n';
  return text.str();
}

}  // namespace xgrad::inline XGRAD_PRECISION
