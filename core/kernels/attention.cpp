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

/// Where a tile lies, and what of it is seen. Key j of the tile stands `distance - j + i` positions
/// before its query i; if causal, it is seen where that is not negative.
struct Tile {
  std::size_t queries, keys;
  std::ptrdiff_t distance;
  bool causal;

  bool whole() const { return !causal || distance >= static_cast<std::ptrdiff_t>(keys) - 1; }
  /// The first query that sees key j.
  std::size_t first_query(std::size_t j) const {
    return static_cast<std::size_t>(
        causal ? std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(j) - distance) : 0);
  }
  /// The keys that query i sees.
  std::size_t seen_by(std::size_t i) const {
    return static_cast<std::size_t>(
        causal ? std::clamp<std::ptrdiff_t>(static_cast<std::ptrdiff_t>(i) + 1 + distance, 0,
                                            static_cast<std::ptrdiff_t>(keys))
               : static_cast<std::ptrdiff_t>(keys));
  }
  std::size_t vectors() const { return (queries + lanes - 1) / lanes; }

  // Scores are computed for blocks of keys, each from the unit of queries on in which one sees the
  // block's first key. A unit is whole vectors and whole blocks, as both will read it.
  static constexpr std::size_t unit = std::max(lanes, block_rows);
  std::size_t first_vector(std::size_t j) const {
    return first_query(j / block_rows * block_rows) / unit * (unit / lanes);
  }
  std::size_t computed(std::size_t vector) const {
    const std::size_t last = (vector * lanes / unit + 1) * unit - 1;
    return std::min(keys, round_up(seen_by(last), block_rows));
  }
};

// ---- one call

struct Problem {
  Problem(const AttentionSizes& sizes, const AttentionTerms& terms)
      : sizes(sizes),
        terms(terms),
        group(sizes.heads / sizes.kv_heads),
        width(round_up(sizes.width, padding)),
        value_width(round_up(sizes.value_width, padding)),
        offset(static_cast<std::ptrdiff_t>(sizes.keys) -
               static_cast<std::ptrdiff_t>(sizes.queries)) {
    // Parts are ranges of query blocks that read, and backward write, about as many keys. They
    // depend on sizes alone, so that the order of sums does.
    const std::size_t blocks = (sizes.queries + tile_queries - 1) / tile_queries;
    const std::size_t parts =
        sizes.batch * sizes.kv_heads >= enough_tasks ? 1 : std::min(blocks, enough_tasks);
    std::size_t total = 0, sum = 0;
    for (std::size_t i = 0; i < blocks; ++i) total += keys_of(i);
    cuts.push_back(0);
    for (std::size_t i = 0; i < blocks; ++i) {
      sum += keys_of(i);
      if (sum * parts >= total * cuts.size()) cuts.push_back(i + 1);
    }
    head_flops = 4.0 * static_cast<double>(total * tile_queries * group) *
                 static_cast<double>(sizes.width + sizes.value_width);
  }

  /// How many keys the queries of a block see together.
  std::size_t keys_of(std::size_t query_block) const {
    if (!terms.causal) return sizes.keys;
    const std::size_t last = std::min(sizes.queries, (query_block + 1) * tile_queries);
    return static_cast<std::size_t>(
        std::max<std::ptrdiff_t>(0, static_cast<std::ptrdiff_t>(last) + offset));
  }
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
    const std::size_t end = keys_of(first_query / tile_queries);
    for (std::size_t j = 0; j < end; j += tile_keys)
      body(j,
           Tile{queries, std::min(tile_keys, end - j),
                static_cast<std::ptrdiff_t>(first_query) + offset - static_cast<std::ptrdiff_t>(j),
                terms.causal});
  }

  static constexpr std::size_t padding = Tile::unit;  // of rows and widths
  static constexpr std::size_t enough_tasks = 8;  // heads or parts, to keep any few threads busy
  const AttentionSizes& sizes;
  const AttentionTerms& terms;
  std::size_t group, width, value_width;  // widths in whole vectors
  std::ptrdiff_t offset;                  // the position of query 0
  std::vector<std::size_t> cuts;          // query blocks at which parts begin, and the end
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

