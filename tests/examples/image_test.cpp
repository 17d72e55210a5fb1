// Images: that the PNG is one, to the last byte, and what the reader of .npy files takes.
#include "support/image.hpp"

#include <string>

#include "catch.hpp"
#include "error_of.hpp"
#include "program.hpp"

using namespace examples;
using program::Folder;

namespace {

/// A .npy file with this header, padded as numpy pads it, and these bytes.
std::string npy(const std::string& header, const std::string& bytes) {
  const std::string text = header + std::string(127 - 10 - header.size(), ' ') + '\n';
  return std::string("\x93NUMPY\1\0", 8) + static_cast<char>(text.size()) + '\0' + text + bytes;
}

}  // namespace

TEST_CASE("a PNG of two pixels is what Python's zlib makes of them", "[image]") {
  CHECK(base64(png({.width = 2, .height = 1, .rgb = {255, 0, 0, 1, 2, 3}})) ==
        "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAIAAAB7QOjdAAAAEklEQVR4AQEHAPj/AP8AAAECAwYLAQZDxW8YAAAA"
        "AElFTkSuQmCC");
}

TEST_CASE("a PNG needs as many bytes as its size says", "[image]") {
  CHECK(error_of([] {
          png({.width = 2, .height = 1, .rgb = {1, 2, 3}});
        }) == "png: an image of 2 x 1 pixels has 3 bytes");
  CHECK(error_of([] { png({}); }) == "png: an image of 0 x 0 pixels has 0 bytes");
}

TEST_CASE("base64 pads what does not divide by three", "[image]") {
  CHECK(base64("") == "");
  CHECK(base64("M") == "TQ==");
  CHECK(base64("Ma") == "TWE=");
  CHECK(base64("Man") == "TWFu");
}

TEST_CASE("an image is read from a file of numpy.save", "[image]") {
  const Folder folder;
  folder.write("a.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 3), }",
                            std::string("\1\2\3\4\5\xFF")));
  const Image image = read_npy_image(folder / "a.npy");
  CHECK(image.width == 2);
  CHECK(image.height == 1);
  CHECK(image.rgb == std::vector<std::uint8_t>{1, 2, 3, 4, 5, 255});
}

TEST_CASE("a file that is no image of bytes is refused by its path", "[image]") {
  const Folder folder;
  const auto [file, text] = GENERATE(table<std::string, std::string>({
      {"hello", ": not a .npy file"},
      {npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 3), }", "123"),
       ": needs an array (height, width, 3) of uint8, its header is {'descr': '<f4', "
       "'fortran_order': False, 'shape': (1, 1, 3), }"},
      {npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3), }", "123"),
       ": needs an array (height, width, 3) of uint8, its header is {'descr': '|u1', "
       "'fortran_order': False, 'shape': (1, 3), }"},
      {npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 3), }", "123"),
       ": 1 x 2 pixels need 6 bytes, the file has 3"},
  }));
  folder.write("a.npy", file);
  const std::string path = folder / "a.npy";
  CHECK(error_of([&] { read_npy_image(path); }) == path + text);
}
