# What the library is built with, all of it from the system's packages.
set(BLA_VENDOR OpenBLAS)  # before xtensor-blas, which looks for BLAS itself
find_package(xtensor REQUIRED)
if(xtensor_VERSION VERSION_LESS 0.24)
  message(FATAL_ERROR "xgrad needs xtensor 0.24 or newer, found ${xtensor_VERSION}")
endif()
find_package(xsimd REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
find_package(Threads REQUIRED)
find_library(XGRAD_OPENBLAS NAMES openblas REQUIRED)
