// The safetensors format, read as if written by an enemy: u64 length N, N bytes of JSON, tensor bytes.
// No memory mapping: a file is read whole, so that later changes to it cannot reach the tensors.
#include <xgrad/core/safetensors.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include <xgrad/core/error.hpp>
#include <xgrad/core/files.hpp>

static_assert(std::endian::native == std::endian::little, "safetensors bytes are little-endian");

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxHeader = 100'000'000;  // the reference's own limit

// ---- element types -----------------------------------------------------------------------------------

// A half: 1 sign, 5 exponent, 10 mantissa bits. Moved to a float's places its exponent is 15 - 127 off.
float from_half(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = half >> 10 & 0x1F, mantissa = half & 0x3FF;
  const auto with_sign = [&](std::uint32_t bits) { return std::bit_cast<float>(sign | bits); };
  if (exponent == 0x1F) return with_sign(0x7F800000 | mantissa << 13);  // infinity and NaN
  if (exponent > 0) return with_sign((exponent + 112) << 23 | mantissa << 13);
  return with_sign(std::bit_cast<std::uint32_t>(static_cast<float>(mantissa) * 0x1p-24f));  // subnormal
}

// A bfloat16 is the upper half of a float.
float from_bfloat16(std::uint16_t half) { return std::bit_cast<float>(std::uint32_t{half} << 16); }

template <class Stored, auto decode>
void convert(std::span<const std::byte> bytes, std::span<real> values) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<real>(decode(stored));
  }
}

constexpr auto kPlain = [](auto value) { return value; };
constexpr auto kTruth = [](std::uint8_t value) { return value != 0; };

struct Dtype {
  std::string_view name;
  std::size_t size;  // bytes per element
  void (*to_real)(std::span<const std::byte>, std::span<real>);
};

// In the order in which the reference ranks them; files hold the last of them first.
constexpr std::array<Dtype, 8> kDtypes{{
    {"BOOL", 1, convert<std::uint8_t, kTruth>},
    {"U8", 1, convert<std::uint8_t, kPlain>},
    {"F16", 2, convert<std::uint16_t, from_half>},
    {"BF16", 2, convert<std::uint16_t, from_bfloat16>},
    {"I32", 4, convert<std::int32_t, kPlain>},
    {"F32", 4, convert<float, kPlain>},
    {"F64", 8, convert<double, kPlain>},
    {"I64", 8, convert<std::int64_t, kPlain>},
}};

const Dtype* find_dtype(std::string_view name) {
  const auto found = std::find_if(kDtypes.begin(), kDtypes.end(),
                                  [&](const Dtype& dtype) { return dtype.name == name; });
  return found == kDtypes.end() ? nullptr : &*found;
}

std::string dtype_error(const std::string& dtype) {
  std::string text = concat_text("dtype ", dtype, " is not supported, only");
  for (const Dtype& known : kDtypes) text += concat_text(' ', known.name);
  return text;
}

// size * shape[0] * shape[1] * ..., or nothing if that is beyond 64 bits. As in the reference, an
// overflow before a factor of 0 is an overflow.
std::optional<std::size_t> byte_count(std::size_t size, const std::vector<std::size_t>& shape) {
  for (const std::size_t extent : shape) {
    if (__builtin_mul_overflow(size, extent, &size)) return std::nullopt;
  }
  return size;
}

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += concat_text(i > 0 ? ", " : "", shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

// Escaped, so that a file's names cannot play tricks on the terminal that shows the error.
std::string quoted(const std::string& name) {
  return Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// ---- the header --------------------------------------------------------------------------------------

struct Entry {
  std::string dtype;
  std::vector<std::size_t> shape, data_offsets;
};

// Takes the header's tokens as they come, and accepts exactly
//   {"__metadata__": {key: text, ...}, name: {"dtype": text, "shape": [n...], "data_offsets": [n...]}, ...}
// Unlike a document tree, it sees duplicate keys, needs no memory for nonsense, and is told whether a number
// was written as an unsigned integer. Returning false would stop the parser silently: all errors throw.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (depth_ > 1 || in_array_) unexpected();
    ++depth_;
    fields_.clear();
    return true;
  }

  bool key(std::string& key) override {
    if (depth_ == 1) {
      name_ = key;
      const bool is_new = name_ == kMetadata ? !std::exchange(has_metadata_, true)
                                             : entries.try_emplace(name_).second;
      check(is_new, "appears twice in the header");
      return true;
    }
    field_ = key;
    if (name_ == kMetadata) {
      check(metadata.try_emplace(field_).second, "has the key ", quoted(field_), " twice");
      return true;
    }
    check(field_ == "dtype" || field_ == "shape" || field_ == "data_offsets", "has the unknown field ",
          quoted(field_));
    check(std::find(fields_.begin(), fields_.end(), field_) == fields_.end(), "has the field ",
          quoted(field_), " twice");
    fields_.push_back(field_);
    return true;
  }

  bool end_object() override {
    if (--depth_ == 1 && name_ != kMetadata) {
      check(fields_.size() == 3, "needs dtype, shape and data_offsets");
      check(entries[name_].data_offsets.size() == 2, "needs two data_offsets, has ",
            entries[name_].data_offsets.size());
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_array_ || !is_list()) unexpected();
    in_array_ = true;
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (!in_array_) unexpected();
    Entry& entry = entries[name_];
    (field_ == "shape" ? entry.shape : entry.data_offsets).push_back(value);
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ != 2 || in_array_ || is_list()) unexpected();
    (name_ == kMetadata ? metadata[field_] : entries[name_].dtype) = std::move(text);
    return true;
  }

  bool null() override { unexpected(); }
  bool boolean(bool) override { unexpected(); }
  bool number_integer(std::int64_t) override { unexpected(); }
  bool number_float(double, const std::string&) override { unexpected(); }
  bool binary(Json::binary_t&) override { unexpected(); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    throw std::runtime_error(
        concat_text("load \"", file_, "\": the header is not JSON in UTF-8, at its byte ", position));
  }

 private:
  static constexpr const char* kMetadata = "__metadata__";

  bool is_list() const {
    return name_ != kMetadata && (field_ == "shape" || field_ == "data_offsets");
  }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    require<std::runtime_error>(condition, "load \"", file_, "\": ", quoted(name_), ' ', parts...);
  }

  [[noreturn]] void unexpected() const {
    check(depth_ > 0, "");
    std::abort();
  }

  const std::string& file_;
  std::string name_, field_;         // the keys that we are at
  std::vector<std::string> fields_;  // of this entry, so far
  int depth_ = 0;
  bool in_array_ = false, has_metadata_ = false;
};

}  // namespace
