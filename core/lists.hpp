// Two small lists that save an allocation per operation: what record() borrows, what entries own.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// The inputs of an operation, borrowed for the call: `{a, b}` or a vector of tensors.
class InputList {
 public:
  InputList(std::initializer_list<std::reference_wrapper<const Tensor>> list) : references_(list) {}
  InputList(const std::vector<Tensor>& list) : tensors_(list) {}
  std::size_t size() const { return references_.size() + tensors_.size(); }
  const Tensor& operator[](std::size_t i) const {
    return tensors_.empty() ? references_.begin()[i].get() : tensors_[i];
  }

 private:
  std::initializer_list<std::reference_wrapper<const Tensor>> references_;
  std::span<const Tensor> tensors_;
};

/// A list of fixed length whose first `few` items need no allocation.
template <class T, std::size_t few>
class SmallList {
 public:
  explicit SmallList(std::size_t size) : size_(size) {
    if (size > few) many_ = std::make_unique<T[]>(size);
  }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return begin()[i]; }
  const T& operator[](std::size_t i) const { return begin()[i]; }
  T* begin() { return many_ ? many_.get() : few_; }
  T* end() { return begin() + size_; }
  const T* begin() const { return many_ ? many_.get() : few_; }
  const T* end() const { return begin() + size_; }

 private:
  std::size_t size_;
  T few_[few];
  std::unique_ptr<T[]> many_;
};

}  // namespace xgrad::inline XGRAD_PRECISION
