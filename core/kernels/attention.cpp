// Attention in tiles; see attention.hpp. After Dao 2023, FlashAttention-2 (2307.08691): scores are
// made tile by tile, forward with the softmax of Milakov & Gimelshein 2018 (1805.02867), whose
// maximum and sum are corrected as tiles come, backward from the saved log of that sum.
//
// A tile of scores is held transposed, [key][query], one query per lane. So what belongs to a query
// (maximum, sum, lse, position) is a vector, no reduction ever crosses lanes, and all products have
// the form of tile.hpp, a number of the left factor times a vector of the right one:
//
//     S^T = K Q^T    O += P V    |    dP^T = V dO^T    dV += P^T dO    dK += dS^T Q    dQ += dS K
//
// K and V are copied once per head into rows of whole vectors, Q and dO once per block of queries.
// Keys that no query sees, as they lie before its window or after it, are neither copied nor met.
#include <xgrad/core/kernels/attention.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include <xsimd/xsimd.hpp>

#include <xgrad/core/kernels/tile.hpp>
#include <xgrad/core/memory.hpp>
#include <xgrad/core/parallel.hpp>
#include <xgrad/core/tensor.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {
namespace {

using row::Batch, row::lanes;
using tile::always, tile::block_rows, tile::Into, tile::multiply, tile::Range, tile::round_up;
using tile::transpose;
constexpr real infinity = std::numeric_limits<real>::infinity();
constexpr auto log2e = static_cast<real>(std::numbers::log2e);
constexpr auto ln2 = static_cast<real>(std::numbers::ln2);

// A tile: 16 KiB of scores in float, small enough that it and one operand stay in the first cache.
constexpr std::size_t tile_queries = 64, tile_keys = 64;

// ---- rows

/// out = factor R x, where R turns the features as position p's row of the tables says, forward
/// (direction 1) or back (-1), or is 1 where there are no tables or `turn` is false.
void turn_row(const AttentionTerms& terms, bool turn, std::size_t p, real direction, real factor,
              std::size_t width, const real* x, real* out) {
  const real *cos = terms.cos + p * terms.half, *sin = terms.sin + p * terms.half;
  const std::size_t half = turn ? terms.half : 0, step = terms.interleaved ? 2 : 1;
  const std::size_t partner = terms.interleaved ? 1 : half;
  for (std::size_t i = 0; i < half; ++i) {
    const real c = factor * cos[i], s = factor * direction * sin[i];
    const real first = x[step * i], second = x[step * i + partner];
    out[step * i] = first * c - second * s;
    out[step * i + partner] = second * c + first * s;
  }
  for (std::size_t i = 2 * half; i < width; ++i) out[i] = factor * x[i];
}

void scale_row(real factor, std::size_t width, const real* x, real* out) {
  for (std::size_t i = 0; i < width; ++i) out[i] = factor * x[i];
}

// ---- the softmax of a tile

/// 2^x for x <= 0, to about an ulp, 0 below the smallest normal number: 2^n e^(f ln 2) with n the
/// integer nearest to x, by Taylor's series. NaN stays.
Batch exp2_of(const Batch& x) {
  constexpr bool is_double = sizeof(real) == 8;
  constexpr int degree = is_double ? 13 : 7, mantissa = is_double ? 52 : 23,
                bias = is_double ? 1023 : 127;
  constexpr auto coefficients = [] {
    std::array<real, degree + 1> c{};
    double term = 1;
    for (int k = 0; k <= degree; ++k) {
      c[static_cast<std::size_t>(k)] = static_cast<real>(term);
      term *= std::numbers::ln2 / (k + 1);
    }
    return c;
  }();
  // Numbers from 2^mantissa on have no fraction: adding such a one rounds, and leaves n + bias, the
  // exponent's field of 2^n, in the lowest bits.
  const Batch shift(static_cast<real>(1.5 * (is_double ? 0x1p52 : 0x1p23)) + bias);
  const Batch bounded = max(Batch(-bias), x);  // -bias leaves a field of 0, which is the number 0
  const Batch shifted = bounded + shift, f = bounded - (shifted - shift);
  Batch y(coefficients[degree]);
  for (std::size_t k = degree; k-- > 0;) y = row::multiply_add(y, f, Batch(coefficients[k]));
  using Bits = xsimd::batch<xsimd::as_integer_t<real>>;
  return y * xsimd::bitwise_cast<Batch>(Bits(xsimd::bitwise_cast<Bits>(shifted) << mantissa));
}

// ---- what is seen

/// n as a position or distance: those may be negative.
constexpr std::ptrdiff_t signed_of(std::size_t n) { return static_cast<std::ptrdiff_t>(n); }

/// Of the numbers first, …, last those that are indices below n.
Range indices(std::ptrdiff_t first, std::ptrdiff_t last, std::size_t n) {
  const auto index = [n](std::ptrdiff_t i) {
    return static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(i, 0, signed_of(n)));
  };
  return {index(first), index(last + 1)};
}

