// Products summed over named axes. Every form comes down to one step: two tensors whose axes carry
// labels are multiplied and summed over the labels that nobody needs any more, by one batched
// matrix product. Derivatives are those of permute, reshape, sum and matmul.
#include <algorithm>
#include <cctype>
#include <map>
#include <numeric>

#include <xgrad/core/ops.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using Labels = std::vector<int>;
// Letters are smaller; an axis of "..." is this plus its place from the end.
constexpr int further = 256;

bool has(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

Labels operator+(Labels a, const Labels& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

template <class Condition>
Labels filter(const Labels& labels, const Condition& condition) {
  Labels result;
  std::copy_if(labels.begin(), labels.end(), std::back_inserter(result), condition);
  return result;
}

/// A tensor with a label for each axis.
struct Labelled {
  Tensor x;
  Labels labels;

  std::size_t size(int label) const {
    const auto at = std::find(labels.begin(), labels.end(), label);
    return x.shape()[static_cast<std::size_t>(at - labels.begin())];
  }
  /// The axes in this order of labels.
  Tensor arranged(const Labels& order) const {
    if (order == labels) return x;
    std::vector<std::int64_t> axes;
    for (const int label : order)
      axes.push_back(std::find(labels.begin(), labels.end(), label) - labels.begin());
    return permute(x, axes);
  }
  /// Sums over the labels that are not in `kept`.
  Labelled reduced(const Labels& kept) const {
    std::vector<std::int64_t> axes;
    for (std::size_t axis = 0; axis < labels.size(); ++axis)
      if (!has(kept, labels[axis])) axes.push_back(static_cast<std::int64_t>(axis));
    if (axes.empty()) return *this;
    return {sum(x, axes), filter(labels, [&](int label) { return has(kept, label); })};
  }
};

/// Without the axes, of size 1, whose label meets the condition.
template <class Condition>
Labelled squeezed(const Labelled& t, const Condition& condition) {
  const Labels labels = filter(t.labels, [&](int label) { return !condition(label); });
  if (labels == t.labels) return t;
  Shape shape;
  for (const int label : labels) shape.push_back(t.size(label));
  return {reshape(t.x, shape), labels};
}

/// One axis for the two that carry a label twice. Side by side and flattened, the diagonal of an
/// n x n matrix is every (n + 1)-th number.
Labelled without_repeats(Labelled t) {
  for (std::size_t axis = 0; axis < t.labels.size(); ++axis) {
    const int label = t.labels[axis];
    const auto twin = std::find(t.labels.begin() + axis + 1, t.labels.end(), label);
    if (twin == t.labels.end()) continue;
    std::vector<std::int64_t> order;
    Labels rest;
    Shape shape;
    for (std::size_t i = 0; i < t.labels.size(); ++i) {
      if (t.labels.begin() + i == twin || i == axis) continue;
      order.push_back(static_cast<std::int64_t>(i));
      rest.push_back(t.labels[i]);
      shape.push_back(t.x.shape()[i]);
    }
    const std::size_t n = t.x.shape()[axis];
    order.push_back(static_cast<std::int64_t>(axis));
    order.push_back(twin - t.labels.begin());
    shape.push_back(n * n);
    const auto stop = static_cast<std::int64_t>(n * n), step = static_cast<std::int64_t>(n) + 1;
    t.x = slice(reshape(permute(t.x, order), shape), -1, 0, stop, step);
    t.labels = rest + Labels{label};
    --axis;  // this place holds another label now
  }
  return t;
}

/// Multiplies and sums over all labels that are not in `kept`. Labels of both have equal sizes.
Labelled contract(Labelled a, Labelled b, const Labels& kept) {
  a = a.reduced(kept + b.labels);
  b = b.reduced(kept + a.labels);
  const auto in_a = [&](int label) { return has(a.labels, label); };
  const auto in_b = [&](int label) { return has(b.labels, label); };
  const Labels shared = filter(a.labels, in_b);
  const Labels batch = filter(shared, [&](int label) { return has(kept, label); });
  const Labels summed = filter(shared, [&](int label) { return !has(kept, label); });
  const Labels rows = filter(a.labels, [&](int label) { return !in_b(label); });
  const Labels columns = filter(b.labels, [&](int label) { return !in_a(label); });
  const auto sizes = [&](const Labels& labels) {
    Shape shape;
    for (const int label : labels) shape.push_back(in_a(label) ? a.size(label) : b.size(label));
    return shape;
  };

  if (rows.empty() + columns.empty() + summed.empty() >= 2) {
    // A matrix product would use no number twice: multiply element by element, along the operand
    // that has all the labels.
    if (rows.empty()) std::swap(a, b);
    const auto in_second = [&](int label) { return has(b.labels, label); };
    Shape shape;
    for (const int label : a.labels) shape.push_back(in_second(label) ? b.size(label) : 1);
    Tensor factor = reshape(b.arranged(filter(a.labels, in_second)), shape);
    // What repeats along the last axis costs less written out than read number by number.
    if (!a.labels.empty() && !in_second(a.labels.back()))
      factor = broadcast_to(factor, a.x.shape());
    return Labelled{a.x * factor, a.labels}.reduced(kept);
  }
  // As matrices, read transposed where the axes already lie that way.
  const bool ta = a.labels == batch + summed + rows, tb = b.labels == batch + columns + summed;
  const std::size_t n = element_count(sizes(batch)), m = element_count(sizes(rows)),
                    k = element_count(sizes(summed)), p = element_count(sizes(columns));
  const Tensor left =
      ta ? reshape(a.x, {n, k, m}) : reshape(a.arranged(batch + rows + summed), {n, m, k});
  const Tensor right =
      tb ? reshape(b.x, {n, p, k}) : reshape(b.arranged(batch + summed + columns), {n, k, p});
  const Labels result = batch + rows + columns;
  return {reshape(matmul(left, right, {.transpose_a = ta, .transpose_b = tb}), sizes(result)),
          result};
}

// ---- einsum's little language

/// The equation "ij,...j->...i", taken apart; every error quotes it.
class Equation {
 public:
  explicit Equation(const std::string& text) : text_(text) {
    std::string terms = text;
    if (const std::size_t arrow = text.find("->"); arrow != std::string::npos) {
      result_ = parse(text.substr(arrow + 2));
      has_result_ = true;
      terms.resize(arrow);
    }
    for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
      end = terms.find(',', begin);
      operands_.push_back(parse(terms.substr(begin, end - begin)));
    }
  }

  std::size_t operand_count() const { return operands_.size(); }

  /// The operand with its labels, "..." replaced by one label for each axis that it stands for.
  Labelled label(std::size_t index, const Tensor& x) {
    const Labels& term = operands_[index];
    const std::size_t letters = term.size() - has(term, further);
    check(has(term, further) ? letters <= x.ndim() : letters == x.ndim(), "operand ", index,
          " of shape ", x.shape(), " has ", x.ndim(), x.ndim() == 1 ? " axis, not " : " axes, not ",
          letters, has(term, further) ? " or more" : "");
    further_axes_ = std::max(further_axes_, x.ndim() - letters);
    return {x, expanded(term, x.ndim() - letters)};
  }

  /// The labels of the result. Call after all operands were labelled.
  Labels result() const {
    if (has_result_) return expanded(result_, further_axes_);
    Labels once;
    for (const Labels& term : operands_)
      for (const int label : term)
        if (label != further && occurrences(label) == 1) once.push_back(label);
    std::sort(once.begin(), once.end());
    return expanded({further}, further_axes_) + once;
  }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    require<ShapeError>(condition, "einsum: \"", text_, "\": ", parts...);
  }

 private:
  Labels parse(const std::string& term) const {
    Labels labels;
    for (std::size_t i = 0; i < term.size(); ++i) {
      if (term[i] == ' ') continue;
      const bool dots = term.compare(i, 3, "...") == 0 && !has(labels, further);
      check(dots || std::isalpha(static_cast<unsigned char>(term[i])), "cannot read '", term[i],
            "' in \"", term, '"');
      labels.push_back(dots ? further : term[i]);
      if (dots) i += 2;
    }
    return labels;
  }

  /// Counted from the end, so that "..." of different lengths align as broadcasting does.
  static Labels expanded(const Labels& term, std::size_t axes) {
    Labels labels;
    for (const int label : term) {
      if (label != further) labels.push_back(label);
      for (std::size_t i = axes; label == further && i-- > 0;)
        labels.push_back(further + static_cast<int>(i));
    }
    return labels;
  }

  std::ptrdiff_t occurrences(int label) const {
    std::ptrdiff_t count = 0;
    for (const Labels& term : operands_) count += std::count(term.begin(), term.end(), label);
    return count;
  }

  const std::string& text_;
  std::vector<Labels> operands_;
  Labels result_;
  bool has_result_ = false;
  std::size_t further_axes_ = 0;  // of the operand with the most of them
};

