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

/// Calls body(count, at) for pieces of [0, n) of 4, 2 or 1 registers, `count` a constant.
template <class Body>
void in_pieces(std::size_t n, const Body& body) {
  std::size_t at = 0;
  for (; at + 3 * lanes < n; at += 4 * lanes) body(std::integral_constant<std::size_t, 4>(), at);
  for (; at + lanes < n; at += 2 * lanes) body(std::integral_constant<std::size_t, 2>(), at);
  if (at < n) body(std::integral_constant<std::size_t, 1>(), at);
}

/// A polynomial's coefficients with their moments, if any, and zeros around them: `margin` in front
/// and as many behind, so that registers may reach over either end.
constexpr std::size_t margin = 4 * lanes;
struct Polynomial {
  real *at, *moments;
  std::size_t length;
};
std::size_t room(std::size_t length) { return (length + lanes - 1) / lanes * lanes + 2 * margin; }

/// Sums over j of y_j x_(t -+ j), for t < to.length, the products of the moments' rule included:
/// for one piece of `count` registers from t on, and j in [begin, end).
template <int sign, bool directional, std::size_t count>
void accumulate(const Polynomial& x, const Polynomial& y, std::size_t begin, std::size_t end,
                std::size_t t, const Polynomial& to) {
  Batch sum[count], moment[count], other[count];
  for (std::size_t v = 0; v < count; ++v) sum[v] = moment[v] = other[v] = Batch(real(0));
  for (std::size_t j = begin; j < end; ++j) {
    const Batch yj(y.at[j]), mj(directional ? y.moments[j] : 0);
    const std::ptrdiff_t from =
        static_cast<std::ptrdiff_t>(t) + sign * static_cast<std::ptrdiff_t>(j);
    for (std::size_t v = 0; v < count; ++v) {
      const Batch xv = Batch::load_unaligned(x.at + from + v * lanes);
      sum[v] = row::multiply_add(yj, xv, sum[v]);
      if constexpr (directional) {
        const Batch mv = Batch::load_unaligned(x.moments + from + v * lanes);
        moment[v] = row::multiply_add(yj, mv, moment[v]);
        other[v] = row::multiply_add(mj, xv, other[v]);
      }
    }
  }
  for (std::size_t v = 0; v < count; ++v) {
    sum[v].store_unaligned(to.at + t + v * lanes);
    if constexpr (directional) (moment[v] + other[v]).store_unaligned(to.moments + t + v * lanes);
  }
}

void clear_beyond(const Polynomial& x, bool directional) {
  std::fill_n(x.at + x.length, room(x.length) - 2 * margin - x.length, real(0));
  if (directional)
    std::fill_n(x.moments + x.length, room(x.length) - 2 * margin - x.length, real(0));
}

/// to = x y, cut off at its length: numbers of events that add up.
template <bool directional>
void multiply(const Polynomial& x, const Polynomial& y, const Polynomial& to) {
  in_pieces(to.length, [&](auto count, std::size_t t) {
    const std::size_t begin = t < x.length ? 0 : t - (x.length - 1),
                      end = std::min(y.length, t + count * lanes);
    accumulate<-1, directional, count>(x, y, begin, end, t, to);
  });
  clear_beyond(to, directional);
}

