// Images of bytes: read from a NumPy file, written as PNG. No resampling, no colour management.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace examples {

struct Image {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> rgb = {};  ///< (height, width, 3), from the top left

  std::uint8_t* at(std::size_t x, std::size_t y) { return rgb.data() + 3 * (y * width + x); }
  const std::uint8_t* at(std::size_t x, std::size_t y) const {
    return rgb.data() + 3 * (y * width + x);
  }
};

/// A PNG file of the image. It is not compressed, only wrapped. Throws std::invalid_argument
/// for an image that is empty or not of the size that it says.
std::string png(const Image& image);

/// A .npy file of shape (height, width, 3) and type uint8, as numpy.save writes it. Throws
/// std::runtime_error that begins with the path.
Image read_npy_image(const std::string& path);

/// The bytes in base 64, for data inside of text.
std::string base64(const std::string& bytes);

}  // namespace examples
