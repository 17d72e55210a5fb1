// What the tape keeps; see saved.hpp.
#include <xgrad/core/saved.hpp>

#include <algorithm>

#include <xgrad/core/tape.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// Whether its output need not be kept: it can be computed from inputs that are. (If those were to
/// be computed again too, a chain of such operations would be repeated as often as it is long.)
bool can_repeat(const Entry& entry) {
  return entry.again && std::all_of(entry.inputs.begin(), entry.inputs.end(),
                                    [](const Saved& input) { return input.has_numbers(); });
}

}  // namespace

Saved::Saved(const Tensor& x, bool reads, const Entry* made_by)
    : tensor(x.value_, {}), maker(reads && made_by && can_repeat(*made_by) ? made_by : nullptr) {
  if (!reads || maker) return;
  tensor.buffer_ = x.buffer_;
  version = x.buffer_->version;
}

Tensor Saved::again() const {
  std::vector<Tensor> inputs;
  for (const Saved& input : maker->inputs) inputs.push_back(input.tensor);
  return maker->again(inputs);
}

Tensor recomputable(Tensor y, Again again) {
  Entry* entry = Tape::current() ? Tape::current()->maker(y) : nullptr;
  if (entry) entry->again = std::move(again);
  return y;
}

}  // namespace xgrad::inline XGRAD_PRECISION
