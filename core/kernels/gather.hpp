// Rows picked from a table, and their adjoint: rows added up in a table. Ids are checked by the
// caller. Bound by memory.
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

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
