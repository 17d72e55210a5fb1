// safetensors: round trips, the conversions, and one crafted file for each way to be malformed.
// The exact bytes of one file are from the reference implementation, safetensors 0.8 for Python.
#include <xgrad/core/safetensors.hpp>

#include <unistd.h>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <xgrad/core/files.hpp>

#include "catch.hpp"

using namespace xgrad;

namespace {

struct TemporaryPath {
  TemporaryPath() {
    static int serial = 0;
    const auto name = "xgrad-" + std::to_string(::getpid()) + "-" + std::to_string(serial++);
    path = (std::filesystem::temp_directory_path() / (name + ".safetensors")).string();
  }
  ~TemporaryPath() { std::filesystem::remove(path); }
  std::string path;
};

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// A file with this header, as it is, and a buffer of this many bytes.
std::string file_with(const std::string& header, std::size_t buffer_size = 0) {
  const std::uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + std::string(buffer_size, '\x2A');
}

Safetensors parse(const std::string& file) { return parse_safetensors(file, "f"); }

// The error's text after `load "f": `.
std::string error_of(const std::string& file) {
  try {
    parse(file);
  } catch (const std::runtime_error& error) {
    const std::string text = error.what(), prefix = "load \"f\": ";
    return text.starts_with(prefix) ? text.substr(prefix.size()) : "no prefix: " + text;
  }
  return "no error";
}

// Braces by append: g++ 12 at -O3 warns falsely of overlap in "{" + temporary (its bug 105651).
std::string object(const std::string& members) {
  return std::string("{").append(members).append("}");
}

std::string error_of_header(const std::string& header, std::size_t buffer_size = 0) {
  return error_of(file_with(header, buffer_size));
}

std::string entry(const std::string& name, const std::string& shape, const std::string& offsets,
                  const std::string& dtype = "F32") {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

template <class T>
real convert(const std::string& dtype, T value) {
  return to_real({.dtype = dtype, .bytes = std::as_bytes(std::span(&value, 1))}).at(0);
}

template <class T>
std::string save_error_of(const Safetensors& contents) {
  const TemporaryPath temporary;
  try {
    save_safetensors(temporary.path, contents);
  } catch (const T& error) {
    CHECK_FALSE(std::filesystem::exists(temporary.path));
    const std::string text = error.what(), prefix = "save \"" + temporary.path + "\": ";
    return text.starts_with(prefix) ? text.substr(prefix.size()) : "no prefix: " + text;
  }
  return "no error";
}

}  // namespace

TEST_CASE("tensors and metadata survive a round trip", "[core][safetensors]") {
  const std::vector<real> weight{1, 2, 3, 4, 5, NAN}, scalar{real{-0.0}}, empty;
  const std::vector<std::uint8_t> flags{1, 0, 1};
  const std::vector<std::int64_t> ids{-1, std::numeric_limits<std::int64_t>::max()};
  const TemporaryPath temporary;
  save_safetensors(temporary.path,
                   {.tensors = {{"weight", {kRealDtype, {2, 3}, bytes_of(weight)}},
                                {"scalar", {kRealDtype, {}, bytes_of(scalar)}},
                                {"empty", {kRealDtype, {4, 0, 2}, {}}},
                                {"flags \"\\\n\u00e9", {"BOOL", {3}, bytes_of(flags)}},
                                {"", {"I64", {2, 1}, bytes_of(ids)}}},
                    .metadata = {{"format", "xgrad"}, {"note", "\u00fc\t"}}});
  const Safetensors loaded = load_safetensors(temporary.path);
  CHECK(loaded.metadata ==
        std::map<std::string, std::string>{{"format", "xgrad"}, {"note", "\u00fc\t"}});
  REQUIRE(loaded.tensors.size() == 5);
  const auto same_bytes = [](const SavedTensor& a, std::span<const std::byte> b) {
    return std::equal(a.bytes.begin(), a.bytes.end(), b.begin(), b.end());
  };
  CHECK(loaded.tensors.at("weight").shape == std::vector<std::size_t>{2, 3});
  CHECK(loaded.tensors.at("weight").dtype == kRealDtype);
  CHECK(same_bytes(loaded.tensors.at("weight"), bytes_of(weight)));
  CHECK(loaded.tensors.at("scalar").shape.empty());
  CHECK(same_bytes(loaded.tensors.at("scalar"), bytes_of(scalar)));
  CHECK(loaded.tensors.at("empty").shape == std::vector<std::size_t>{4, 0, 2});
  CHECK(loaded.tensors.at("empty").bytes.empty());
  CHECK(same_bytes(loaded.tensors.at("flags \"\\\n\u00e9"), bytes_of(flags)));
  CHECK(same_bytes(loaded.tensors.at(""), bytes_of(ids)));
  CHECK(std::isnan(to_real(loaded.tensors.at("weight"))[5]));

  // A copy keeps the file's bytes alive, and a second save writes the same file.
  const Safetensors copy = Safetensors(loaded);
  const std::string first = read_file(temporary.path);
  save_safetensors(temporary.path, copy);
  CHECK(read_file(temporary.path) == first);
}

TEST_CASE("a file without tensors is legal", "[core][safetensors]") {
  const TemporaryPath temporary;
  save_safetensors(temporary.path, {});
  CHECK(read_file(temporary.path) == file_with("{}      "));
  CHECK(load_safetensors(temporary.path).tensors.empty());
}

TEST_CASE("files are written byte for byte as by the reference", "[core][safetensors]") {
  const std::vector<std::int64_t> i64{1};
  const std::vector<double> f64{2};
  const std::vector<float> f32{3, 4};
  const std::vector<std::int32_t> i32{5};
  const std::vector<std::uint16_t> half{0x4600};
  const std::vector<std::uint8_t> u8{7, 8, 9}, truth{1};
  const TemporaryPath temporary;
  save_safetensors(temporary.path, {.tensors = {{"a.u8", {"U8", {3}, bytes_of(u8)}},
                                                {"b.bool", {"BOOL", {1}, bytes_of(truth)}},
                                                {"c.f16", {"F16", {1, 1}, bytes_of(half)}},
                                                {"d.f32", {"F32", {2}, bytes_of(f32)}},
                                                {"e.i32", {"I32", {}, bytes_of(i32)}},
                                                {"f.f64", {"F64", {1}, bytes_of(f64)}},
                                                {"g.i64", {"I64", {1}, bytes_of(i64)}},
                                                {"h.f32", {"F32", {0}, {}}}},
                                    .metadata = {{"k", "v\u00e9"}}});
  std::string expected = file_with(
      "{\"__metadata__\":{\"k\":\"v\u00e9\"},"
      R"("g.i64":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
      R"("f.f64":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},)"
      R"("d.f32":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},)"
      R"("h.f32":{"dtype":"F32","shape":[0],"data_offsets":[24,24]},)"
      R"("e.i32":{"dtype":"I32","shape":[],"data_offsets":[24,28]},)"
      R"("c.f16":{"dtype":"F16","shape":[1,1],"data_offsets":[28,30]},)"
      R"("a.u8":{"dtype":"U8","shape":[3],"data_offsets":[30,33]},)"
      R"("b.bool":{"dtype":"BOOL","shape":[1],"data_offsets":[33,34]}}      )");
  expected += std::string(
      "\1\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\x40"
      "\0\0\x40\x40\0\0\x80\x40"
      "\5\0\0\0"
      "\0\x46"
      "\7\x8\x9"
      "\1",
      34);
  CHECK(read_file(temporary.path) == expected);
}

TEST_CASE("every dtype is converted to real", "[core][safetensors]") {
  CHECK(convert("F32", 1.5f) == real{1.5});
  CHECK(convert("F64", 1.0 / 3) == static_cast<real>(1.0 / 3));
  CHECK(convert("I64", std::int64_t{-5}) == -5);
  CHECK(convert("I32", std::int32_t{-6}) == -6);
  CHECK(convert("U8", std::uint8_t{200}) == 200);
  CHECK(convert("BOOL", std::uint8_t{1}) == 1);
  CHECK(convert("BOOL", std::uint8_t{0}) == 0);
  CHECK(convert("BF16", std::uint16_t{0x3FC0}) == real{1.5});
  CHECK(convert("BF16", std::uint16_t{0x0001}) == static_cast<real>(0x1p-133));
  CHECK(std::isnan(convert("BF16", std::uint16_t{0x7FC0})));
  CHECK(convert("BF16", std::uint16_t{0xFF80}) == -INFINITY);
}

TEST_CASE("every half has its value", "[core][safetensors]") {
  // All 65536, against the definition: (-1)^s 2^(e-15) (1 + m/1024), and 2^-14 m/1024 if e = 0.
  std::vector<std::uint16_t> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
  const auto values = to_real({"F16", {256, 256}, bytes_of(halves)});
  std::size_t wrong = 0;
  for (int i = 0; i < 65536; ++i) {
    const int exponent = i >> 10 & 31, mantissa = i & 1023;
    const double magnitude = exponent == 0    ? std::ldexp(mantissa / 1024.0, -14)
                             : exponent == 31 ? (mantissa == 0 ? INFINITY : NAN)
                                              : std::ldexp(1 + mantissa / 1024.0, exponent - 15);
    const auto value = static_cast<double>(values[static_cast<std::size_t>(i)]);
    const bool same = std::isnan(magnitude) ? std::isnan(value) : std::abs(value) == magnitude;
    wrong += !same || std::signbit(value) != (i >= 32768);
  }
  CHECK(wrong == 0);
}

TEST_CASE("conversion checks type and size", "[core][safetensors]") {
  const std::vector<std::byte> bytes(7);
  CHECK_THROWS_WITH(to_real({"F32", {2}, bytes}),
                    "to_real: the tensor has 7 bytes, but F32 of shape (2,) takes 8");
  CHECK_THROWS_WITH(
      to_real({"F8_E4M3", {7}, bytes}),
      "to_real: the tensor has dtype \"F8_E4M3\", supported are BOOL U8 F16 BF16 I32 F32 "
      "F64 I64");
}

TEST_CASE("tensors may lie in any order, unaligned, under spaces", "[core][safetensors]") {
  const std::string file =
      file_with(" \n\t\r{" + entry("b", "[1]", "[1,5]") + " , " +
                    entry("a", "[]", "[ 0, 1 ]", "U8") + "," + entry("z", "[0]", "[1,1]") + "}  \n",
                5);
  const Safetensors contents = parse(file);
  CHECK(contents.tensors.size() == 3);
  CHECK(to_real(contents.tensors.at("a")) == std::vector<real>{42});
  CHECK(to_real(contents.tensors.at("b")) ==
        std::vector<real>{std::bit_cast<float>(std::uint32_t{0x2A2A2A2A})});
  CHECK(contents.tensors.at("z").bytes.empty());
}

TEST_CASE("escapes in names are undone, even of a zero byte", "[core][safetensors]") {
  const std::string file = file_with(object(entry("\\u00e9\\u0000", "[0]", "[0,0]")));
  CHECK(parse(file).tensors.count(std::string("\u00e9\0", 3)) == 1);
}

TEST_CASE("a file with a broken frame is refused", "[core][safetensors]") {
  CHECK(error_of("") == "the file has only 0 bytes");
  CHECK(error_of("1234567") == "the file has only 7 bytes");
  std::string file = file_with("{}");
  file[0] = 3;
  CHECK(error_of(file) == "the header's length 3 is beyond the end of the file");
  CHECK(error_of("{\"a\": 12345}") ==
        "the header's length 3616707409812202107 is above 100000000: is this a safetensors file?");
  CHECK(error_of(std::string(8, '\xFF')) ==
        "the header's length 18446744073709551615 is above 100000000: is this a safetensors file?");
  CHECK(error_of(std::string("\0\xE1\xF5\x05\0\0\0\0{}", 10)) ==
        "the header's length 100000000 is beyond the end of the file");
  CHECK(error_of(std::string("\1\xE1\xF5\x05\0\0\0\0{}", 10)) ==
        "the header's length 100000001 is above 100000000: is this a safetensors file?");
}

TEST_CASE("a header that is not a JSON object in UTF-8 is refused", "[core][safetensors]") {
  CHECK(error_of_header("") == "the header is not a JSON object");
  CHECK(error_of_header("   ") == "the header is not a JSON object");
  CHECK(error_of_header("[]") == "the header is not a JSON object");
  CHECK(error_of_header("\xEF\xBB\xBF{}") == "the header is not a JSON object");
  CHECK(error_of_header("{") == "the header is not JSON in UTF-8: see its byte 2");
  CHECK(error_of_header("{}}") == "the header is not JSON in UTF-8: see its byte 3");
  CHECK(error_of_header("{} {}") == "the header is not JSON in UTF-8: see its byte 4");
  CHECK(error_of_header("{,}") == "the header is not JSON in UTF-8: see its byte 2");
  CHECK(error_of_header("{/**/}") == "the header is not JSON in UTF-8: see its byte 2");
  CHECK(error_of_header(std::string("{}\0x", 4)) ==
        "the header is not JSON in UTF-8: see its byte 3");
  CHECK(error_of_header("{\"\xFF\":0}") == "the header is not JSON in UTF-8: see its byte 3");
  CHECK(error_of_header("{\"\xC0\x80\":0}") == "the header is not JSON in UTF-8: see its byte 3");
  CHECK(error_of_header("{} \xFF") == "the header is not JSON in UTF-8: see its byte 4");
  CHECK(error_of_header(R"({"\ud800":0})") == "the header is not JSON in UTF-8: see its byte 9");
}

TEST_CASE("a key that appears twice is refused", "[core][safetensors]") {
  CHECK(error_of_header(object(entry("w", "[0]", "[0,0]") + "," + entry("w", "[0]", "[0,0]"))) ==
        "\"w\" appears twice");
  CHECK(error_of_header(object(entry("w", "[0]", "[0,0]") + "," + entry("\\u0077", "[]", "[]"))) ==
        "\"w\" appears twice");
  CHECK(error_of_header(R"({"__metadata__":{},"__metadata__":{}})") ==
        "\"__metadata__\" appears twice");
  CHECK(error_of_header(R"({"__metadata__":{"k":"a","k":"b"}})") ==
        "\"__metadata__\" has the key \"k\" twice");
  CHECK(error_of_header(R"({"w":{"dtype":"F32","shape":[0],"shape":[0],"data_offsets":[0,0]}})") ==
        "\"w\" has the field \"shape\" twice");
}

TEST_CASE("an entry of the wrong form is refused", "[core][safetensors]") {
  CHECK(error_of_header(R"({"w":1})") == "\"w\" is not a JSON object");
  CHECK(error_of_header(R"({"w":"F32"})") == "\"w\" is not a JSON object");
  CHECK(error_of_header(R"({"w":[]})") == "\"w\" is not a JSON object");
  CHECK(error_of_header(R"({"w":null})") == "\"w\" is not a JSON object");
  CHECK(error_of_header(R"({"w":{}})") == "\"w\" needs the fields dtype, shape and data_offsets");
  CHECK(error_of_header(R"({"w":{"dtype":"F32","shape":[0]}})") ==
        "\"w\" needs the fields dtype, shape and data_offsets");
  CHECK(error_of_header(R"({"w":{"dtype":"F32","strides":[1]}})") ==
        "\"w\" has the unknown field \"strides\"");
  CHECK(error_of_header(R"({"w":{"dtype":32}})") == "\"w\" needs text as dtype");
  CHECK(error_of_header(R"({"w":{"dtype":["F32"]}})") == "\"w\" needs text as dtype");
  CHECK(error_of_header(R"({"w":{"dtype":true}})") == "\"w\" needs text as dtype");
  CHECK(error_of_header(object(entry("w", "[0]", "[0]"))) == "\"w\" needs 2 data_offsets, has 1");
  CHECK(error_of_header(object(entry("w", "[0]", "[0,0,0]"))) ==
        "\"w\" needs 2 data_offsets, has 3");
}

TEST_CASE("sizes that are not unsigned integers are refused", "[core][safetensors]") {
  for (const char* shape :
       {"[1.5]", "[1.0]", "[-3]", "[-0]", "[1e2]", "[18446744073709551616]", "[\"1\"]", "[[1]]",
        "[{}]", "[null]", "[true]", "1", "\"1\"", "{}", "null"}) {
    INFO(shape);
    CHECK(error_of_header(object(entry("w", shape, "[0,0]"))) ==
          "\"w\" needs a list of unsigned integers as shape");
    CHECK(error_of_header(object(entry("w", "[0]", shape))) ==
          "\"w\" needs a list of unsigned integers as data_offsets");
  }
}

TEST_CASE("metadata that is not text to text is refused", "[core][safetensors]") {
  CHECK(error_of_header(R"({"__metadata__":[]})") == "\"__metadata__\" is not a JSON object");
  CHECK(error_of_header(R"({"__metadata__":"x"})") == "\"__metadata__\" is not a JSON object");
  for (const char* value : {"1", "-1", "1.5", "null", "true", "[]", "{}"}) {
    INFO(value);
    CHECK(error_of_header(R"({"__metadata__":{"k":)" + std::string(value) + "}}") ==
          "\"__metadata__\" has a value that is not text at the key \"k\"");
  }
  // The fields of a tensor have no meaning there.
  const std::string file = file_with(R"({"__metadata__":{"shape":"s","dtype":"d"}})");
  CHECK(parse(file).metadata.at("shape") == "s");
}

TEST_CASE("a buffer that the tensors do not fill exactly is refused", "[core][safetensors]") {
  const auto two = [](const char* first, const char* second) {
    return object(entry("a", "[1]", first) + "," + entry("b", "[1]", second));
  };
  CHECK(error_of_header(two("[0,4]", "[4,8]"), 8) == "no error");
  CHECK(error_of_header(two("[4,8]", "[0,4]"), 8) == "no error");
  CHECK(error_of_header(two("[0,4]", "[5,9]"), 9) ==
        "\"b\" begins at byte 5 of the buffer, but the tensor before it ends at 4");
  CHECK(error_of_header(two("[1,5]", "[5,9]"), 9) ==
        "\"a\" begins at byte 1 of the buffer, but the tensor before it ends at 0");
  CHECK(error_of_header(two("[0,4]", "[3,7]"), 7) ==
        "\"b\" begins at byte 3 of the buffer, but the tensor before it ends at 4");
  CHECK(error_of_header(two("[0,4]", "[0,4]"), 4) ==
        "\"b\" begins at byte 0 of the buffer, but the tensor before it ends at 4");
  CHECK(error_of_header(two("[0,4]", "[4,0]"), 8) ==
        "\"b\" begins at byte 4 of the buffer and ends before, at 0");
  CHECK(error_of_header(two("[0,4]", "[4,8]"), 7) ==
        "\"b\" ends at byte 8 of the buffer, which has 7");
  CHECK(error_of_header(two("[0,4]", "[4,8]"), 9) ==
        "the buffer has 9 bytes, but the last tensor ends at 8");
  CHECK(error_of_header("{}", 1) == "the buffer has 1 bytes, but the last tensor ends at 0");
  CHECK(error_of_header(object(entry("a", "[1]", "[18446744073709551612,18446744073709551615]"))) ==
        "\"a\" begins at byte 18446744073709551612 of the buffer, but the tensor before it ends at "
        "0");
}

TEST_CASE("a shape that does not fit its bytes is refused", "[core][safetensors]") {
  CHECK(error_of_header(object(entry("w", "[2,3]", "[0,20]")), 20) ==
        "\"w\" has 20 bytes, but F32 of shape (2, 3) takes 24");
  CHECK(error_of_header(object(entry("w", "[]", "[0,0]"))) ==
        "\"w\" has 0 bytes, but F32 of shape () takes 4");
  // 2^64 elements, 2^62 elements of 4 bytes, and an overflow that a zero would hide.
  CHECK(error_of_header(object(entry("w", "[4294967296,4294967296]", "[0,0]"))) ==
        "\"w\" has shape (4294967296, 4294967296), too large for 64 bits");
  CHECK(error_of_header(object(entry("w", "[4611686018427387904]", "[0,0]"))) ==
        "\"w\" has shape (4611686018427387904,), too large for 64 bits");
  CHECK(error_of_header(object(entry("w", "[4294967296,4294967296,0]", "[0,0]"))) ==
        "\"w\" has shape (4294967296, 4294967296, 0), too large for 64 bits");
}

TEST_CASE("an unknown dtype names the tensor", "[core][safetensors]") {
  CHECK(error_of_header(object(entry("w", "[1]", "[0,1]", "F8_E4M3")), 1) ==
        "\"w\" has dtype \"F8_E4M3\", supported are BOOL U8 F16 BF16 I32 F32 F64 I64");
  CHECK(error_of_header(object(entry("w", "[1]", "[0,4]", "f32")), 4) ==
        "\"w\" has dtype \"f32\", supported are BOOL U8 F16 BF16 I32 F32 F64 I64");
}

TEST_CASE("hostile names and shapes do not flood or fake an error", "[core][safetensors]") {
  CHECK(error_of_header(R"({"\u001b[2J\n":1})") == R"("\u001b[2J\n" is not a JSON object)");
  CHECK(error_of_header("{\"" + std::string(100'000, 'n') + "\":1}").size() < 200);
  std::string ones = "[1";
  for (int i = 0; i < 10'000; ++i) ones += ",1";
  CHECK(error_of_header(object(entry("w", ones + "]", "[0,0]"))).size() < 200);
}

TEST_CASE("deep brackets and many tensors over one region are refused", "[core][safetensors]") {
  CHECK(error_of_header("{\"w\":" + std::string(1'000'000, '[')) == "\"w\" is not a JSON object");
  std::string header = "{";
  for (int i = 0; i < 20'000; ++i) header += entry(std::to_string(i), "[1]", "[0,4]") + ",";
  header.back() = '}';
  CHECK(error_of_header(header, 4) ==
        "\"1\" begins at byte 0 of the buffer, but the tensor before it ends at 4");
}

TEST_CASE("load names the file", "[core][safetensors]") {
  const TemporaryPath temporary;
  CHECK_THROWS_WITH(load_safetensors(temporary.path),
                    "read: cannot open \"" + temporary.path + "\": No such file or directory");
  write_file(temporary.path, "short");
  CHECK_THROWS_WITH(load_safetensors(temporary.path),
                    "load \"" + temporary.path + "\": the file has only 5 bytes");
}

TEST_CASE("what the format cannot hold is not saved", "[core][safetensors]") {
  const std::vector<float> values{1, 2, 3};
  using Error = std::invalid_argument;
  CHECK(save_error_of<Error>({.tensors = {{"w", {"F32", {2}, bytes_of(values)}}}}) ==
        "\"w\" has 12 bytes, but F32 of shape (2,) takes 8");
  CHECK(save_error_of<Error>({.tensors = {{"w", {"F33", {3}, bytes_of(values)}}}}) ==
        "\"w\" has dtype \"F33\", supported are BOOL U8 F16 BF16 I32 F32 F64 I64");
  CHECK(save_error_of<Error>({.tensors = {{"__metadata__", {"F32", {3}, bytes_of(values)}}}}) ==
        "no tensor can have the name \"__metadata__\"");
  CHECK(save_error_of<Error>({.tensors = {{"\xFF", {"F32", {3}, bytes_of(values)}}}}) ==
        "a name or a metadata text is not UTF-8");
  CHECK(save_error_of<Error>({.metadata = {{"k", "\xFF"}}}) ==
        "a name or a metadata text is not UTF-8");
}

TEST_CASE("a save that fails keeps the old file", "[core][safetensors]") {
  const TemporaryPath temporary;
  const std::vector<float> values{1};
  save_safetensors(temporary.path, {.tensors = {{"w", {"F32", {}, bytes_of(values)}}}});
  CHECK_THROWS(
      save_safetensors(temporary.path, {.tensors = {{"w", {"F32", {9}, bytes_of(values)}}}}));
  CHECK(to_real(load_safetensors(temporary.path).tensors.at("w")) == std::vector<real>{1});
  CHECK_THROWS_WITH(save_safetensors("/none/w.safetensors", {}),
                    "write: cannot write \"/none/w.safetensors\": No such file or directory");
}
