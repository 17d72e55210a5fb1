// What the tape keeps of an operation's numbers, and what it rather computes again.
// When they are read is record.hpp.
#pragma once

#include <functional>
#include <vector>

#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION {

struct Entry;

/// Which numbers a rule reads, and the tape must therefore keep until it has been read. Shapes are
/// always there. Keeping less frees memory earlier; reading what was not kept is an error that
/// names the operation.
enum class Keep {
  everything,  ///< r.in(i) and r.out()
  inputs,      ///< r.in(i) only
  output,      ///< r.out() only
  others,      ///< r.in(j) only for the gradient of another input: products
  nothing,     ///< neither
};

/// Computes an operation's value once more from its inputs.
using Again = std::function<Tensor(const std::vector<Tensor>& inputs)>;

/// A tensor as the tape holds it: always its identity and shape, its numbers only if the rule reads
/// them and its maker cannot compute them again.
struct Saved {
  Saved() = default;
  Saved(const Tensor& x, bool reads, const Entry* maker);
  bool has_numbers() const { return static_cast<bool>(tensor.buffer_); }
  bool changed() const { return has_numbers() && tensor.buffer_->version != version; }
  Tensor again() const;

  Tensor tensor;
  std::uint32_t version = 0;     // of the buffer when it was recorded
  const Entry* maker = nullptr;  // to be asked again for the numbers
};

/// Says of y, just recorded, that it costs little to compute: what reads y need not keep its
/// numbers then, but has them computed again, `again(inputs)`, from those that y's own rule keeps.
/// `again` is the operation itself, so that it can be differentiated where that is asked for.
/// Returns y.
///
///     return recomputable(record("gelu", {x}, …, Keep::inputs, …),
///                         [](const auto& in) { return gelu(in[0]); });
Tensor recomputable(Tensor y, Again again);

}  // namespace xgrad::inline XGRAD_PRECISION
