// Data: bumps that are drawn here, and readers of files.
#include <charconv>
#include <cmath>
#include <numbers>

#include <xgrad/core/files.hpp>
#include <xgrad/core/parallel.hpp>

#include "study.hpp"

namespace study {
namespace {

constexpr std::size_t side = 16, pixels = side * side;

/// Adds a bump: a Gaussian, 2.2 times as long as wide, of random place, size, height and direction.
void add_bump(Rng& rng, real* image) {
  double u[5];
  for (double& value : u) value = rng.uniform64();
  const double x0 = 0.1 + 0.8 * u[0], y0 = 0.1 + 0.8 * u[1], width = 0.06 + 0.1 * u[2],
               length = 2.2 * width, height = 0.4 + 0.6 * u[3], angle = std::numbers::pi * u[4],
               c = std::cos(angle), s = std::sin(angle);
  for (std::size_t i = 0; i < pixels; ++i) {
    const double dx = (static_cast<double>(i % side) + 0.5) / side - x0,
                 dy = (static_cast<double>(i / side) + 0.5) / side - y0;
    const double a = dx * c + dy * s, b = dy * c - dx * s;
    const double far = a / length * (a / length) + b / width * (b / width);
    image[i] += static_cast<real>(height * std::exp(-far / 2));
  }
}

Tensor draw(std::size_t count, const Rng& rng) {
  Tensor images = zeros({count, pixels});
  real* data = images.mutable_data();
  parallel_for(count, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      Rng own = rng.fork(i);
      for (int bump = 0; bump < 3; ++bump) add_bump(own, data + i * pixels);
    }
  });
  return images;
}

}  // namespace

Data::Data(Tensor all, Tensor held_out)
    : train(std::move(all)), test(std::move(held_out)), mean(xgrad::mean(train, {0}, keepdims)) {
  train = train - mean;
  test = test - mean;
  variance = xgrad::mean(square(test)).item();
}

Data bumps() {
  const Rng rng = Rng(0).fork("bumps");  // the same for every seed of a run
  return {draw(20000, rng.fork("train")), draw(2048, rng.fork("test"))};
}

Tensor read_digits(const std::string& path) {
  constexpr std::size_t columns = 65;
  const std::string text = read_file(path);
  std::vector<real> values;
  const char *at = text.data(), *const end = at + text.size();
  std::size_t line = 0;
  while (at != end) {
    ++line;
    for (std::size_t column = 0; column < columns; ++column) {
      int value = 0;
      const auto [after, error] = std::from_chars(at, end, value);
      const char follows = after == end ? '\n' : *after;
      require<std::runtime_error>(
          error == std::errc() && value >= 0 && (value <= 16 || column == columns - 1) &&
              (column + 1 < columns ? follows == ',' : follows == '\n' || follows == '\r'),
          path, ": line ", line, ": needs 64 pixels from 0 to 16 and a label, with commas between");
      at = after;
      while (at != end && (*at == ',' || *at == '\r')) ++at;
      if (column + 1 < columns) values.push_back(static_cast<real>(value) / 16);
    }
    if (at != end) ++at;
  }
  require<std::runtime_error>(line >= 100, path, ": has ", line,
                              " digits and must have at least 100");
  return tensor(values, {line, 1, 8, 8});
}

Image read_photograph(const std::string& path) {
  const Image image = examples::read_npy_image(path);
  require<std::runtime_error>(image.width >= 64 && image.height >= 64, path, ": is ", image.width,
                              " x ", image.height, " pixels and must have at least 64 x 64");
  return image;
}

}  // namespace study