/// A query sees the keys that stand so far before it; negative is after it.
struct Reach {
  std::ptrdiff_t nearest, farthest;
};

/// Where a tile lies: its key j stands `distance - j + i` positions before its query i.
struct Tile {
  std::size_t queries, keys;
  std::ptrdiff_t distance;
  Reach reach;

  std::size_t vectors() const { return (queries + lanes - 1) / lanes; }

  /// The queries that see any of the n keys from j on.
  Range queries_of(std::size_t j, std::size_t n) const {
    const std::size_t last = std::min(j + n, keys) - 1;
    return indices(signed_of(j) - distance + reach.nearest,
                   signed_of(last) - distance + reach.farthest, queries);
  }
  /// The keys that any of the n queries from i on sees.
  Range keys_of(std::size_t i, std::size_t n) const {
    const std::size_t last = std::min(i + n, queries) - 1;
    return indices(signed_of(i) + distance - reach.farthest,
                   signed_of(last) + distance - reach.nearest, keys);
  }

  // Its distances are counted from the smallest, that of the last key and the first query.
  std::size_t distances() const { return keys + queries - 1; }
  std::ptrdiff_t smallest() const { return distance + 1 - signed_of(keys); }
  /// Those at which a key is seen.
  Range seen_distances() const {
    return indices(reach.nearest - smallest(), reach.farthest - smallest(), distances());
  }
  bool whole() const {
    const auto [begin, end] = seen_distances();
    return end - begin == distances();
  }

  // Scores are computed for a block of keys and a unit of queries if one of these sees one of
  // those. A unit is whole vectors and whole blocks, as both will read it.
  static constexpr std::size_t unit = std::max(lanes, block_rows);
  /// The vectors computed for key j.
  Range vectors_of(std::size_t j) const {
    const Range units = widen(queries_of(j / block_rows * block_rows, block_rows), unit);
    return {units.begin / lanes, std::min(units.end / lanes, vectors())};
  }
  /// The keys computed for a vector.
  Range computed(std::size_t vector) const {
    const Range blocks = widen(keys_of(vector * lanes / unit * unit, unit), block_rows);
    return {blocks.begin, std::min(blocks.end, keys)};
  }

 private:
  static Range widen(Range r, std::size_t step) {
    return r.begin < r.end ? Range{r.begin / step * step, round_up(r.end, step)} : Range{0, 0};
  }
};

/// Keys 0, …, sinks - 1 and begin, …, end - 1, and their places where these alone are held.
struct Seen {
  std::size_t sinks, begin, end;
  std::size_t size() const { return sinks + end - begin; }
  bool has(std::size_t key) const { return key < sinks || (begin <= key && key < end); }
  std::size_t key(std::size_t place) const { return place < sinks ? place : place - sinks + begin; }
  std::size_t place(std::size_t key) const { return key < sinks ? key : key - begin + sinks; }
};

// ---- one call

struct Problem {
  Problem(const AttentionSizes& sizes, const AttentionTerms& terms)
      : sizes(sizes),
        terms(terms),
        group(sizes.heads / sizes.kv_heads),
        width(round_up(sizes.width, padding)),
        value_width(round_up(sizes.value_width, padding)),
        offset(signed_of(sizes.keys) - signed_of(sizes.queries)),
        unlimited{terms.causal ? 0 : -signed_of(sizes.queries), signed_of(sizes.keys)},
        reach(unlimited) {
    // A window as long as the text is none.
    if (terms.window > 0 && terms.window < sizes.keys) {
      reach.farthest = signed_of(terms.window) - 1;
      sinks = std::min(terms.sinks, sizes.keys);
    }
    // Parts are ranges of query blocks that read, and backward write, about as many keys. They
    // depend on sizes alone, so that the order of sums does.
    const std::size_t blocks = (sizes.queries + tile_queries - 1) / tile_queries;
    const std::size_t parts =
        sizes.batch * sizes.kv_heads >= enough_tasks ? 1 : std::min(blocks, enough_tasks);
    std::size_t total = 0, sum = 0;
    for (std::size_t i = 0; i < blocks; ++i) total += seen_by_blocks(i, i + 1).size();
    cuts.push_back(0);
    for (std::size_t i = 0; i < blocks; ++i) {
      sum += seen_by_blocks(i, i + 1).size();
      if (sum * parts >= total * cuts.size()) cuts.push_back(i + 1);
    }
    head_flops = 4.0 * static_cast<double>(total * tile_queries * group) *
                 static_cast<double>(sizes.width + sizes.value_width);
  }

  /// The keys that any of these queries sees.
  Seen seen(std::size_t first, std::size_t count) const {
    const std::ptrdiff_t from = offset + signed_of(first), to = from + signed_of(count) - 1;
    const auto [begin, end] = indices(from - reach.farthest, to - reach.nearest, sizes.keys);
    const std::size_t of_sinks = std::min(sinks, end);
    return {of_sinks, std::max(of_sinks, begin), end};
  }
  Seen seen_by_blocks(std::size_t begin, std::size_t end) const {
    const std::size_t first = begin * tile_queries;
    return seen(first, std::min(sizes.queries, end * tile_queries) - first);
  }
  Seen seen_by_part(std::size_t part) const { return seen_by_blocks(cuts[part], cuts[part + 1]); }
  std::size_t parts() const { return cuts.size() - 1; }

  /// Calls body(b, key head), on all threads unless a head has parts: they are for the threads
  /// then.
  template <class Body>
  void for_heads(const Body& body) const {
    const std::size_t heads = sizes.batch * sizes.kv_heads;
    constexpr double task_flops = 4e6;  // worth a thread
    const auto few = static_cast<std::size_t>(task_flops / std::max(1.0, head_flops));
    parallel_for(heads, parts() > 1 ? heads : few, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) body(i / sizes.kv_heads, i % sizes.kv_heads);
    });
  }

  /// Calls body(query head, first query, tile's queries) for all query blocks of a part.
  template <class Body>
  void for_queries(std::size_t part, std::size_t kv_head, const Body& body) const {
    for (std::size_t h = kv_head * group; h < (kv_head + 1) * group; ++h)
      for (std::size_t i = cuts[part]; i < cuts[part + 1]; ++i)
        body(h, i * tile_queries, std::min(tile_queries, sizes.queries - i * tile_queries));
  }

  /// Calls body(first key, tile) for the tiles that a query block sees.
  template <class Body>
  void for_tiles(std::size_t first_query, std::size_t queries, const Body& body) const {
    const auto walk = [&](std::size_t begin, std::size_t end, Reach within) {
      for (std::size_t j = begin; j < end; j += tile_keys)
        body(j, Tile{queries, std::min(tile_keys, end - j),
                     offset + signed_of(first_query) - signed_of(j), within});
    };
    const Seen keys = seen(first_query, queries);
    walk(0, keys.sinks, unlimited);
    walk(keys.begin, keys.end, reach);
  }

  /// What is added to the score of a key that a query sees at this distance, in units of log 2.
  real term(std::size_t h, std::ptrdiff_t distance) const {
    real sum = 0;
    if (terms.slopes) sum -= terms.slopes[h] * static_cast<real>(std::abs(distance));
    if (terms.bias) sum += terms.bias[h * terms.bias_stride + static_cast<std::size_t>(distance)];
    return sum * log2e;
  }

  static constexpr std::size_t padding = Tile::unit;  // of rows and widths
  static constexpr std::size_t enough_tasks = 8;  // heads or parts, to keep any few threads busy
  const AttentionSizes& sizes;
  const AttentionTerms& terms;
  std::size_t group, width, value_width;  // widths in whole vectors
  std::ptrdiff_t offset;                  // the position of query 0
  Reach unlimited, reach;                 // to the sinks, and to other keys
  std::size_t sinks = 0;
  std::vector<std::size_t> cuts;  // query blocks at which parts begin, and the end
  double head_flops;
};

/// Pieces of one pooled buffer.
class Scratch {
 public:
  explicit Scratch(std::initializer_list<std::size_t> counts) {
    std::size_t total = 0;
    for (const std::size_t count : counts) total += round_up(count, 16);
    buffer_ = Buffer::create(total);
    next_ = buffer_->data();
  }
  real* take(std::size_t count) { return std::exchange(next_, next_ + round_up(count, 16)); }

 private:
  Ref<Buffer> buffer_;
  real* next_;
};

/// A row of whole vectors for each key that is seen, and one for its value.
struct KeyRows {
  KeyRows(const Problem& p, Seen seen)
      : seen(seen),
        width(p.width),
        value_width(p.value_width),
        scratch({seen.size() * width, seen.size() * value_width}),
        keys(scratch.take(seen.size() * width)),
        values(scratch.take(seen.size() * value_width)) {}

  real* key(std::size_t j) const { return keys + seen.place(j) * width; }
  real* value(std::size_t j) const { return values + seen.place(j) * value_width; }

  Seen seen;
  std::size_t width, value_width;
  Scratch scratch;
  real *keys, *values;
};

/// The keys, turned, and values of one head.
KeyRows load_keys(const Problem& p, const Heads& k, const Heads& v, std::size_t b,
                  std::size_t kv_head) {
  KeyRows rows(p, p.seen(0, p.sizes.queries));
  parallel_for(rows.seen.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t place = begin; place < end; ++place) {
      const std::size_t j = rows.seen.key(place);
      real *key = rows.key(j), *value = rows.value(j);
      turn_row(p.terms, p.terms.turn_keys, j, 1, 1, p.sizes.width, k.at(b, kv_head, j), key);
      std::fill(key + p.sizes.width, key + p.width, real(0));
      std::copy_n(v.at(b, kv_head, j), p.sizes.value_width, value);
      std::fill(value + p.sizes.value_width, value + p.value_width, real(0));
    }
  });
  return rows;
}

