// safetensors files: named arrays behind a JSON header, the format in which weights are exchanged.
// Bytes, types and shapes only: which tensor goes into which parameter is nn's business.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// An array in row-major order, whose bytes somebody else keeps: the file that was loaded, or the
/// caller who saves. They are little-endian and start at any address: copy them, never cast.
struct SavedTensor {
  std::string dtype;  // BOOL U8 F16 BF16 I32 F32 F64 I64
  std::vector<std::size_t> shape = {};
  std::span<const std::byte> bytes = {};
};

/// What one file holds.
struct Safetensors {
  std::map<std::string, SavedTensor> tensors = {};
  std::map<std::string, std::string> metadata = {};
  std::shared_ptr<const std::string> file = {};  // after a load, the bytes that `tensors` look at
};

/// The dtype of `real`.
inline constexpr const char* kRealDtype = sizeof(real) == 4 ? "F32" : "F64";

/// Reads a file, and checks all that the format's reference reader checks: a file that loads has no
/// gaps, no overlaps, no duplicates and no missing or left-over bytes. Stricter than the reference,
/// it rejects fields that it does not know. Throws std::runtime_error `load "path": ...` otherwise;
/// memory stays within a small multiple of the file's size, whatever its header says.
Safetensors load_safetensors(const std::string& path);

/// The same for bytes in memory, which the caller keeps; `name` stands for the path in errors.
Safetensors parse_safetensors(std::string_view bytes, const std::string& name);
Safetensors parse_safetensors(std::string&& bytes,
                              const std::string& name) = delete;  // would dangle

/// Replaces or creates the file in one step (see AtomicFile), byte for byte as the reference writes
/// it: larger types first, then by name, so that all are aligned. `contents.file` is not looked at.
/// Throws std::invalid_argument for what the format cannot hold, and std::runtime_error if writing
/// fails; the old file, if any, is then still there.
void save_safetensors(const std::string& path, const Safetensors& contents);

/// The values as `real`, rounded to nearest where they must be (a double beyond float's range to
/// infinity); BOOL as 0 and 1. Throws std::invalid_argument if dtype, shape and bytes disagree.
std::vector<real> to_real(const SavedTensor& tensor);

}  // namespace xgrad::inline XGRAD_PRECISION
