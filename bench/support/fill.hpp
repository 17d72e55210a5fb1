// Numbers that depend on a name and an index alone, so that xgrad and its peers start alike.
// Not random numbers to rely on; bench/peer/session.py has the same in Python.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bench {

/// Element `i` of the stream `name`: 24 bits.
inline std::uint32_t noise(std::string_view name, std::size_t i) {
  std::uint32_t h = 2166136261;  // FNV-1a of the name, then the steps of a murmur finalizer
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 16777619;
  h += static_cast<std::uint32_t>(i) * 2654435761;
  h = (h ^ h >> 15) * 2246822519;
  h = (h ^ h >> 13) * 3266489917;
  return (h ^ h >> 16) >> 8;
}

/// offset + scale u, u uniform in [-1, 1).
inline void fill(std::string_view name, float* values, std::size_t count, float scale,
                 float offset = 0) {
  for (std::size_t i = 0; i < count; ++i)
    values[i] = offset + scale * (static_cast<float>(noise(name, i)) * 0x1p-23f - 1);
}

/// A parameter by its name in the model: matrices scaled to their inputs, vectors small, the
/// weights of norms around 1.
inline void fill_parameter(std::string_view name, float* values, std::size_t count,
                           std::size_t axes, std::size_t last) {
  if (axes >= 2) return fill(name, values, count, 1 / std::sqrt(static_cast<float>(last)));
  const bool norm = name.find("ln_") != name.npos && name.ends_with("weight");
  fill(name, values, count, 0.1f, norm ? 1 : 0);
}

inline void fill_tokens(std::string_view name, std::int64_t* ids, std::size_t count,
                        std::size_t vocab) {
  for (std::size_t i = 0; i < count; ++i)
    ids[i] = static_cast<std::int64_t>(noise(name, i) % vocab);
}

}  // namespace bench
