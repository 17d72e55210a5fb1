// Gradients by hand: none, another tensor's, or a rule given as a function of tensors.
#include <mutex>
#include <set>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// The same characters at an address that outlives every tape.
const char* interned(const std::string& name) {
  static std::mutex mutex;
  static std::set<std::string> names;
  const std::lock_guard lock(mutex);
  return names.insert(name).first->c_str();
}

}  // namespace

Tensor stop_gradient(const Tensor& x) { return x.detach(); }

Tensor straight_through(const Tensor& value, const Tensor& surrogate) {
  require<ShapeError>(value.shape() == surrogate.shape(), "straight_through: the value has shape ",
                      value.shape(), ", the surrogate ", surrogate.shape());
  return record("straight_through", {surrogate}, value.detach(), Keep::nothing,
                [](auto& r) { r.to(0, r.grad()); });
}

Tensor custom(const std::string& name, const std::vector<Tensor>& inputs, const Tensor& value,
              CustomRule rule) {
  require(rule != nullptr, "custom: the rule of ", name, " is empty");
  const char* const op = interned(name);
  return record(op, inputs, value.detach(), [op, rule, count = inputs.size()](auto& r) {
    std::vector<Tensor> in;
    for (std::size_t i = 0; i < count; ++i) in.push_back(r.in(i));
    const std::vector<Tensor> gradients = rule(r.grad(), in, r.out());
    require<std::logic_error>(gradients.size() == in.size(), op, ": its rule gives ",
                              gradients.size(), " gradients for ", in.size(), " inputs");
    for (std::size_t i = 0; i < in.size(); ++i)
      if (gradients[i].defined()) r.to(i, gradients[i]);
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION
