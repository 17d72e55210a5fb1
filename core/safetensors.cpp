// The safetensors format (u64 length N, N bytes of JSON, tensor bytes), read as if from an enemy.
// No memory mapping: a file is read whole, so that later changes to it cannot reach the tensors.
#include <xgrad/core/safetensors.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <ostream>
#include <set>
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
constexpr const char* kNotJson = "the header is not JSON in UTF-8: see its byte ";

// ---- element types ------------------------------------------------------------------------------

// A half has 1 sign, 5 exponent and 10 mantissa bits; a float has 1, 8 and 23.
float from_half(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = half >> 10 & 0x1F, mantissa = half & 0x3FF;
  if (exponent == 0) {  // subnormal: the mantissa counts units of 2^-24
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign == 0 ? magnitude : -magnitude;
  }
  const std::uint32_t moved = exponent == 0x1F ? 0xFF : exponent + 127 - 15;  // 0x1F: inf and NaN
  return std::bit_cast<float>(sign | moved << 23 | mantissa << 13);
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

// ---- checks and their texts ---------------------------------------------------------------------

// Prints a name escaped and clipped: a hostile file shall not play tricks on the terminal.
struct Quoted {
  const std::string& name;
  friend std::ostream& operator<<(std::ostream& out, const Quoted& quoted) {
    constexpr std::size_t kClip = 100;
    out << Json(quoted.name.substr(0, kClip)).dump(-1, ' ', true, Json::error_handler_t::replace);
    return out << (quoted.name.size() > kClip ? "..." : "");
  }
};

struct Shape {
  const std::vector<std::size_t>& extents;
  friend std::ostream& operator<<(std::ostream& out, const Shape& shape) {
    constexpr std::size_t kClip = 16;
    const std::size_t rank = shape.extents.size(), shown = std::min(rank, kClip);
    out << '(';
    for (std::size_t i = 0; i < shown; ++i) out << (i > 0 ? ", " : "") << shape.extents[i];
    return out << (rank == 1 ? ",)" : rank > kClip ? ", ...)" : ")");
  }
};

// size * shape[0] * shape[1] * ..., or nothing if that is beyond 64 bits. As in the reference, the
// product is taken in order: an overflow is one even if a later extent is 0.
std::optional<std::size_t> byte_count(std::size_t size, const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count)) return std::nullopt;
  }
  if (__builtin_mul_overflow(count, size, &count)) return std::nullopt;
  return count;
}

// What keeps `byte_size` bytes from being an array of this type and shape, or nothing.
std::optional<std::string> mismatch(const std::string& dtype, const std::vector<std::size_t>& shape,
                                    std::size_t byte_size) {
  const Dtype* known = find_dtype(dtype);
  if (known == nullptr) {
    std::string text = concat_text("has dtype ", Quoted{dtype}, ", supported are");
    for (const Dtype& supported : kDtypes) text += concat_text(' ', supported.name);
    return text;
  }
  const auto expected = byte_count(known->size, shape);
  if (!expected) return concat_text("has shape ", Shape{shape}, ", too large for 64 bits");
  if (*expected == byte_size) return std::nullopt;
  return concat_text("has ", byte_size, " bytes, but ", dtype, " of shape ", Shape{shape},
                     " takes ", *expected);
}

// ---- the header ---------------------------------------------------------------------------------

struct Entry {
  std::string dtype;
  std::vector<std::size_t> shape, data_offsets;
};

