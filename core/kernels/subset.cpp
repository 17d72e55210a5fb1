// Conditional Bernoulli probabilities; see subset.hpp. Bound by arithmetic on vectors of k + 1
// numbers. Everything only adds positive numbers, so nothing cancels.
#include <xgrad/core/kernels/subset.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

#include <xgrad/core/kernels/long_sum.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch;
using row::lanes;

/// y += a x.
void add_scaled(std::size_t n, real a, const real* x, real* y) {
  row::walk(n, [=](auto part, std::size_t i) {
    part.store(y + i, row::multiply_add(Batch(a), part.load(x + i), part.load(y + i)));
  });
}

/// A row, halved again and again. Of each piece there are two vectors over a number of events j:
/// inside, the probability that j of its own happen; outside, the probability that of all others as
/// many do as make it k, if j of its own do. `directional` adds to each vector its moments: the
/// expectation of the sum of g over what happens, counted where the event of the vector occurs.
template <bool directional>
class Halves {
 public:
  Halves(const Subset& events, const real* g = nullptr)
      : n_(events.z.size()), k_(events.k), leaf_(events.leaf), g_(g), odds_(2 * n_) {
    real *p = odds_.data(), *q = p + n_;
    row::walk(n_, [=, z = events.z.data()](auto part, std::size_t i) {
      const Batch zi = part.load(z + i), e = exp(-xsimd::max(zi, -zi)), one(real(1)),
                  larger = one / (one + e), smaller = e * larger;
      const auto negative = zi < Batch(real(0));
      part.store(p + i, xsimd::select(negative, smaller, larger));
      part.store(q + i, xsimd::select(negative, larger, smaller));
    });
  }

  /// Calls found(i, with, without, moment) for each event, last to first: the probabilities that k
  /// happen, i among them or not, and the moment of the former.
  template <class Found>
  void run(const Found& found) {
    const std::size_t largest = std::min(n_, leaf_), width = registers(largest) * lanes;
    stride_ = kinds * (width + 1);
    table_ = Buffer::create((largest + 1) * stride_ + kinds * (width + lanes));
    const std::size_t root = build(0, n_);
    std::vector<real> outside(kinds * length(n_));
    outside[k_] = 1;
    visit(root, outside.data(), found);
  }

 private:
  static constexpr std::size_t kinds = directional ? 2 : 1;  // a vector's moments lie behind it
  struct Piece {
    std::size_t begin, end, left, right, inside;  // inside: where in numbers_
    std::size_t size() const { return end - begin; }
  };

  std::size_t length(std::size_t size) const { return std::min(size, k_) + 1; }
  std::size_t registers(std::size_t size) const { return (length(size) + lanes - 1) / lanes; }
  real p(std::size_t i) const { return odds_[i]; }
  real q(std::size_t i) const { return odds_[n_ + i]; }

  std::size_t build(std::size_t begin, std::size_t end) {
    Piece piece{begin, end, 0, 0, 0};
    const std::size_t size = end - begin;
    if (size > leaf_) {
      piece.left = build(begin, begin + size / 2);
      piece.right = build(begin + size / 2, end);
    }
    if (size < n_) {
      piece.inside = numbers_.size();
      numbers_.resize(piece.inside + kinds * length(size));
      size > leaf_ ? join(piece) : copy_inside(piece);
    }
    pieces_.push_back(piece);
    return pieces_.size() - 1;
  }

  /// The numbers that happen in two pieces add up: the product of their polynomials.
  void join(const Piece& piece) {
    const Piece &left = pieces_[piece.left], &right = pieces_[piece.right];
    const std::size_t size = length(piece.size()), many = length(left.size());
    const real *x = &numbers_[left.inside], *y = &numbers_[right.inside];
    real* to = &numbers_[piece.inside];
    for (std::size_t j = 0; j < length(right.size()); ++j) {
      const std::size_t count = std::min(many, size - j);
      add_scaled(count, y[j], x, to + j);
      if constexpr (directional) {
        add_scaled(count, y[j], x + many, to + size + j);
        add_scaled(count, y[length(right.size()) + j], x, to + size + j);
      }
    }
  }

  /// What is outside `piece` is what is outside its parent, and inside its sibling.
  std::vector<real> outside(const Piece& piece, const Piece& sibling, std::size_t parent_size,
                            const real* from) const {
    const std::size_t size = length(piece.size()), others = length(sibling.size()),
                      all = length(parent_size);
    const real* y = &numbers_[sibling.inside];
    std::vector<real> to(kinds * size);
    for (std::size_t j = 0; j < std::min(others, all); ++j) {
      const std::size_t count = std::min(size, all - j);
      add_scaled(count, y[j], from + j, to.data());
      if constexpr (directional) {
        add_scaled(count, y[j], from + all + j, to.data() + size);
        add_scaled(count, y[others + j], from + j, to.data() + size);
      }
    }
    return to;
  }

  template <class Found>
  void visit(std::size_t at, const real* from, const Found& found) {
    const Piece piece = pieces_[at];
    if (piece.size() <= leaf_) return visit_leaf(piece, from, found);
    const Piece &left = pieces_[piece.left], &right = pieces_[piece.right];
    visit(piece.right, outside(right, left, piece.size(), from).data(), found);
    visit(piece.left, outside(left, right, piece.size(), from).data(), found);
  }

  /// Row i of the table, from number -1, which is 0, on: what is inside the leaf's first i events.
  real* inside(std::size_t i) { return table_->data() + i * stride_ + 1; }

