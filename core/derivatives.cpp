// Sweeps that read only what leads to chosen tensors, and derivatives built of them.
#include <xgrad/core/derivatives.hpp>

#include <algorithm>

#include <xgrad/core/ops.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

/// A sweep for the gradients of some tensors, leaves or not. Entries that none of them led to are
/// passed over, and leaves are left alone.
class GradientSweep : public Sweep {
 public:
  GradientSweep(Tape& tape, std::span<const Tensor> wanted, const Tensor& y, bool record)
      : Sweep(tape, record), wanted_(wanted), results_(wanted.size()), on_path_(maker(y) + 1) {
    const auto leads_on = [&](const Tensor& x) {
      return find(x) != nullptr || (maker(x) != none && on_path_[maker(x)]);
    };
    for (std::size_t index = 0; index < on_path_.size(); ++index) {
      bool marked = leads_on(tape[index].output.tensor);
      for (const Saved& input : tape[index].inputs) marked |= leads_on(input.tensor);
      on_path_[index] = marked;
    }
  }

  Tensor* slot(const Tensor& x) override {
    if (maker(x) == none) return find(x);
    return on_path_[maker(x)] ? Sweep::slot(x) : nullptr;
  }
  void on_complete(const Entry& entry, const Tensor& grad) override {
    if (Tensor* result = find(entry.output.tensor)) *result = grad;
  }

  /// One per wanted tensor; zeros where nothing arrived. A tensor named twice has one gradient.
  std::vector<Tensor> results() {
    std::vector<Tensor> all;
    for (const Tensor& x : wanted_) {
      Tensor& result = *find(x);
      if (!result.defined()) result = zeros(x.shape());
      all.push_back(result);
    }
    return all;
  }

 private:
  Tensor* find(const Tensor& x) {
    for (std::size_t i = 0; i < wanted_.size(); ++i)
      if (same(wanted_[i], x)) return &results_[i];
    return nullptr;
  }

  std::span<const Tensor> wanted_;
  std::vector<Tensor> results_;
  std::vector<char> on_path_;  // per entry: depends on a wanted tensor, or made it
};

/// x as a leaf of its own: the caller's x keeps its place on the caller's tape.
Tensor leaf(const Tensor& x) { return x.detach().requires_grad_(); }

/// f(x) on a tape of its own; f may use tensors of an outer tape, which count as constants.
struct Evaluation {
  Evaluation(const Function& f, const Tensor& at) : x(leaf(at)), y(f(x)) {
    if (y.requires_grad() && y.is_leaf()) y = y * real(1);  // f(x) = x: give it an entry
  }
  Tensor gradient(const Tensor& of, const Tensor& seed, GradientOptions options) {
    if (!of.requires_grad()) return zeros(x.shape());  // constant
    return tape.gradient(of, x, options, seed);
  }
  Tape tape{{.nested = true}};
  Tensor x, y;
};

/// Rows of a matrix, each computed from a unit vector of the given shape; (rows' shape, x's shape).
template <class Row>
Tensor assemble(const Shape& rows, const Shape& x, const Row& row) {
  Shape shape = rows;
  shape.insert(shape.end(), x.begin(), x.end());
  Tensor out = zeros(shape);
  const std::size_t count = element_count(rows), width = element_count(x);
  for (std::size_t i = 0; i < count; ++i) {
    Tensor unit = zeros(rows);
    unit.mutable_data()[i] = 1;
    const Tensor values = row(unit);
    std::copy_n(values.data(), width, out.mutable_data() + i * width);
  }
  return out;
}

}  // namespace

std::vector<Tensor> Tape::gradient(const Tensor& y, std::span<const Tensor> xs,
                                   GradientOptions options, const Tensor& seed) {
  check_sweep("gradient", y, seed);
  require(!xs.empty(), "gradient: no tensors to differentiate with respect to");
  for (const Tensor& x : xs)
    require<std::logic_error>(
        x.requires_grad() && (x.is_leaf() || x.value_->tape_ == id_ || options_.nested),
        "gradient: a tensor to differentiate with respect to does not require a "
        "gradient, or was recorded on another tape");
  used_ = !options.retain && !options.record;
  const Pause pause(options.record ? this : nullptr);
  GradientSweep sweep(*this, xs, y, options.record);
  sweep.run(y, seed.defined() ? seed : ones(y.shape()), used_);
  return sweep.results();
}

Tensor jacobian(const Function& f, const Tensor& x) {
  Evaluation at(f, x);
  return assemble(at.y.shape(), x.shape(),
                  [&](const Tensor& unit) { return at.gradient(at.y, unit, {.retain = true}); });
}

Tensor hessian(const Function& f, const Tensor& x) {
  Evaluation at(f, x);
  const Tensor first = at.gradient(at.y, {}, {.record = true});
  return assemble(x.shape(), x.shape(),
                  [&](const Tensor& unit) { return at.gradient(first, unit, {.retain = true}); });
}

Tensor hvp(const Function& f, const Tensor& x, const Tensor& v) {
  require<ShapeError>(v.shape() == x.shape(), "hvp: the vector has shape ", v.shape(), ", x ",
                      x.shape());
  Evaluation at(f, x);
  const Tensor first = at.gradient(at.y, {}, {.record = true});
  return at.gradient(first, v, {});
}

Tensor vjp(const Function& f, const Tensor& x, const Tensor& v) {
  Evaluation at(f, x);
  require<ShapeError>(v.shape() == at.y.shape(), "vjp: the vector has shape ", v.shape(), ", f(x) ",
                      at.y.shape());
  return at.gradient(at.y, v, {});
}

}  // namespace xgrad::inline XGRAD_PRECISION