// Takes the header's tokens as they come, and accepts exactly
//   {"__metadata__": {key: text, ...},
//    name: {"dtype": text, "shape": [n, ...], "data_offsets": [begin, end]}, ...}
// Unlike a document tree it sees duplicate keys, needs no memory for nonsense, and is told which
// numbers were written as unsigned integers. Errors throw, so the handlers never return false.
class HeaderReader : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> metadata;

  bool start_object(std::size_t) override {
    if (depth_ > 1) unexpected();
    ++depth_;
    fields_.clear();
    return true;
  }

  bool key(std::string& key) override {
    if (depth_ == 1) {
      name_ = std::move(key);
      is_metadata_ = name_ == "__metadata__";
      if (is_metadata_) {
        check(!std::exchange(has_metadata_, true), "appears twice");
      } else {
        const auto [entry, is_new] = entries.try_emplace(name_);
        check(is_new, "appears twice");
        entry_ = &entry->second;
      }
    } else if (is_metadata_) {
      field_ = std::move(key);
      check(metadata.try_emplace(field_).second, "has the key ", Quoted{field_}, " twice");
    } else {
      field_ = std::move(key);
      check(field_ == "dtype" || field_ == "shape" || field_ == "data_offsets",
            "has the unknown field ", Quoted{field_});
      check(fields_.insert(field_).second, "has the field ", Quoted{field_}, " twice");
    }
    return true;
  }

  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !is_metadata_) {
      check(fields_.size() == 3, "needs the fields dtype, shape and data_offsets");
      const std::size_t count = entry_->data_offsets.size();
      check(count == 2, "needs 2 data_offsets, has ", count);
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (!wants_list() || in_list_) unexpected();
    in_list_ = true;
    return true;
  }

  bool end_array() override {
    in_list_ = false;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (!in_list_) unexpected();
    (field_ == "shape" ? entry_->shape : entry_->data_offsets).push_back(value);
    return true;
  }

  bool string(std::string& text) override {
    if (depth_ != 2 || wants_list()) unexpected();
    (is_metadata_ ? metadata[field_] : entry_->dtype) = std::move(text);
    return true;
  }

  bool null() override { unexpected(); }
  bool boolean(bool) override { unexpected(); }
  bool number_integer(std::int64_t) override { unexpected(); }  // a negative one, that is
  bool number_float(double, const std::string&) override { unexpected(); }
  bool binary(Json::binary_t&) override { unexpected(); }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
    throw std::runtime_error(concat_text("load \"", file_, "\": ", kNotJson, position));
  }

 private:
  bool wants_list() const { return depth_ == 2 && !is_metadata_ && field_ != "dtype"; }

  template <class... Parts>
  void check(bool condition, const Parts&... parts) const {
    if (!condition) fail(parts...);
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    throw std::runtime_error(concat_text("load \"", file_, "\": ", Quoted{name_}, ' ', parts...));
  }

  // A token that has no place here: says what should be here instead.
  [[noreturn]] void unexpected() const {
    if (depth_ != 2) fail("is not a JSON object");
    if (is_metadata_) fail("has a value that is not text at the key ", Quoted{field_});
    if (wants_list()) fail("needs a list of unsigned integers as ", field_);
    fail("needs text as dtype");
  }

  const std::string& file_;
  std::string name_, field_;      // the keys under which the next token lies
  Entry* entry_ = nullptr;        // that of name_
  std::set<std::string> fields_;  // those of entry_ so far
  int depth_ = 0;                 // of objects: 0 outside, 1 in the header, 2 in an entry
  bool is_metadata_ = false, has_metadata_ = false, in_list_ = false;
};

}  // namespace

Safetensors load_safetensors(const std::string& path) {
  const auto file = std::make_shared<const std::string>(read_file(path));
  Safetensors contents = parse_safetensors(*file, path);
  contents.file = file;
  return contents;
}

