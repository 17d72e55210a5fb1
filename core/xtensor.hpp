// The only file that includes xtensor: its header layout, its traps and its version, in one place.
// It brings the container and the expression language. xtensor's random numbers, linear algebra,
// views and reducers are deliberately absent: they differ between platforms, are slow where our
// kernels are not, or are wrong in corners (dot of a matrix with part of its transpose, lazy
// reducers).
#pragma once

#ifndef XTENSOR_USE_XSIMD
#define XTENSOR_USE_XSIMD  // same-shape and row-broadcast expressions become vector code
#endif
// Pinned, so that the types below do not depend on the -m flags of the file that includes them.
#define XTENSOR_DEFAULT_ALLOCATOR(T) std::allocator<T>

#include <cstddef>
#include <memory>

#if __has_include(<xtensor/containers/xarray.hpp>)  // since 0.26
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/core/xmath.hpp>
#include <xtensor/core/xnoalias.hpp>
#include <xtensor/core/xtensor_config.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xnoalias.hpp>
#include <xtensor/xtensor_config.hpp>

// xtensor 0.24 and 0.25 guard a workaround for g++ by comparing __cplusplus with 201703L exactly.
// In C++20 mode the dynamic shape type is therefore taken for an array of four sizes, and
// temporaries of dynamic expressions become rank-4 tensors: wrong rows, std::bad_array_new_length
// or a crash. Naming the two dynamic shape types restores what the workaround was for.
#if defined(__GNUC__) && !defined(__clang__) && __cplusplus > 201703L
namespace xt::detail {
template <>
struct xtype_for_shape<svector<std::size_t, 4, std::allocator<std::size_t>, true> > {
  template <class T, layout_type L>
  using type = xarray<T, L>;
};
template <>
struct xtype_for_shape<svector<std::ptrdiff_t, 4, std::allocator<std::ptrdiff_t>, true> > {
  template <class T, layout_type L>
  using type = xarray<T, L>;
};
}  // namespace xt::detail
#endif
#endif

static_assert(XTENSOR_VERSION_MAJOR == 0 && XTENSOR_VERSION_MINOR >= 24,
              "xgrad needs xtensor 0.24 or newer");