std::string name_of(int label) {
  return label < further ? std::string(1, static_cast<char>(label))
                         : concat_text("axis ", further - label - 1, " of \"...\"");
}

}  // namespace

Tensor einsum(const std::string& equation, const std::vector<Tensor>& operands) {
  Equation parsed(equation);
  parsed.check(parsed.operand_count() == operands.size(), "names ", parsed.operand_count(),
               " operands, got ", operands.size());

  struct Size {
    std::size_t operand, size;
  };
  std::map<int, Size> sizes;
  std::vector<Labelled> parts;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    Labelled part = parsed.label(i, operands[i]);
    for (std::size_t axis = 0; axis < part.labels.size(); ++axis) {
      const int label = part.labels[axis];
      const std::size_t size = operands[i].shape()[axis];
      const Size known = sizes.try_emplace(label, Size{i, size}).first->second;
      const bool fits =
          size == known.size || (i != known.operand && (size == 1 || known.size == 1));
      parsed.check(fits, name_of(label), " is ", known.size, " in operand ", known.operand,
                   " of shape ", operands[known.operand].shape(), " and ", size, " in operand ", i,
                   " of shape ", operands[i].shape());
      if (known.size == 1) sizes[label] = {i, size};
    }
    parts.push_back(without_repeats(std::move(part)));
  }
  const Labels result = parsed.result();
  for (std::size_t i = 0; i < result.size(); ++i) {
    parsed.check(sizes.contains(result[i]), name_of(result[i]), " of the result is in no operand");
    parsed.check(std::find(result.begin(), result.begin() + i, result[i]) == result.begin() + i,
                 name_of(result[i]), " is in the result twice");
  }

  // An axis of size 1 that broadcasts need not be there.
  for (Labelled& part : parts)
    part = squeezed(part, [&](int label) { return part.size(label) != sizes[label].size; });

  Labelled product = parts[0];
  for (std::size_t i = 1; i < parts.size(); ++i) {
    Labels kept = result;
    for (std::size_t later = i + 1; later < parts.size(); ++later)
      kept = kept + parts[later].labels;
    product = contract(product, parts[i], kept);
  }
  const Tensor y = product.reduced(result).arranged(result);
  return reshape(y, y.shape());  // a tensor of its own, even where nothing was to be done
}

