// Checkpoints; see checkpoint.hpp.
#include <xgrad/nn/checkpoint.hpp>

#include <xgrad/core/safetensors.hpp>

namespace xgrad::inline XGRAD_PRECISION {

void save_state(const std::string& path, const StateDict& state,
                const std::map<std::string, std::string>& metadata) {
  Safetensors contents{.metadata = metadata};
  contents.metadata.emplace("format", "pt");  // without it some readers refuse the file
  for (const auto& [name, tensor] : state)
    contents.tensors[name] = {kRealDtype,
                              {tensor.shape().begin(), tensor.shape().end()},
                              std::as_bytes(std::span(tensor.data(), tensor.size()))};
  save_safetensors(path, contents);
}

StateDict load_state(const std::string& path) {
  StateDict state;
  for (const auto& [name, saved] : load_safetensors(path).tensors)
    state.emplace_back(name, tensor(to_real(saved), Shape(saved.shape.begin(), saved.shape.end())));
  return state;
}

void save(const Module& model, const std::string& path) { save_state(path, model.state_dict()); }

void load(Module& model, const std::string& path) {
  try {
    model.load_state_dict(load_state(path));
  } catch (const std::invalid_argument& error) {
    throw std::invalid_argument(concat_text(error.what(), "  (", path, ")"));
  }
}

}  // namespace xgrad::inline XGRAD_PRECISION