/// A block of rows in whole vectors, and its transpose.
struct BlockOfRows {
  BlockOfRows(Scratch& scratch, std::size_t width)
      : width(width),
        rows(scratch.take(tile_queries * width)),
        transposed(scratch.take(width * tile_queries)) {}
  static std::size_t size(std::size_t width) { return 2 * tile_queries * width; }

  /// Takes `count` rows: write(i, row i). Lanes that are left over hold zeros.
  template <class Write>
  void fill(std::size_t count, const Write& write) {
    const std::size_t padded = round_up(count, Problem::padding);
    std::fill_n(rows, padded * width, real(0));
    for (std::size_t i = 0; i < count; ++i) write(i, rows + i * width);
    transpose(padded, width, rows, width, transposed, tile_queries);
  }

  std::size_t width;
  real *rows, *transposed;
};

void load_queries(const Problem& p, const Heads& q, std::size_t b, std::size_t h, std::size_t i0,
                  std::size_t count, BlockOfRows& out) {
  // Scores in units of log 2, so that exp2 serves.
  out.fill(count, [&](std::size_t i, real* row) {
    turn_row(p.terms, true, static_cast<std::size_t>(p.offset) + i0 + i, 1, p.terms.scale * log2e,
             p.sizes.width, q.at(b, h, i0 + i), row);
  });
}

/// S^T = K Q^T, where a query of the tile sees a key.
void products_with_keys(const Tile& tile, std::size_t depth, const real* keys, std::size_t stride,
                        const real* queries_transposed, real* scores) {
  multiply<Into::replace>(tile.keys, {keys, stride, 1}, {queries_transposed, tile_queries},
                          {scores, tile_queries}, always(depth),
                          [&](std::size_t j) { return tile.vectors_of(j); });
}

/// Adds what distance and padding ask for, -inf where a query does not see a key. As distance grows
/// by 1 from lane to lane, its terms are worked out once per distance, and read by whole vectors.
void add_terms(const Problem& p, const Tile& tile, std::size_t b, std::size_t h, std::size_t j0,
               real* scores) {
  const AttentionTerms& terms = p.terms;
  if (tile.whole() && !terms.slopes && !terms.bias && !terms.padding) return;
  real by_distance[tile_keys + tile_queries];
  std::fill(std::begin(by_distance), std::end(by_distance), -infinity);
  const auto [begin, end] = tile.seen_distances();
  for (std::size_t n = begin; n < end; ++n)
    by_distance[n] = p.term(h, tile.smallest() + signed_of(n));
  const Batch never(-infinity);
  for (std::size_t v = 0; v < tile.vectors(); ++v) {
    const auto [begin, end] = tile.computed(v);
    for (std::size_t j = begin; j < end; ++j) {
      const bool padded = terms.padding && terms.padding[b * p.sizes.keys + j0 + j] != 0;
      const Batch term =
          padded ? never : Batch::load_unaligned(by_distance + tile.keys - 1 - j + v * lanes);
      real* at = scores + j * tile_queries + v * lanes;
      // Chosen, not added: the score of an unseen key may be NaN.
      select(term == never, never, Batch::load_aligned(at) + term).store_aligned(at);
    }
  }
}

/// 0 or 1/(1 - p) for each weight of the tile, transposed like the scores.
void draw_mask(const Problem& p, const Tile& tile, std::size_t b, std::size_t h, std::size_t i0,
               std::size_t j0, real* mask) {
  const real rate = p.terms.dropout, kept = rate == 1 ? 0 : 1 / (1 - rate);
  const auto threshold = static_cast<std::uint32_t>(
      std::min(std::nearbyint(static_cast<double>(rate) * 0x1p32), 0x1p32 - 1));
  std::array<std::uint32_t, tile_keys + 4> words;
  std::fill_n(mask, tile.keys * tile_queries, real(0));
  for (std::size_t i = 0; i < tile.queries; ++i) {
    const std::size_t n = ((b * p.sizes.heads + h) * p.sizes.queries + i0 + i) * p.sizes.keys + j0;
    p.terms.stream.read_words(p.terms.stream.position() + n / 4,
                              std::span(words).first(n % 4 + tile.keys));
    for (std::size_t j = 0; j < tile.keys; ++j)
      mask[j * tile_queries + i] = words[n % 4 + j] < threshold ? 0 : kept;
  }
}

/// Applies f to the registers of `x` and of the arrays like it, where the tile was computed.
template <class F, class... X>
void map_tile(const Tile& tile, const F& f, X*... x) {
  for (std::size_t v = 0; v < tile.vectors(); ++v) {
    const auto [begin, end] = tile.computed(v);
    for (std::size_t j = begin; j < end; ++j) f(v * lanes, (x + j * tile_queries + v * lanes)...);
  }
}

// ---- forward

struct Forward {
  Forward(const Problem& p)
      : p(p),
        scratch({BlockOfRows::size(p.width), tile_keys * tile_queries,
                 p.terms.dropout > 0 ? tile_keys * tile_queries : 0, tile_queries * p.value_width,
                 tile_queries, tile_queries, tile_queries}),
        q(scratch, p.width),
        scores(scratch.take(tile_keys * tile_queries)),
        mask(scratch.take(p.terms.dropout > 0 ? tile_keys * tile_queries : 0)),
        mixed(scratch.take(tile_queries * p.value_width)),
        highest(scratch.take(tile_queries)),
        total(scratch.take(tile_queries)),
        factor(scratch.take(tile_queries)) {}