Tensor tensordot(const Tensor& a, const Tensor& b, std::int64_t count) {
  const auto most = static_cast<std::int64_t>(std::min(a.ndim(), b.ndim()));
  require<ShapeError>(count >= 0 && count <= most, "tensordot: cannot pair ", count,
                      " axes of shapes ", a.shape(), " and ", b.shape());
  std::vector<std::int64_t> last, first;
  for (std::int64_t i = 0; i < count; ++i) {
    last.push_back(static_cast<std::int64_t>(a.ndim()) - count + i);
    first.push_back(i);
  }
  return tensordot(a, b, last, first);
}

Tensor tensordot(const Tensor& a, const Tensor& b, const Ints& axes_a, const Ints& axes_b) {
  require<ShapeError>(axes_a.size() == axes_b.size(), "tensordot: pairs axes ", axes_a, " with ",
                      axes_b, ": ", axes_a.size(), " != ", axes_b.size());
  normalize_axes("tensordot", axes_a, a.ndim());  // none is there twice
  normalize_axes("tensordot", axes_b, b.ndim());
  Labels of_a(a.ndim()), of_b(b.ndim());
  std::iota(of_a.begin(), of_a.end(), 0);
  std::iota(of_b.begin(), of_b.end(), static_cast<int>(a.ndim()));
  for (std::size_t i = 0; i < axes_a.size(); ++i) {
    const std::size_t axis_a = normalize_axis("tensordot", axes_a[i], a.ndim()),
                      axis_b = normalize_axis("tensordot", axes_b[i], b.ndim());
    require<ShapeError>(a.shape()[axis_a] == b.shape()[axis_b], "tensordot: shapes ", a.shape(),
                        " and ", b.shape(), " do not pair: axis ", axis_a, " is ",
                        a.shape()[axis_a], ", axis ", axis_b, " is ", b.shape()[axis_b]);
    of_b[axis_b] = of_a[axis_a];
  }
  const Labels result = filter(of_a, [&](int label) { return !has(of_b, label); }) +
                        filter(of_b, [&](int label) { return !has(of_a, label); });
  return contract({a, of_a}, {b, of_b}, result).arranged(result);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  require<ShapeError>(a.ndim() == 1 && b.ndim() == 1, "outer: needs two vectors, got shapes ",
                      a.shape(), " and ", b.shape());
  return matmul(reshape(a, {a.size(), 1}), reshape(b, {1, b.size()}));
}

}  // namespace xgrad::inline XGRAD_PRECISION
