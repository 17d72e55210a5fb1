// PNG without a compressor, .npy without the types that images do not have; see image.hpp.
#include "image.hpp"

#include <algorithm>
#include <regex>

#include <xgrad/core/error.hpp>
#include <xgrad/core/files.hpp>

namespace examples {
namespace {

using xgrad::require;

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

/// The remainder of the bytes, as a polynomial over {0, 1}, on division by the one of ISO 3309;
/// PNG specification, annex D.
std::uint32_t crc32(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

/// Their sum, and the sum of its partial sums; RFC 1950, section 8.2.
std::uint32_t adler32(const std::string& bytes) {
  std::uint32_t a = 1, b = 0;
  for (const char c : bytes) {
    a = (a + static_cast<unsigned char>(c)) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

/// A stream of zlib whose blocks are stored as they are; RFC 1950 and RFC 1951, section 3.2.4.
std::string stored(const std::string& bytes) {
  constexpr std::size_t largest = 0xFFFF;
  std::string stream = "\x78\x01";
  for (std::size_t at = 0; at < bytes.size(); at += largest) {
    const std::size_t size = std::min(largest, bytes.size() - at);
    stream += at + size == bytes.size() ? '\1' : '\0';
    for (const std::size_t number : {size, ~size})
      for (const int shift : {0, 8}) stream += static_cast<char>(number >> shift & 0xFF);
    stream.append(bytes, at, size);
  }
  return stream + big_endian(adler32(bytes));
}

std::string chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data +
         big_endian(crc32(type + data));
}

}  // namespace

std::string png(const Image& image) {
  require(image.rgb.size() > 0 && image.rgb.size() == 3 * image.width * image.height,
          "png: an image of ", image.width, " x ", image.height, " pixels has ", image.rgb.size(),
          " bytes");
  std::string rows;
  for (std::size_t y = 0; y < image.height; ++y) {
    rows += '\0';  // no filter
    rows.append(reinterpret_cast<const char*>(image.at(0, y)), 3 * image.width);
  }
  const std::string header = big_endian(static_cast<std::uint32_t>(image.width)) +
                             big_endian(static_cast<std::uint32_t>(image.height)) +
                             std::string("\x08\x02\0\0\0", 5);  // 8 bits each of red, green, blue
  return "\x89PNG\r\n\x1A\n" + chunk("IHDR", header) + chunk("IDAT", stored(rows)) +
         chunk("IEND", "");
}

Image read_npy_image(const std::string& path) {
  const std::string bytes = xgrad::read_file(path);
  const auto byte = [&](std::size_t i) {
    return std::size_t{static_cast<unsigned char>(bytes[i])};
  };
  require<std::runtime_error>(bytes.size() > 10 && bytes.starts_with("\x93NUMPY"), path,
                              ": not a .npy file");
  // A header of text, its length before it: in two bytes, or four from version 2 on.
  const std::size_t start = byte(6) == 1 ? 10 : 12;
  const std::size_t length = byte(8) + 256 * byte(9);
  const std::string header = bytes.substr(std::min(start, bytes.size()), length);
  static const std::regex shape(R"('shape': *\( *([0-9]{1,6}), *([0-9]{1,6}), *3 *,? *\))");
  std::smatch sizes;
  require<std::runtime_error>(header.find("'|u1'") != std::string::npos &&
                                  header.find("'fortran_order': False") != std::string::npos &&
                                  std::regex_search(header, sizes, shape),
                              path, ": needs an array (height, width, 3) of uint8, its header is ",
                              header.substr(0, header.find_last_not_of(" \n") + 1));
  Image image{.width = std::stoul(sizes[2]), .height = std::stoul(sizes[1])};
  const std::size_t first = start + length, count = 3 * image.width * image.height;
  require<std::runtime_error>(bytes.size() == first + count, path, ": ", image.width, " x ",
                              image.height, " pixels need ", count, " bytes, the file has ",
                              bytes.size() - std::min(first, bytes.size()));
  image.rgb.assign(bytes.begin() + static_cast<std::ptrdiff_t>(first), bytes.end());
  return image;
}

std::string base64(const std::string& bytes) {
  constexpr const char* digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t there = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t k = 0; k < 3; ++k)
      word = word << 8 | (k < there ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    for (std::size_t k = 0; k < 4; ++k)
      text += k <= there ? digits[word >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace examples