  /// Turns the tile's scores into exp2(score - highest), after raising `highest`; `factor` is what
  /// the sums so far must be multiplied by.
  void soften(const Tile& tile) {
    for (std::size_t v = 0; v < tile.vectors(); ++v) {
      real* column = scores + v * lanes;
      const auto [begin, end] = tile.computed(v);
      const Batch old = Batch::load_aligned(highest + v * lanes);
      Batch even = old, odd = old;
      std::size_t j = begin;
      for (; j + 2 <= end; j += 2) {
        even = max(even, Batch::load_aligned(column + j * tile_queries));
        odd = max(odd, Batch::load_aligned(column + (j + 1) * tile_queries));
      }
      if (j < end) even = max(even, Batch::load_aligned(column + j * tile_queries));
      const Batch now = max(even, odd);
      // A query that has seen no key yet: -inf - -inf would be NaN.
      const Batch base = select(now == Batch(-infinity), Batch(0), now);
      Batch sum(0);
      for (j = begin; j < end; ++j) {
        const Batch weight = exp2_of(Batch::load_aligned(column + j * tile_queries) - base);
        weight.store_aligned(column + j * tile_queries);
        sum += weight;
      }
      const Batch change = exp2_of(old - base);
      now.store_aligned(highest + v * lanes);
      change.store_aligned(factor + v * lanes);
      row::multiply_add(Batch::load_aligned(total + v * lanes), change, sum)
          .store_aligned(total + v * lanes);
    }
  }

  void run(const KeyRows& kv, const Heads& queries, std::size_t b, std::size_t h, std::size_t i0,
           std::size_t count, const MutableHeads& out, real* lse) {
    load_queries(p, queries, b, h, i0, count, q);
    std::fill_n(highest, tile_queries, -infinity);
    std::fill_n(total, tile_queries, real(0));
    std::fill_n(mixed, count * p.value_width, real(0));
    p.for_tiles(i0, count, [&](std::size_t j0, const Tile& tile) {
      products_with_keys(tile, p.sizes.width, kv.key(j0), p.width, q.transposed, scores);
      add_terms(p, tile, b, h, j0, scores);
      soften(tile);
      if (p.terms.dropout > 0) {
        draw_mask(p, tile, b, h, i0, j0, mask);
        map_tile(
            tile,
            [](std::size_t, real* weight, const real* kept) {
              (Batch::load_aligned(weight) * Batch::load_aligned(kept)).store_aligned(weight);
            },
            scores, mask);
      }
      multiply<Into::scale_add>(
          count, {scores, 1, tile_queries}, {kv.value(j0), p.value_width}, {mixed, p.value_width},
          [&](std::size_t i) { return tile.keys_of(i, block_rows); }, always(p.value_width / lanes),
          factor);
    });
    for (std::size_t i = 0; i < count; ++i) {
      const real sum = total[i];
      scale_row(sum == 0 ? 0 : 1 / sum, p.sizes.value_width, mixed + i * p.value_width,
                out.at(b, h, i0 + i));
      lse[i0 + i] = sum == 0 ? -infinity : highest[i] * ln2 + std::log(sum);
    }
  }

  const Problem& p;
  Scratch scratch;
  BlockOfRows q;
  real *scores, *mask, *mixed, *highest, *total, *factor;
};

// ---- one query

/// Forward for a single query per head, as when a text is written token by token: a long run over
/// keys and values, each read once, where they lie. Bound by memory, so nothing is copied into
/// tiles. Ranges of keys are done on their own, each with its own maximum and sum.
struct OneQuery {
  static bool fits(const Problem& p) {
    return p.sizes.queries == 1 && p.sizes.width == p.width &&
           p.sizes.value_width == p.value_width && p.terms.dropout == 0 &&
           !(p.terms.turn_keys && p.terms.half > 0);
  }

  explicit OneQuery(const Problem& p)
      : p(p),
        seen(p.seen(0, 1)),
        ranges(p.sizes.batch * p.sizes.kv_heads >= Problem::enough_tasks
                   ? 1
                   : std::clamp<std::size_t>((seen.end - seen.begin) / 1024, 1,
                                             Problem::enough_tasks)),
        parts(ranges + (seen.sinks > 0 ? 1 : 0)),
        scratch({p.group * p.width, p.group * seen.size(), parts * p.group * p.value_width,
                 parts * p.group, parts * p.group}),
        q(scratch.take(p.group * p.width)),
        scores(scratch.take(p.group * seen.size())),
        mixed(scratch.take(parts * p.group * p.value_width)),
        highest(scratch.take(parts * p.group)),
        total(scratch.take(parts * p.group)) {}

