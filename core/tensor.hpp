// Tensor: a cheap handle on numbers with a shape, and what the tape needs to know of them.
// How operations are written down and read backwards is tape.hpp; the operations are ops.hpp.
#pragma once

#include <iosfwd>
#include <string>

#include <xgrad/core/memory.hpp>
#include <xgrad/core/shape.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Row-major contiguous numbers as an xtensor container; `const` access reads, the rest writes.
using Array = xt::xarray_adaptor<xt::xbuffer_adaptor<real*, xt::no_ownership, std::allocator<real>>,
                                 xt::layout_type::row_major, Shape>;

/// Integer data (token ids, labels, codes): it has no derivative, so plain xtensor serves.
using Indices = xt::xarray<std::int64_t>;

class Tape;
class Value;
template <bool recorded>
class Pull;

/// The storage of one or more tensors, from the pool: a header, then the numbers.
class Buffer : public Counted {
 public:
  static Ref<Buffer> create(std::size_t count);
  static void destroy(Buffer* buffer) noexcept;

  real* data() {
    return reinterpret_cast<real*>(reinterpret_cast<char*>(this) + memory::alignment);
  }
  std::uint32_t version = 0;  ///< goes up with every write after creation; the tape compares it

 private:
  std::size_t bytes_ = 0;
};

/// An array of reals that can take part in differentiation. Copying copies the handle, not the
/// numbers.
///
/// Tensors are immutable to operations: each makes a new one. Only initialisers and optimizers
/// write, through `mutable_array()`, and the tape notices when they do it at the wrong time.
class Tensor {
 public:
  /// No value: `defined()` is false and every access throws.
  Tensor() = default;

  /// The values of any xtensor expression, evaluated now.
  template <class E>
  explicit Tensor(const xt::xexpression<E>& expression);

  /// Uninitialised storage of this shape.
  static Tensor empty(const Shape& shape);

  bool defined() const { return static_cast<bool>(value_); }
  const Shape& shape() const;
  std::size_t ndim() const { return shape().size(); }
  std::size_t size() const;
  /// Size along `axis`, which may count from the back: `x.size(-1)`.
  std::size_t size(std::int64_t axis) const;

  /// The values as an xtensor container: usable in any xtensor expression while this tensor lives.
  const Array& array() const;
  const real* data() const;
  /// The single value of a tensor with one element.
  real item() const;

  /// Writable values. Throws std::logic_error for the result of a recorded operation.
  Array& mutable_array();
  real* mutable_data();

  /// Whether a gradient will be computed for this tensor: true for a leaf that asked for one and
  /// for whatever was computed from such a leaf while a tape was recording.
  bool requires_grad() const;
  /// Whether it is no result of a recorded operation.
  bool is_leaf() const;
  /// Asks for a gradient (or stops asking). Only for leaves; returns *this, as in
  /// `Tensor w = zeros({3}).requires_grad_();`
  Tensor& requires_grad_(bool wanted = true);
  /// The gradient that `Tape::backward` accumulated here; undefined before the first one.
  const Tensor& grad() const;
  void set_grad(Tensor gradient);
  void zero_grad() { set_grad({}); }

  /// The same numbers, cut off from the tape.
  Tensor detach() const;
  /// A copy of the numbers in storage of its own, cut off from the tape.
  Tensor clone() const;

 private:
  template <bool>
  friend class Pull;
  friend class Sources;
  friend class Sweep;
  friend class Tape;
  friend class Value;
  friend struct Saved;
  Tensor(Ref<Value> value, Ref<Buffer> buffer)
      : value_(std::move(value)), buffer_(std::move(buffer)) {}
  Tensor reshaped(const Shape& shape) const;  // shares the buffer; sizes already checked
  friend Tensor reshape(const Tensor&, const Ints&);

  Ref<Value> value_;    // what it is: shape, place on the tape, gradient
  Ref<Buffer> buffer_;  // its numbers; empty in a handle that the tape keeps for its shape alone
};

/// What a tensor is, apart from owning its numbers. It *is* an xtensor expression, so that `a * b`
/// of two values inside a backward rule is one lazy expression; and it converts to its Tensor, so
/// that the same name serves where an operation wants one.
class Value : public Array, public Counted {
 public:
  Value(Buffer& buffer, const Shape& shape, std::size_t count)
      : Array(array_type(buffer.data(), count), shape), buffer_(&buffer) {}
  static void destroy(Value* value) noexcept;
  operator Tensor() const {  // NOLINT: implicit by purpose
    return {Ref<Value>(const_cast<Value*>(this)), Ref<Buffer>(buffer_)};
  }

 private:
  using array_type = xt::xbuffer_adaptor<real*, xt::no_ownership, std::allocator<real>>;
  friend class Sweep;
  friend class Tape;
  friend class Tensor;

  Buffer* buffer_;
  bool requires_grad_ = false;
  std::uint32_t entry_ = 0;  // which entry of tape `tape_` made it
  std::uint64_t tape_ = 0;   // 0: a leaf
  Tensor grad_;              // leaves only
};

}  // namespace xgrad::inline XGRAD_PRECISION

// xtensor takes for an expression what derives from xexpression of *itself*; Value derives from
// that of Array. Without this line `a * b` of two values would turn them into tensors and multiply
// those at once, one pass per operator.
template <>
struct xt::detail::is_crtp_base_of_impl<xt::xexpression, xgrad::Value> : std::true_type {};

namespace xgrad::inline XGRAD_PRECISION {

/// Prints values and shape: small tensors whole, large ones by their first and last entries.
std::ostream& operator<<(std::ostream& out, const Tensor& x);

template <class E>
Tensor::Tensor(const xt::xexpression<E>& expression) {
  const auto& e = expression.derived_cast();
  *this = empty(Shape(e.shape().begin(), e.shape().end()));
  xt::noalias(static_cast<Array&>(*value_)) = e;
}

}  // namespace xgrad::inline XGRAD_PRECISION
