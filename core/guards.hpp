// The engine's guards, declared for templates: what is refused, and how it is said, is guards.cpp.
#pragma once

#include <xgrad/core/lists.hpp>

namespace xgrad::inline XGRAD_PRECISION::detail {

/// Throws if the current tape checks values and these are not finite.
void check_finite(const char* op, const InputList& inputs, const Tensor& output);
[[noreturn]] void throw_broadcast_error(const char* op, const InputList& inputs);
[[noreturn]] void throw_fused(const char* op, const char* composite);
[[noreturn]] void throw_not_kept(const char* op, const char* what);

/// An operation's value: a Tensor as it is, an xtensor expression evaluated.
template <class V>
Tensor evaluate(const char* op, const InputList& inputs, V&& value) {
  if constexpr (std::is_convertible_v<V, Tensor>) {
    return std::forward<V>(value);
  } else {
    try {
      return Tensor(value);
    } catch (const xt::broadcast_error&) {
      throw_broadcast_error(op, inputs);
    }
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION::detail
