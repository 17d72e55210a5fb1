// LibTorch's side of the workload programs: start-up and inputs. Twin of
// bench/support/workload.hpp.
#pragma once

#include <torch/torch.h>

#include "../support/fill.hpp"
#include "../support/session.hpp"

namespace bench {

inline Session start(int argc, char** argv) {
  const Settings settings(argc, argv);
  at::set_num_threads(static_cast<int>(settings["threads"]));
  torch::mm(torch::ones({256, 256}), torch::ones({256, 256}));
  return Session(settings);
}

inline torch::Tensor filled(std::string_view name, at::IntArrayRef shape, float scale = 1) {
  torch::Tensor x = torch::zeros(shape);
  fill(name, x.data_ptr<float>(), static_cast<std::size_t>(x.numel()), scale);
  return x;
}

inline torch::Tensor tokens(std::string_view name, at::IntArrayRef shape, long vocab) {
  torch::Tensor ids = torch::zeros(shape, torch::kInt64);
  fill_tokens(name, ids.data_ptr<std::int64_t>(), static_cast<std::size_t>(ids.numel()),
              static_cast<std::size_t>(vocab));
  return ids;
}

inline void fill_parameters(const torch::nn::Module& model) {
  const torch::NoGradGuard values_only;
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& p = item.value();
    fill_parameter(item.key(), p.data_ptr<float>(), static_cast<std::size_t>(p.numel()),
                   static_cast<std::size_t>(p.dim()), static_cast<std::size_t>(p.size(-1)));
  }
}

}  // namespace bench