Safetensors parse_safetensors(std::string_view bytes, const std::string& name) {
  const auto check = [&](bool condition, const auto&... parts) {
    require<std::runtime_error>(condition, "load \"", name, "\": ", parts...);
  };
  std::uint64_t length = 0;
  check(bytes.size() >= sizeof length, "the file has only ", bytes.size(), " bytes");
  std::memcpy(&length, bytes.data(), sizeof length);
  check(length <= kMaxHeader, "the header's length ", length, " is above ", kMaxHeader,
        ": is this a safetensors file?");
  check(length <= bytes.size() - sizeof length, "the header's length ", length,
        " is beyond the end of the file");
  const std::string_view header = bytes.substr(sizeof length, length);
  const auto buffer = std::as_bytes(std::span(bytes.substr(sizeof length + length)));

  // The parser itself would skip a byte order mark and take a zero byte for the end.
  const auto first = header.find_first_not_of(" \t\r\n");
  check(first != header.npos && header[first] == '{', "the header is not a JSON object");
  const auto zero = header.find('\0');
  check(zero == header.npos, kNotJson, zero + 1);
  HeaderReader reader(name);
  Json::sax_parse(header.begin(), header.end(), &reader);

  // Laid end to end, the tensors must fill the buffer: each begins where the one before it ends.
  // This also bounds the work that many names over one region could cost whoever copies them.
  std::vector<std::pair<const std::string, Entry>*> order;
  for (auto& item : reader.entries) order.push_back(&item);
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->second.data_offsets < b->second.data_offsets;
  });
  Safetensors contents{.metadata = std::move(reader.metadata)};
  std::size_t end = 0;
  for (auto* item : order) {
    const std::string& tensor = item->first;
    auto& [dtype, shape, offsets] = item->second;
    check(offsets[0] <= offsets[1], Quoted{tensor}, " begins at byte ", offsets[0],
          " of the buffer and ends before, at ", offsets[1]);
    check(offsets[0] == end, Quoted{tensor}, " begins at byte ", offsets[0],
          " of the buffer, but the tensor before it ends at ", end);
    check(offsets[1] <= buffer.size(), Quoted{tensor}, " ends at byte ", offsets[1],
          " of the buffer, which has ", buffer.size());
    const auto problem = mismatch(dtype, shape, offsets[1] - offsets[0]);
    if (problem) check(false, Quoted{tensor}, ' ', *problem);
    end = offsets[1];
    contents.tensors.emplace(tensor,
                             SavedTensor{.dtype = std::move(dtype),
                                         .shape = std::move(shape),
                                         .bytes = buffer.subspan(offsets[0], end - offsets[0])});
  }
  check(end == buffer.size(), "the buffer has ", buffer.size(),
        " bytes, but the last tensor ends at ", end);
  return contents;
}

void save_safetensors(const std::string& path, const Safetensors& contents) {
  const auto check = [&](bool condition, const auto&... parts) {
    require(condition, "save \"", path, "\": ", parts...);
  };
  std::vector<const std::pair<const std::string, SavedTensor>*> order;
  for (const auto& item : contents.tensors) {
    const auto& [name, tensor] = item;
    check(name != "__metadata__", "no tensor can have the name \"__metadata__\"");
    const auto problem = mismatch(tensor.dtype, tensor.shape, tensor.bytes.size());
    if (problem) check(false, Quoted{name}, ' ', *problem);
    order.push_back(&item);
  }
  // The map is in the order of names already, and a stable sort keeps that among equals.
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return find_dtype(a->second.dtype) > find_dtype(b->second.dtype);
  });

  std::string header = "{";
  std::size_t end = 0;
  try {
    if (!contents.metadata.empty())
      header += concat_text("\"__metadata__\":", Json(contents.metadata).dump());
    for (const auto* item : order) {
      const auto& [name, tensor] = *item;
      const std::size_t begin = std::exchange(end, end + tensor.bytes.size());
      const Json entry{
          {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, end}}};
      header += concat_text(header.size() > 1 ? "," : "", Json(name).dump(), ':', entry.dump());
    }
  } catch (const Json::type_error&) {  // of dump, and it has no other
    check(false, "a name or a metadata text is not UTF-8");
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');  // so that the buffer is aligned to 8 bytes
  check(header.size() <= kMaxHeader, "the header would have ", header.size(),
        " bytes, the limit is ", kMaxHeader);

  AtomicFile file(path);
  const std::uint64_t length = header.size();
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(header);
  for (const auto* item : order) file.write(item->second.bytes);
  file.commit();
}

std::vector<real> to_real(const SavedTensor& tensor) {
  const auto problem = mismatch(tensor.dtype, tensor.shape, tensor.bytes.size());
  if (problem) throw std::invalid_argument("to_real: the tensor " + *problem);
  const Dtype& dtype = *find_dtype(tensor.dtype);
  std::vector<real> values(tensor.bytes.size() / dtype.size);
  dtype.to_real(tensor.bytes, values);
  return values;
}

}  // namespace xgrad::inline XGRAD_PRECISION