  void run(const Heads& queries, const Heads& k, const Heads& v, std::size_t b, std::size_t kv_head,
           const MutableHeads& out, real* lse) {
    const std::size_t first = kv_head * p.group, stride = seen.size();
    for (std::size_t r = 0; r < p.group; ++r)
      turn_row(p.terms, true, static_cast<std::size_t>(p.offset), 1, p.terms.scale * log2e, p.width,
               queries.at(b, first + r, 0), q + r * p.width);
    parallel_for(parts, ranges > 1 ? 1 : parts, [&](std::size_t begin, std::size_t end) {
      for (std::size_t part = begin; part < end; ++part) {
        const auto [j0, j1] = keys_of(part);
        real* some = scores + seen.place(j0);
        for (std::size_t j = j0; j < j1; ++j)
          for (std::size_t r = 0; r < p.group; ++r)
            some[r * stride + j - j0] = product(q + r * p.width, k.at(b, kv_head, j));
        for (std::size_t r = 0; r < p.group; ++r)
          soften(b, first + r, j0, j1 - j0, some + r * stride, part * p.group + r);
        multiply<Into::replace>(p.group, {some, stride, 1}, {v.at(b, kv_head, j0), v.row},
                                {mixed + part * p.group * p.value_width, p.value_width},
                                always(j1 - j0), always(p.value_width / lanes));
      }
    });
    for (std::size_t r = 0; r < p.group; ++r)
      join(r, out.at(b, first + r, 0), lse + b * p.sizes.heads + first + r);
  }

 private:
  Range keys_of(std::size_t part) const {
    if (part == ranges) return {0, seen.sinks};
    const std::size_t size = (seen.end - seen.begin + ranges - 1) / ranges,
                      begin = std::min(seen.end, seen.begin + part * size);
    return {begin, std::min(seen.end, begin + size)};
  }

  real product(const real* x, const real* y) const {
    Batch sum(0);
    for (std::size_t c = 0; c < p.width; c += lanes)
      sum = row::multiply_add(Batch::load_unaligned(x + c), Batch::load_unaligned(y + c), sum);
    return hadd(sum);
  }

  /// Turns n scores of head h, of key j0 and so on, into exp2(score - highest).
  void soften(std::size_t b, std::size_t h, std::size_t j0, std::size_t n, real* row,
              std::size_t at) {
    if (p.terms.slopes || p.terms.bias)
      for (std::size_t j = 0; j < n; ++j) row[j] += p.term(h, p.offset - signed_of(j0 + j));
    if (p.terms.padding)
      for (std::size_t j = 0; j < n; ++j)
        if (p.terms.padding[b * p.sizes.keys + j0 + j] != 0) row[j] = -infinity;
    const real top = row::fold(
        n, -infinity, [row](auto some, std::size_t j) { return some.load(row + j, -infinity); },
        [](const auto& x, const auto& y) {
          using std::max;
          return max(x, y);
        });
    const Batch base(top == -infinity ? 0 : top);
    row::walk(n, [&](auto some, std::size_t j) {
      some.store(row + j, exp2_of(some.load(row + j) - base));
    });
    highest[at] = top;
    total[at] = row::sum(n, [row](auto some, std::size_t j) { return some.load(row + j); });
  }

  /// Puts head r's parts together.
  void join(std::size_t r, real* out, real* lse) {
    real top = -infinity, sum = 0;
    for (std::size_t part = 0; part < parts; ++part)
      top = std::max(top, highest[part * p.group + r]);
    std::fill_n(out, p.value_width, real(0));
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t at = part * p.group + r;
      if (highest[at] == -infinity && total[at] == 0) continue;
      const real factor = std::exp2(highest[at] - top);
      sum += factor * total[at];
      for (std::size_t c = 0; c < p.value_width; ++c)
        out[c] += factor * mixed[at * p.value_width + c];
    }
    scale_row(sum == 0 ? 0 : 1 / sum, p.value_width, out, out);
    *lse = sum == 0 ? -infinity : top * ln2 + std::log(sum);
  }

  const Problem& p;
  const Seen seen;
  const std::size_t ranges, parts;  // those of the keys from seen.begin on; and with the sinks
  Scratch scratch;
  real *q, *scores, *mixed, *highest, *total;
};

// ---- backward

/// What the queries of one part add to the gradients of the keys they see, and of their values.
struct KeyGradients : KeyRows {
  using KeyRows::KeyRows;
  void clear() {
    std::fill_n(keys, seen.size() * width, real(0));
    std::fill_n(values, seen.size() * value_width, real(0));
  }
  /// Adds another part's for key j.
  void add(const KeyGradients& other, std::size_t j) {
    const auto add_row = [](std::size_t n, const real* from, real* to) {
      for (std::size_t c = 0; c < n; ++c) to[c] += from[c];
    };
    add_row(width, other.key(j), key(j));
    add_row(value_width, other.value(j), value(j));
  }
};