/// The keys (turned) and values of one head, in rows of whole vectors.
struct KeyValues {
  KeyValues(const Problem& p, const Heads& k, const Heads& v, std::size_t b, std::size_t kv_head)
      : scratch({p.sizes.keys * p.width, p.sizes.keys * p.value_width}),
        keys(scratch.take(p.sizes.keys * p.width)),
        values(scratch.take(p.sizes.keys * p.value_width)) {
    parallel_for(p.sizes.keys, 1024, [&](std::size_t begin, std::size_t end) {
      for (std::size_t j = begin; j < end; ++j) {
        real *key = keys + j * p.width, *value = values + j * p.value_width;
        turn_row(p.terms, p.terms.turn_keys, j, 1, 1, p.sizes.width, k.at(b, kv_head, j), key);
        std::fill(key + p.sizes.width, key + p.width, real(0));
        std::copy_n(v.at(b, kv_head, j), p.sizes.value_width, value);
        std::fill(value + p.sizes.value_width, value + p.value_width, real(0));
      }
    });
  }
  Scratch scratch;
  real *keys, *values;
};

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
                          {scores, tile_queries}, always(depth), [&](std::size_t j) {
                            return Range{tile.first_vector(j), tile.vectors()};
                          });
}

/// All that is added to scores: slopes, and -inf where a query does not see a key.
void add_terms(const Problem& p, const Tile& tile, std::size_t b, std::size_t h, std::size_t j0,
               real* scores) {
  const AttentionTerms& terms = p.terms;
  if (tile.whole() && !terms.slopes && !terms.padding) return;
  alignas(Batch) real lane[lanes];
  for (std::size_t i = 0; i < lanes; ++i) lane[i] = static_cast<real>(i);
  const Batch number = Batch::load_aligned(lane), never(-infinity);
  const Batch slope(terms.slopes ? terms.slopes[h] * log2e : 0);
  for (std::size_t j = 0; j < tile.keys; ++j) {
    const bool padded = terms.padding && terms.padding[b * p.sizes.keys + j0 + j] != 0;
    for (std::size_t v = tile.first_vector(j); v < tile.vectors(); ++v) {
      real* at = scores + j * tile_queries + v * lanes;
      const Batch distance =
          number + Batch(static_cast<real>(tile.distance + static_cast<std::ptrdiff_t>(v * lanes) -
                                           static_cast<std::ptrdiff_t>(j)));
      Batch score = padded ? never : Batch::load_unaligned(at);
      if (terms.slopes) score -= slope * abs(distance);
      if (terms.causal) score = select(distance < Batch(0), never, score);
      score.store_unaligned(at);
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
  for (std::size_t v = 0; v < tile.vectors(); ++v)
    for (std::size_t j = 0, n = v * lanes; j < tile.computed(v); ++j, n += tile_queries)
      f(v * lanes, (x + n)...);
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
      const std::size_t keys = tile.computed(v);
      const Batch old = Batch::load_aligned(highest + v * lanes);
      Batch even = old, odd = old;
      std::size_t j = 0;
      for (; j + 2 <= keys; j += 2) {
        even = max(even, Batch::load_aligned(column + j * tile_queries));
        odd = max(odd, Batch::load_aligned(column + (j + 1) * tile_queries));
      }
      if (j < keys) even = max(even, Batch::load_aligned(column + j * tile_queries));
      const Batch now = max(even, odd);
      // A query that has seen no key yet: -inf - -inf would be NaN.
      const Batch base = select(now == Batch(-infinity), Batch(0), now);
      Batch sum(0);
      for (j = 0; j < keys; ++j) {
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

  void run(const KeyValues& kv, const Heads& queries, std::size_t b, std::size_t h, std::size_t i0,
           std::size_t count, const MutableHeads& out, real* lse) {
    load_queries(p, queries, b, h, i0, count, q);
    std::fill_n(highest, tile_queries, -infinity);
    std::fill_n(total, tile_queries, real(0));
    std::fill_n(mixed, count * p.value_width, real(0));
    p.for_tiles(i0, count, [&](std::size_t j0, const Tile& tile) {
      products_with_keys(tile, p.sizes.width, kv.keys + j0 * p.width, p.width, q.transposed,
                         scores);
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
          count, {scores, 1, tile_queries}, {kv.values + j0 * p.value_width, p.value_width},
          {mixed, p.value_width},
          [&](std::size_t i) {
            return Range{0, tile.seen_by(i + block_rows - 1)};
          },
          always(p.value_width / lanes), factor);
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
/// tiles. Parts of the keys are done on their own, each with its own maximum and sum.
struct OneQuery {
  static bool fits(const Problem& p) {
    return p.sizes.queries == 1 && p.sizes.width == p.width &&
           p.sizes.value_width == p.value_width && p.terms.dropout == 0 &&
           !(p.terms.turn_keys && p.terms.half > 0);
  }

  explicit OneQuery(const Problem& p)
      : p(p),
        parts(p.sizes.batch * p.sizes.kv_heads >= Problem::enough_tasks
                  ? 1
                  : std::clamp<std::size_t>(p.sizes.keys / 1024, 1, Problem::enough_tasks)),
        scratch({p.group * p.width, p.group * p.sizes.keys, parts * p.group * p.value_width,
                 parts * p.group, parts * p.group}),
        q(scratch.take(p.group * p.width)),
        scores(scratch.take(p.group * p.sizes.keys)),
        mixed(scratch.take(parts * p.group * p.value_width)),
        highest(scratch.take(parts * p.group)),
        total(scratch.take(parts * p.group)) {}

  void run(const Heads& queries, const Heads& k, const Heads& v, std::size_t b, std::size_t kv_head,
           const MutableHeads& out, real* lse) {
    const std::size_t first = kv_head * p.group, keys = p.sizes.keys;
    for (std::size_t r = 0; r < p.group; ++r)
      turn_row(p.terms, true, static_cast<std::size_t>(p.offset), 1, p.terms.scale * log2e, p.width,
               queries.at(b, first + r, 0), q + r * p.width);
    const std::size_t size = (keys + parts - 1) / parts;
    parallel_for(parts, 1, [&](std::size_t begin, std::size_t end) {
      for (std::size_t part = begin; part < end; ++part) {
        const std::size_t j0 = std::min(keys, part * size), j1 = std::min(keys, j0 + size);
        for (std::size_t j = j0; j < j1; ++j)
          for (std::size_t r = 0; r < p.group; ++r)
            scores[r * keys + j] = product(q + r * p.width, k.at(b, kv_head, j));
        for (std::size_t r = 0; r < p.group; ++r) soften(b, first + r, j0, j1 - j0, part, r);
        multiply<Into::replace>(p.group, {scores + j0, keys, 1}, {v.at(b, kv_head, j0), v.row},
                                {mixed + part * p.group * p.value_width, p.value_width},
                                always(j1 - j0), always(p.value_width / lanes));
      }
    });
    for (std::size_t r = 0; r < p.group; ++r)
      join(r, out.at(b, first + r, 0), lse + b * p.sizes.heads + first + r);
  }

 private:
  real product(const real* x, const real* y) const {
    Batch sum(0);
    for (std::size_t c = 0; c < p.width; c += lanes)
      sum = row::multiply_add(Batch::load_unaligned(x + c), Batch::load_unaligned(y + c), sum);
    return hadd(sum);
  }

  /// Turns n scores of head h from key j0 on into exp2(score - highest).
  void soften(std::size_t b, std::size_t h, std::size_t j0, std::size_t n, std::size_t part,
              std::size_t r) {
    real* row = scores + r * p.sizes.keys + j0;
    if (p.terms.slopes || p.terms.padding)
      for (std::size_t j = 0; j < n; ++j) {
        const std::size_t key = j0 + j;
        if (p.terms.slopes)
          row[j] -= p.terms.slopes[h] * log2e * static_cast<real>(p.sizes.keys - 1 - key);
        if (p.terms.padding && p.terms.padding[b * p.sizes.keys + key] != 0) row[j] = -infinity;
      }
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
    highest[part * p.group + r] = top;
    total[part * p.group + r] =
        row::sum(n, [row](auto some, std::size_t j) { return some.load(row + j); });
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
  const std::size_t parts;
  Scratch scratch;
  real *q, *scores, *mixed, *highest, *total;
};

// ---- backward

/// What the queries of one part add to the gradients of keys 0, …, rows - 1 and their values.
struct KeyGradients {
  KeyGradients(const Problem& p, std::size_t rows)
      : rows(rows),
        width(p.width),
        value_width(p.value_width),
        scratch({rows * width, rows * value_width}),
        keys(scratch.take(rows * width)),
        values(scratch.take(rows * value_width)) {}
  void clear() {
    std::fill_n(keys, rows * width, real(0));
    std::fill_n(values, rows * value_width, real(0));
  }
  /// Adds row j of another.
  void add(const KeyGradients& other, std::size_t j) {
    for (std::size_t c = j * width; c < (j + 1) * width; ++c) keys[c] += other.keys[c];
    for (std::size_t c = j * value_width; c < (j + 1) * value_width; ++c)
      values[c] += other.values[c];
  }

  std::size_t rows, width, value_width;
  Scratch scratch;
  real *keys, *values;
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

  /// Writes dq of a query block; adds to the sums of its keys and values.
  void run(const KeyValues& kv, const Heads& queries, const Heads& out, const Heads& grads,
           const real* lse, std::size_t b, std::size_t h, std::size_t i0, std::size_t count,
           const MutableHeads& dqueries, KeyGradients& sums) {
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
      const real *keys = kv.keys + j0 * p.width, *values = kv.values + j0 * p.value_width;
      products_with_keys(tile, p.sizes.width, keys, p.width, q.transposed, weights);
      products_with_keys(tile, p.sizes.value_width, values, p.value_width, grad.transposed, slopes);
      add_terms(p, tile, b, h, j0, weights);
      if (p.terms.dropout > 0) draw_mask(p, tile, b, h, i0, j0, mask);
      pull_softmax(tile);
      const auto seers = [&](std::size_t j) { return Range{tile.first_query(j), count}; };
      multiply<Into::add>(tile.keys, {weights, tile_queries, 1}, {grad.rows, p.value_width},
                          {sums.values + j0 * p.value_width, p.value_width}, seers,
                          always(p.value_width / lanes));
      multiply<Into::add>(tile.keys, {slopes, tile_queries, 1}, {q.rows, p.width},
                          {sums.keys + j0 * p.width, p.width}, seers, always(p.width / lanes));
      multiply<Into::add>(
          count, {slopes, 1, tile_queries}, {keys, p.width}, {dq, p.width},
          [&](std::size_t i) {
            return Range{0, tile.seen_by(i + block_rows - 1)};
          },
          always(p.width / lanes));
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
    const KeyValues kv(p, k, v, b, kv_head);
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
                   const MutableHeads& dv, real* /*dbias*/) {
  if (sizes.batch * sizes.heads == 0) return;
  const Problem p(sizes, terms);
  p.for_heads([&](std::size_t b, std::size_t kv_head) {
    const KeyValues kv(p, k, v, b, kv_head);
    std::vector<KeyGradients> sums;
    for (std::size_t part = 0; part < p.parts(); ++part)
      sums.emplace_back(p, p.keys_of(p.cuts[part + 1] - 1));
    parallel_for(p.parts(), 1, [&](std::size_t begin, std::size_t end) {
      Backward backward(p);
      for (std::size_t part = begin; part < end; ++part) {
        sums[part].clear();
        p.for_queries(part, kv_head, [&](std::size_t h, std::size_t i0, std::size_t count) {
          backward.run(kv, q, out, grad, lse + (b * sizes.heads + h) * sizes.queries, b, h, i0,
                       count, dq, sums[part]);
        });
      }
    });
    parallel_for(sizes.keys, 1024, [&](std::size_t begin, std::size_t end) {
      for (std::size_t j = begin; j < end; ++j) {
        real *to_key = dk.at(b, kv_head, j), *to_value = dv.at(b, kv_head, j);
        if (sums.empty() || j >= sums.back().rows) {  // no query sees it
          std::fill_n(to_key, sizes.width, real(0));
          std::fill_n(to_value, sizes.value_width, real(0));
          continue;
        }
        // The last part sees all keys that others see: they are added to it, in order.
        KeyGradients& sum = sums.back();
        for (const KeyGradients& part : std::span(sums).first(sums.size() - 1))
          if (j < part.rows) sum.add(part, j);
        // The queries of a tile carry scale log2(e); the scale belongs here, the rest does not.
        turn_row(terms, terms.turn_keys, j, -1, ln2, sizes.width, sum.keys + j * p.width, to_key);
        std::copy_n(sum.values + j * p.value_width, sizes.value_width, to_value);
      }
    });
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
