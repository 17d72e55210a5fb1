// xgrad's side of the workload programs: start-up and inputs. bench/peer/workload.hpp is its twin.
#pragma once

#include <xgrad/xgrad.hpp>

#include "fill.hpp"
#include "session.hpp"

namespace bench {

using namespace xgrad;

/// Starts the library, its threads and its matrix products, so that memory is counted from there.
inline Session start(int argc, char** argv) {
  const Settings settings(argc, argv);
  set_num_threads(static_cast<int>(settings["threads"]));
  matmul(ones({256, 256}), ones({256, 256}));
  return Session(settings);
}

inline Tensor filled(std::string_view name, const Ints& shape, float scale = 1) {
  Tensor x = zeros(shape);
  fill(name, x.mutable_data(), x.size(), scale);
  return x;
}

inline Indices tokens(std::string_view name, const std::vector<std::size_t>& shape,
                      std::size_t vocab) {
  Indices ids = Indices::from_shape(shape);
  fill_tokens(name, ids.data(), ids.size(), vocab);
  return ids;
}

inline void fill_parameters(const Module& model) {
  for (auto& [name, parameter] : model.named_parameters())
    fill_parameter(name, parameter.mutable_data(), parameter.size(), parameter.ndim(),
                   parameter.size(-1));
}

}  // namespace bench