struct Backward {
  Backward(const Problem& p)
      : p(p),
        scratch({BlockOfRows::size(p.width), BlockOfRows::size(p.value_width),
                 3 * tile_keys * tile_queries, tile_queries * p.width, tile_queries, tile_queries}),
        q(scratch, p.width),
        grad(scratch, p.value_width),
        weights(scratch.take(tile_keys * tile_queries)),
        slopes(scratch.take(tile_keys * tile_queries)),
        mask(scratch.take(tile_keys * tile_queries)),
        dq(scratch.take(tile_queries * p.width)),
        log_sum(scratch.take(tile_queries)),
        delta(scratch.take(tile_queries)) {}

  /// From dL/d(weights) in `slopes`, with weights P = exp2(score - lse) and the mask Z of dropout:
  /// dL/d(score) = P (dP Z - D), and Z P in `weights`, which is what met the values.
  void pull_softmax(const Tile& tile) {
    const bool dropped = p.terms.dropout > 0;
    map_tile(
        tile,
        [&](std::size_t query, real* weight, real* slope, const real* kept) {
          const Batch difference =
              Batch::load_aligned(weight) - Batch::load_aligned(log_sum + query);
          // No weight exceeds 1, however much the rounding of huge scores says so.
          const Batch w = exp2_of(min(Batch(0), difference));
          Batch dw = Batch::load_aligned(slope);
          if (dropped) dw *= Batch::load_aligned(kept);
          (w * (dw - Batch::load_aligned(delta + query))).store_aligned(slope);
          (dropped ? w * Batch::load_aligned(kept) : w).store_aligned(weight);
        },
        weights, slopes, mask);
  }

  /// Adds dL/d(score), in `slopes`, to what their distances have so far.
  void pull_bias(const Tile& tile, real* dbias) const {
    real sums[tile_keys + tile_queries] = {};
    for (std::size_t j = 0; j < tile.keys; ++j) {
      const auto [begin, end] = tile.vectors_of(j);
      for (std::size_t v = begin; v < end; ++v) {
        real* at = sums + tile.keys - 1 - j + v * lanes;
        (Batch::load_unaligned(at) + Batch::load_aligned(slopes + j * tile_queries + v * lanes))
            .store_unaligned(at);
      }
    }
    const auto [begin, end] = tile.seen_distances();
    for (std::size_t n = begin; n < end; ++n) dbias[tile.smallest() + signed_of(n)] += sums[n];
  }

  /// Writes dq of a query block; adds to the sums of its keys and values and, unless null, to those
  /// of the bias.
  void run(const KeyRows& kv, const Heads& queries, const Heads& out, const Heads& grads,
           const real* lse, std::size_t b, std::size_t h, std::size_t i0, std::size_t count,
           const MutableHeads& dqueries, KeyGradients& sums, real* dbias) {
    load_queries(p, queries, b, h, i0, count, q);
    grad.fill(count, [&](std::size_t i, real* row) {
      const real *from = grads.at(b, h, i0 + i), *value = out.at(b, h, i0 + i);
      std::copy_n(from, p.sizes.value_width, row);
      // sum_j P_ij dP_ij = sum_j P_ij <dO_i, v_j> = <dO_i, O_i>, dropout or not
      real products[4] = {};
      for (std::size_t c = 0; c < p.sizes.value_width; ++c) products[c % 4] += from[c] * value[c];
      delta[i] = (products[0] + products[1]) + (products[2] + products[3]);
      log_sum[i] = lse[i0 + i] == -infinity ? infinity : lse[i0 + i] * log2e;
    });
    // Lanes behind the last query, like a query that sees no key, get weights of 0.
    std::fill(log_sum + count, log_sum + tile_queries, infinity);
    std::fill(delta + count, delta + tile_queries, real(0));
    std::fill_n(dq, count * p.width, real(0));
    p.for_tiles(i0, count, [&](std::size_t j0, const Tile& tile) {
      const real *keys = kv.key(j0), *values = kv.value(j0);
      products_with_keys(tile, p.sizes.width, keys, p.width, q.transposed, weights);
      products_with_keys(tile, p.sizes.value_width, values, p.value_width, grad.transposed, slopes);
      add_terms(p, tile, b, h, j0, weights);
      if (p.terms.dropout > 0) draw_mask(p, tile, b, h, i0, j0, mask);
      pull_softmax(tile);
      if (dbias) pull_bias(tile, dbias);
      const auto seers = [&](std::size_t j) { return tile.queries_of(j, block_rows); };
      multiply<Into::add>(tile.keys, {weights, tile_queries, 1}, {grad.rows, p.value_width},
                          {sums.value(j0), p.value_width}, seers, always(p.value_width / lanes));
      multiply<Into::add>(tile.keys, {slopes, tile_queries, 1}, {q.rows, p.width},
                          {sums.key(j0), p.width}, seers, always(p.width / lanes));
      multiply<Into::add>(
          count, {slopes, 1, tile_queries}, {keys, p.width}, {dq, p.width},
          [&](std::size_t i) { return tile.keys_of(i, block_rows); }, always(p.width / lanes));
    });
    for (std::size_t i = 0; i < count; ++i)
      turn_row(p.terms, true, static_cast<std::size_t>(p.offset) + i0 + i, -1, p.terms.scale,
               p.sizes.width, dq + i * p.width, dqueries.at(b, h, i0 + i));
  }

