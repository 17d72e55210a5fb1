# What the library is built with, all of it from the system's packages.
set(BLA_VENDOR OpenBLAS)  # before xtensor-blas, which looks for BLAS itself
find_package(xtensor REQUIRED)
if(xtensor_VERSION VERSION_LESS 0.24)
  message(FATAL_ERROR "xgrad needs xtensor 0.24 or newer, found ${xtensor_VERSION}")
endif()
find_package(xsimd REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
# A wrapper, so that compile flags reach our own files only.
add_library(xgrad_openmp INTERFACE)
target_link_libraries(xgrad_openmp INTERFACE OpenMP::OpenMP_CXX)

find_path(XGRAD_CBLAS_INCLUDE openblas/cblas.h cblas.h PATH_SUFFIXES openblas openblas-pthread
  ${CMAKE_LIBRARY_ARCHITECTURE} REQUIRED)
find_library(XGRAD_OPENBLAS NAMES openblas REQUIRED)