  /// Fills rows 0 to `count`: P_i[j] = q P_{i-1}[j] + p P_{i-1}[j-1], and if the event happens its
  /// g adds to the moment.
  void fill_inside(const Piece& leaf, std::size_t count) {
    const std::size_t width = registers(leaf.size()) * lanes, moments = stride_ / kinds;
    for (std::size_t i = 0; i <= count; ++i) {
      real* to = inside(i);
      to[-1] = 0;
      if (directional) to[moments - 1] = 0;
      if (i == 0) {
        std::fill_n(to, width, real(0));
        if (directional) std::fill_n(to + moments, width, real(0));
        to[0] = 1;
        continue;
      }
      const real* from = inside(i - 1);
      const std::size_t event = leaf.begin + i - 1;
      const Batch yes(p(event)), no(q(event)), g(directional ? g_[event] : 0);
      for (std::size_t j = 0; j < width; j += lanes) {
        const Batch here = Batch::load_unaligned(from + j),
                    before = Batch::load_unaligned(from + j - 1);
        (no * here + yes * before).store_unaligned(to + j);
        if constexpr (directional) {
          const Batch moment = Batch::load_unaligned(from + moments + j),
                      moment_before = Batch::load_unaligned(from + moments + j - 1);
          (no * moment + yes * (moment_before + g * before)).store_unaligned(to + moments + j);
        }
      }
    }
  }

  void copy_inside(const Piece& leaf) {
    fill_inside(leaf, leaf.size());
    const std::size_t size = length(leaf.size());
    for (std::size_t kind = 0; kind < kinds; ++kind)
      std::copy_n(inside(leaf.size()) + kind * (stride_ / kinds), size,
                  &numbers_[leaf.inside + kind * size]);
  }

  /// From the last event to the first, what is outside takes in the events that have been passed.
  template <class Found>
  void visit_leaf(const Piece& leaf, const real* from, const Found& found) {
    const std::size_t size = length(leaf.size()), width = registers(leaf.size()) * lanes,
                      moments = stride_ / kinds;
    fill_inside(leaf, leaf.size() - 1);
    real *out = inside(leaf.size()) - 1, *out_moments = out + width + lanes;
    std::fill_n(out, kinds * (width + lanes), real(0));
    std::copy_n(from, size, out);
    if (directional) std::copy_n(from + size, size, out_moments);
    for (std::size_t i = leaf.size(); i-- > 0;) {
      const std::size_t event = leaf.begin + i;
      const real* in = inside(i);
      const Batch yes(p(event)), no(q(event)), g(directional ? g_[event] : 0);
      Batch with(real(0)), without(real(0)), moment(real(0));
      for (std::size_t j = 0; j < width; j += lanes) {
        const Batch x = Batch::load_unaligned(in + j), here = Batch::load_unaligned(out + j),
                    after = Batch::load_unaligned(out + j + 1);
        with = row::multiply_add(x, after, with);
        without = row::multiply_add(x, here, without);
        (no * here + yes * after).store_unaligned(out + j);
        if constexpr (directional) {
          const Batch m = Batch::load_unaligned(in + moments + j),
                      m_here = Batch::load_unaligned(out_moments + j),
                      m_after = Batch::load_unaligned(out_moments + j + 1) + g * after;
          moment = row::multiply_add(m, after, row::multiply_add(x, m_after, moment));
          (no * m_here + yes * m_after).store_unaligned(out_moments + j);
        }
      }
      found(event, p(event) * xsimd::hadd(with), q(event) * xsimd::hadd(without),
            directional ? p(event) * xsimd::hadd(moment) : 0);
    }
  }

  const std::size_t n_, k_, leaf_;
  const real* const g_;
  std::vector<real> odds_;  // p, then q
  std::size_t stride_ = 0;
  Ref<Buffer> table_;  // of one leaf
  std::vector<Piece> pieces_;
  std::vector<real> numbers_;  // what is inside the pieces
};

}  // namespace

std::size_t subset_leaf(std::size_t n, std::size_t k) { return n * k <= 2'000'000 ? n : 32; }

double subset_inclusion(const Subset& events, real* y) {
  double total = 0;
  Halves<false>(events).run([&](std::size_t i, real with, real without, real) {
    total = static_cast<double>(with) + without;
    y[i] = with / (with + without);
  });
  return std::log(total);
}

// J g is the derivative of y in the direction g. As J 1 = 0, a constant may be taken off g first,
// so that the sum of y g is 0: then nothing cancels in what follows. With E the expectation given
// that k happen and s the sum of g over them, J g = E[1_i s] - y_i E[s]. The sum over i of E[1_i s]
// is k E[s]: taken from there, E[s] makes the sum of J g vanish to rounding.
void subset_covariance(const Subset& events, const real* y, const real* g, real* dx) {
  const std::size_t n = events.z.size();
  const double k = static_cast<double>(events.k);
  const real mean =
      static_cast<real>(row::long_sums<1>(n,
                                          [=](auto part, std::size_t i) {
                                            return std::array{part.load(g + i) * part.load(y + i)};
                                          })[0] /
                        k);
  std::vector<real> centred(n);
  std::transform(g, g + n, centred.begin(), [mean](real gi) { return gi - mean; });
  double sum = 0;
  Halves<true>(events, centred.data())
      .run([&](std::size_t i, real with, real without, real moment) {
        dx[i] = moment / (with + without);
        sum += dx[i];
      });
  const real expected = static_cast<real>(sum / k);
  for (std::size_t i = 0; i < n; ++i) dx[i] -= y[i] * expected;
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