/// to_t = sum over j of y_j x_(t + j): the adjoint.
template <bool directional>
void correlate(const Polynomial& x, const Polynomial& y, const Polynomial& to) {
  in_pieces(to.length, [&](auto count, std::size_t t) {
    const std::size_t end = std::min(y.length, x.length > t ? x.length - t : 0);
    accumulate<1, directional, count>(x, y, 0, end, t, to);
  });
  clear_beyond(to, directional);
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
    numbers_.reserve(numbers_below(n_));
    const std::size_t root = build(0, n_);
    std::vector<real> numbers;
    const Polynomial outside = make(numbers, length(n_));
    outside.at[k_] = 1;
    visit(root, outside, found);
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

  /// A polynomial of zeros in `numbers`.
  static Polynomial make(std::vector<real>& numbers, std::size_t length) {
    numbers.resize(kinds * room(length));
    return view(numbers.data(), length);
  }
  static Polynomial view(real* numbers, std::size_t length) {
    real* at = numbers + margin;
    return {at, directional ? at + room(length) : nullptr, length};
  }
  Polynomial inside(const Piece& piece) {
    return view(&numbers_[piece.inside], length(piece.size()));
  }

  /// What build() will need for a piece and its parts.
  std::size_t numbers_below(std::size_t size) const {
    const std::size_t own = size < n_ ? kinds * room(length(size)) : 0;
    return size <= leaf_ ? own : own + numbers_below(size / 2) + numbers_below(size - size / 2);
  }

  std::size_t build(std::size_t begin, std::size_t end) {
    Piece piece{begin, end, 0, 0, 0};
    const std::size_t size = end - begin;
    if (size > leaf_) {
      piece.left = build(begin, begin + size / 2);
      piece.right = build(begin + size / 2, end);
    }
    if (size < n_) {
      piece.inside = numbers_.size();
      numbers_.resize(piece.inside + kinds * room(length(size)));
      if (size > leaf_)
        multiply<directional>(inside(pieces_[piece.left]), inside(pieces_[piece.right]),
                              inside(piece));
      else
        copy_inside(piece);
    }
    pieces_.push_back(piece);
    return pieces_.size() - 1;
  }

  /// What is outside a piece is what is outside its parent, and inside its sibling.
  template <class Found>
  void visit(std::size_t at, const Polynomial& outside, const Found& found) {
    const Piece piece = pieces_[at];
    if (piece.size() <= leaf_) return visit_leaf(piece, outside, found);
    const auto descend = [&](std::size_t child, std::size_t sibling) {
      std::vector<real> numbers;
      const Polynomial next = make(numbers, length(pieces_[child].size()));
      correlate<directional>(outside, inside(pieces_[sibling]), next);
      visit(child, next, found);
    };
    descend(piece.right, piece.left);
    descend(piece.left, piece.right);
  }

  /// Row i of the table, from number -1, which is 0, on: what is inside the leaf's first i events.
  real* table(std::size_t i) { return table_->data() + i * stride_ + 1; }

  /// Fills rows 0 to `count`: P_i[j] = q P_{i-1}[j] + p P_{i-1}[j-1], and if the event happens its
  /// g adds to the moment.
  void fill_inside(const Piece& leaf, std::size_t count) {
    const std::size_t width = registers(leaf.size()) * lanes, moments = stride_ / kinds;
    for (std::size_t i = 0; i <= count; ++i) {
      real* to = table(i);
      to[-1] = 0;
      if (directional) to[moments - 1] = 0;
      if (i == 0) {
        std::fill_n(to, width, real(0));
        if (directional) std::fill_n(to + moments, width, real(0));
        to[0] = 1;
        continue;
      }
      const real* from = table(i - 1);
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
    const Polynomial to = inside(leaf);
    const real* from = table(leaf.size());
    std::copy_n(from, to.length, to.at);
    if (directional) std::copy_n(from + stride_ / kinds, to.length, to.moments);
  }

  /// From the last event to the first, what is outside takes in the events that have been passed.
  template <class Found>
  void visit_leaf(const Piece& leaf, const Polynomial& from, const Found& found) {
    const std::size_t width = registers(leaf.size()) * lanes, moments = stride_ / kinds;
    fill_inside(leaf, leaf.size() - 1);
    real *out = table(leaf.size()) - 1, *out_moments = out + width + lanes;
    std::fill_n(out, kinds * (width + lanes), real(0));
    std::copy_n(from.at, from.length, out);
    if (directional) std::copy_n(from.moments, from.length, out_moments);
    for (std::size_t i = leaf.size(); i-- > 0;) {
      const std::size_t event = leaf.begin + i;
      const real* in = table(i);
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
