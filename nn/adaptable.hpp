// Adaptable: a layer around one matrix, to which something may be attached from outside.
// What that is, a low-rank adapter say, is not here (lora/).
#pragma once

#include <xgrad/nn/dropout.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// What a layer was called with, seen through products alone: rows of numbers, or ids, each of
/// which stands for a row with a single 1.
class InputRows {
 public:
  virtual ~InputRows() = default;
  /// x M^T. M (k, in) -> (..., k).
  virtual Tensor times(const Tensor& matrix) const = 0;
  /// The rows after dropout. Ids have no element to drop, and stay what they are.
  virtual std::unique_ptr<InputRows> dropped(const Dropout& dropout) const = 0;
};

/// A layer x W^T + b with W (out, in), whatever x is. What is attached to it changes what it
/// computes; its model's code knows nothing of it.
class Adaptable : public Module {
 public:
  using Module::Module;

  class Attachment {
   public:
    virtual ~Attachment() = default;
    /// The output of the layer for x; `plain` is what it gives by itself.
    virtual Tensor operator()(const Tensor& plain, const InputRows& x) const = 0;
  };

  virtual std::size_t inputs() const = 0;
  virtual std::size_t outputs() const = 0;
  /// W as it is stored: (out, in), or (in, out) if the layer looks its rows up.
  virtual Tensor stored_weight() const = 0;
  /// Whether its input is ids.
  virtual bool looks_up() const = 0;
  /// (out,), undefined if it has none.
  virtual Tensor stored_bias() const = 0;

  std::unique_ptr<Attachment> attachment;  ///< none: the layer alone
};

}  // namespace xgrad::inline XGRAD_PRECISION