  const Problem& p;
  Scratch scratch;
  BlockOfRows q, grad;
  real *weights, *slopes, *mask, *dq, *log_sum, *delta;
};

}  // namespace

void attention(const AttentionSizes& sizes, const AttentionTerms& terms, const Heads& q,
               const Heads& k, const Heads& v, const MutableHeads& out, real* lse) {
  if (sizes.batch * sizes.heads * sizes.queries == 0) return;
  const Problem p(sizes, terms);
  if (OneQuery::fits(p)) {
    p.for_heads([&](std::size_t b, std::size_t kv_head) {
      OneQuery(p).run(q, k, v, b, kv_head, out, lse);
    });
    return;
  }
  p.for_heads([&](std::size_t b, std::size_t kv_head) {
    const KeyRows kv = load_keys(p, k, v, b, kv_head);
    parallel_for(p.parts(), 1, [&](std::size_t begin, std::size_t end) {
      Forward forward(p);
      for (std::size_t part = begin; part < end; ++part)
        p.for_queries(part, kv_head, [&](std::size_t h, std::size_t i0, std::size_t count) {
          forward.run(kv, q, b, h, i0, count, out, lse + (b * sizes.heads + h) * sizes.queries);
        });
    });
  });
}

void turn_keys(const AttentionSizes& sizes, const AttentionTerms& terms, std::size_t first,
               std::size_t rows, const Heads& k, const MutableHeads& out) {
  for (std::size_t b = 0; b < sizes.batch; ++b)
    for (std::size_t h = 0; h < sizes.kv_heads; ++h)
      for (std::size_t t = 0; t < rows; ++t)
        turn_row(terms, true, first + t, 1, 1, sizes.width, k.at(b, h, t), out.at(b, h, t));
}

void attention_vjp(const AttentionSizes& sizes, const AttentionTerms& terms, const Heads& q,
                   const Heads& k, const Heads& v, const Heads& out, const real* lse,
                   const Heads& grad, const MutableHeads& dq, const MutableHeads& dk,
                   const MutableHeads& dv, real* dbias) {
  const Problem p(sizes, terms);
  // For the bias each head has sums of its own in each sample and part, `rows` sets of them.
  const std::size_t rows = dbias ? sizes.batch * p.parts() : 0;
  const Ref<Buffer> bias_sums = Buffer::create(rows * sizes.heads * sizes.keys);
  const auto bias_sum = [&](std::size_t row, std::size_t h) {
    return bias_sums->data() + (row * sizes.heads + h) * sizes.keys;
  };
  p.for_heads([&](std::size_t b, std::size_t kv_head) {
    const KeyRows kv = load_keys(p, k, v, b, kv_head);
    std::vector<KeyGradients> sums;
    for (std::size_t part = 0; part < p.parts(); ++part) sums.emplace_back(p, p.seen_by_part(part));
    parallel_for(p.parts(), 1, [&](std::size_t begin, std::size_t end) {
      Backward backward(p);
      for (std::size_t part = begin; part < end; ++part) {
        const std::size_t row = b * p.parts() + part;
        sums[part].clear();
        if (dbias) std::fill_n(bias_sum(row, kv_head * p.group), p.group * sizes.keys, real(0));
        p.for_queries(part, kv_head, [&](std::size_t h, std::size_t i0, std::size_t count) {
          backward.run(kv, q, out, grad, lse + (b * sizes.heads + h) * sizes.queries, b, h, i0,
                       count, dq, sums[part], dbias ? bias_sum(row, h) : nullptr);
        });
      }
    });
    parallel_for(sizes.keys, 1024, [&](std::size_t begin, std::size_t end) {
      for (std::size_t j = begin; j < end; ++j) {
        real *to_key = dk.at(b, kv_head, j), *to_value = dv.at(b, kv_head, j);
        // To the first part that sees the key, those of the others are added, in order.
        KeyGradients* sum = nullptr;
        for (KeyGradients& part : sums) {
          if (!part.seen.has(j)) continue;
          if (sum)
            sum->add(part, j);
          else
            sum = &part;
        }
        if (!sum) {
          std::fill_n(to_key, sizes.width, real(0));
          std::fill_n(to_value, sizes.value_width, real(0));
          continue;
        }
        // The queries of a tile carry scale log2(e); the scale belongs here, the rest does not.
        turn_row(terms, terms.turn_keys, j, -1, ln2, sizes.width, sum->key(j), to_key);
        std::copy_n(sum->value(j), sizes.value_width, to_value);
      }
    });
  });
  if (!dbias) return;
  std::fill_n(dbias, sizes.heads * terms.bias_stride, real(0));
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t h = 0; h < sizes.heads; ++h)
      for (std::size_t n = 0; n < sizes.keys; ++n)
        dbias[h * terms.bias_stride + n] += bias_sum(row, h)[n];
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
