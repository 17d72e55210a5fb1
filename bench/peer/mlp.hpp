// Twin of models/mlp.hpp: linear layers with an activation between them, under the same names.
#pragma once

#include "workload.hpp"

struct Mlp : torch::nn::Module {
  using Activation = torch::Tensor (*)(const torch::Tensor&);
  Mlp(const std::vector<long>& sizes, Activation activation) : activation(activation) {
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i)
      layers->push_back(torch::nn::Linear(sizes[i], sizes[i + 1]));
    register_module("layers", layers);
  }
  torch::Tensor forward(torch::Tensor x) {
    for (std::size_t i = 0; i < layers->size(); ++i) {
      x = layers[i]->as<torch::nn::Linear>()->forward(x);
      if (i + 1 < layers->size()) x = activation(x);
    }
    return x;
  }

  Activation activation;
  torch::nn::ModuleList layers;
};
