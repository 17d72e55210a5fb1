// Tensor and its storage; see tensor.hpp.
#include <xgrad/core/tensor.hpp>

#include <algorithm>
#include <ostream>

namespace xgrad::inline XGRAD_PRECISION {

Ref<Buffer> Buffer::create(std::size_t count) {
  const std::size_t bytes = memory::alignment + count * sizeof(real);
  static_assert(sizeof(Buffer) <= memory::alignment);
  auto* buffer = new (memory::allocate(bytes)) Buffer;
  buffer->bytes_ = bytes;
  return Ref<Buffer>(buffer);
}

void Buffer::destroy(Buffer* buffer) noexcept { memory::release(buffer, buffer->bytes_); }

void Value::destroy(Value* value) noexcept {
  value->~Value();
  memory::release(value, sizeof(Value));
}

Tensor Tensor::empty(const Shape& shape) {
  const std::size_t count = element_count(shape);
  Ref<Buffer> buffer = Buffer::create(count);
  Ref<Value> value(new (memory::allocate(sizeof(Value))) Value(*buffer, shape, count));
  return {std::move(value), std::move(buffer)};
}

Tensor Tensor::reshaped(const Shape& shape) const {
  Ref<Value> value(new (memory::allocate(sizeof(Value))) Value(*buffer_, shape, size()));
  return {std::move(value), buffer_};
}

const Shape& Tensor::shape() const {
  require<std::logic_error>(defined(),
                            "tensor: has no value yet (default-constructed, or no gradient)");
  return value_->shape();
}

std::size_t Tensor::size() const {
  shape();
  return value_->size();
}

std::size_t Tensor::size(std::int64_t axis) const {
  return shape()[normalize_axis("size", axis, ndim())];
}

const Array& Tensor::array() const {
  shape();
  return *value_;
}

const real* Tensor::data() const { return array().data(); }

real Tensor::item() const {
  require<ShapeError>(size() == 1, "item: needs exactly one element, got shape ", shape());
  return *data();
}

Array& Tensor::mutable_array() {
  shape();
  require<std::logic_error>(
      is_leaf(),
      "mutable_array: this tensor is the result of a recorded operation; detach() or "
      "clone() it first");
  ++buffer_->version;
  return *value_;
}

real* Tensor::mutable_data() { return mutable_array().data(); }

bool Tensor::is_leaf() const { return !defined() || value_->tape_ == 0; }

bool Tensor::requires_grad() const { return defined() && value_->requires_grad_; }

Tensor& Tensor::requires_grad_(bool wanted) {
  shape();
  require<std::logic_error>(
      is_leaf() || wanted,
      "requires_grad_: this tensor is the result of a recorded operation; detach() it "
      "to stop its gradient");
  value_->requires_grad_ = wanted;
  return *this;
}

const Tensor& Tensor::grad() const {
  shape();
  return value_->grad_;
}

void Tensor::set_grad(Tensor gradient) {
  if (gradient.defined())
    require<ShapeError>(gradient.shape() == shape(), "set_grad: gradient has shape ",
                        gradient.shape(), ", tensor has ", shape());
  value_->grad_ = std::move(gradient);
}

Tensor Tensor::detach() const { return reshaped(shape()); }

Tensor Tensor::clone() const {
  Tensor copy = empty(shape());
  std::copy_n(data(), size(), copy.mutable_data());
  return copy;
}

namespace {

void print_axis(std::ostream& out, const Tensor& x, std::size_t axis, std::size_t offset) {
  if (axis == x.ndim()) {
    out << x.data()[offset];
    return;
  }
  constexpr std::size_t edge = 3;  // entries shown at either end of a long axis
  const std::size_t size = x.shape()[axis];
  std::size_t stride = 1;
  for (std::size_t i = axis + 1; i < x.ndim(); ++i) stride *= x.shape()[i];
  out << '[';
  for (std::size_t i = 0; i < size; ++i) {
    if (x.size() > 100 && size > 2 * edge && i == edge) {
      out << ", ...";
      i = size - edge;
    }
    if (i > 0) out << ',' << (axis + 1 < x.ndim() ? "\n" + std::string(axis + 1, ' ') : " ");
    print_axis(out, x, axis + 1, offset + i * stride);
  }
  out << ']';
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Tensor& x) {
  if (!x.defined()) return out << "Tensor(undefined)";
  print_axis(out, x, 0, 0);
  return out << "  shape " << to_string(x.shape());
}

}  // namespace xgrad::inline XGRAD_PRECISION
