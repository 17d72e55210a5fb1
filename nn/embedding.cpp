// Embedding; see embedding.hpp.
#include <xgrad/nn/embedding.hpp>

#include <xgrad/nn/init.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

class IdRows final : public InputRows {
 public:
  explicit IdRows(const Indices& ids) : ids_(ids) {}
  /// A row with a single 1 selects a column of M.
  Tensor times(const Tensor& matrix) const override {
    Shape shape(ids_.shape().begin(), ids_.shape().end());
    shape.push_back(matrix.size(0));
    return reshape(transpose(index_select(matrix, 1, xt::flatten(ids_))), shape);
  }
  std::unique_ptr<InputRows> dropped(const Dropout&) const override {
    return std::make_unique<IdRows>(ids_);
  }

 private:
  const Indices& ids_;
};

}  // namespace

Embedding::Embedding(Module* owner, std::string name, EmbeddingOptions o)
    : Adaptable(owner, std::move(name)),
      options((require(o.count > 0 && o.dim > 0, "Embedding(", o.count, ", ", o.dim,
                       "): sizes must be positive"),
               o)),
      weight(this, "weight", init::normal(zeros({o.count, o.dim}), 0, 1, init_rng("weight"))) {}

Tensor Embedding::operator()(const Indices& ids) const {
  const Scope here = enter();
  const Tensor y = embedding(weight, ids);
  return attachment ? (*attachment)(y, IdRows(ids)) : y;
}

std::string Embedding::describe() const { return concat_text(options.count, ", ", options.dim); }

}  // namespace xgrad::inline XGRAD_PRECISION
