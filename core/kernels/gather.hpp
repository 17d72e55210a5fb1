// Numbers picked by integer ids, and the adjoint: numbers added up where ids point. Ids are checked
// by the caller. Bound by memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// out[i] = table[ids[i]], rows of `width` numbers.
void gather_rows(std::span<const std::int64_t> ids, std::size_t width, const real* table,
                 real* out);

/// table[ids[i]] += rows[i], in the order of i, so that the sum does not depend on the number of
/// threads.
void scatter_add_rows(std::span<const std::int64_t> ids, std::size_t width, const real* rows,
                      real* table);

/// The sizes of a look-up along one axis: ids and what they pick are (outer, count, inner), what
/// they pick from is (outer, size, inner).
struct Lookup {
  std::size_t outer, size, count, inner;
};

/// out[o, j, i] = x[o, ids[o, j, i], i].
void gather(const Lookup& sizes, const std::int64_t* ids, const real* x, real* out);

/// x[o, ids[o, j, i], i] += rows[o, j, i], in the order of j.
void scatter_add(const Lookup& sizes, const std::int64_t* ids, const real* rows, real* x);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
