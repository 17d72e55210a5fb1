// Numbers picked by integer ids, and the adjoint: numbers added up where ids point. Ids are checked
// by the caller. Bound by memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

/// A look-up along one axis: from (outer, size, inner) to (outer, count, inner).
struct Lookup {
  std::size_t outer, size, count, inner;
  bool whole_slices;  ///< ids are (count), one for all o and i, else (outer, count, inner)
};

/// out[o, j, i] = x[o, id, i], where id is ids[j] for whole slices, else ids[o, j, i].
void gather(const Lookup& at, const std::int64_t* ids, const real* x, real* out);

/// x[o, id, i] += rows[o, j, i], in the order of j.
void scatter_add(const Lookup& at, const std::int64_t* ids, const real* rows, real* x);

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
