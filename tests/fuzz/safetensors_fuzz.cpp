// libFuzzer target: any bytes are refused with a runtime_error, or give tensors that can be read.
// Not in the test suite: build with clang++ -fsanitize=fuzzer,address,undefined and let it run.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include <xgrad/core/safetensors.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  try {
    const auto contents = xgrad::parse_safetensors(file, "fuzz");
    std::size_t total = 0;
    for (const auto& [name, tensor] : contents.tensors) {
      total += tensor.bytes.size();
      xgrad::to_real(tensor);
    }
    // Tensors tile the buffer, so together they are never larger than the file.
    if (total > size) std::abort();
  } catch (const std::runtime_error&) {
  }
  return 0;
}
