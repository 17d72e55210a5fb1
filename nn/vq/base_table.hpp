// BaseTable: the table that a linear or diagonal transform makes codes of.
#pragma once

#include <xgrad/nn/module.hpp>

namespace xgrad::inline XGRAD_PRECISION::detail {

/// A tensor that belongs to a module's state under one name, as a parameter if it is to be trained,
/// else as a buffer, which no optimizer sees.
class BaseTable {
 public:
  BaseTable(Module* owner, const std::string& name, const Tensor& initial, bool train)
      : parameter_(owner, name, train ? initial : Tensor()),
        buffer_(train ? nullptr : owner, name, train ? Tensor() : initial) {}
  const Tensor& operator()() const {
    return parameter_.defined() ? static_cast<const Tensor&>(parameter_) : buffer_;
  }

 private:
  Parameter parameter_;
  StateBuffer buffer_;
};

}  // namespace xgrad::inline XGRAD_PRECISION::detail
