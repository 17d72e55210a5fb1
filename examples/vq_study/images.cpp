// Part 4: images from files, digits or a photograph, in pieces of 8 x 8 pixels with four codes
// each: how many bits a pixel takes, and what is left of it.
#include <algorithm>
#include <cmath>
#include <iostream>

#include <xgrad/core/files.hpp>

#include "study.hpp"

namespace study {
namespace {

constexpr std::size_t piece = 8;

std::size_t hidden(const Settings& settings) { return settings.quick ? 16 : 64; }

struct Trained {
  std::string name;
  Tensor pictures;  // what it made of Data::test, in [0, 1]
};

/// Trains the main methods on pieces (n, C, 8, 8) and puts down what they made of others.
std::vector<Trained> compare(Context& context, const std::string& study, const Data& data,
                             const Sizes& sizes) {
  const Settings& s = context.settings;
  std::vector<Trained> trained;
  std::cout << '\n';
  for (const Method& method : context.main_methods()) {
    const Made made = method.make(sizes, s.seed);
    ConvVqVae model({.channels = data.train.size(1),
                     .hidden = sizes.hidden,
                     .quantizer = made.quantizer,
                     .seed = s.seed});
    const auto look = [&](VqVae& now, std::int64_t step, double seconds) {
      if (step < s.steps) return;
      const Pause no_tape;
      const Tensor x = clamp(now(data.test).x + data.mean, 0, 1);
      const double mse = mean(square(x - (data.test + data.mean))).item();
      const double codes = 4.0 / (piece * piece);  // for a pixel
      Row row{{"study", study}, {"method", method.name}, {"seed", s.seed}, {"steps", step}};
      row.update(evaluate(now, made, data));
      row["psnr"] = -10 * std::log10(mse);
      row["bits_per_pixel"] = codes * std::log2(static_cast<double>(made.quantizer->codes()));
      row["entropy_bits"] = codes * std::log2(row["perplexity"].get<double>());
      row["seconds"] = seconds;
      context.results.add(row);
      trained.push_back({method.name, x});
      std::cout << study << ", " << method.name << ": trained in " << number(seconds) << " s"
                << std::endl;
    };
    train(model, made, method, data, s.seed, {.steps = s.steps, .looks = 1, .look = look});
  }
  return trained;
}

void report(const Context& context, const std::string& study, const std::string& heading) {
  const Rows rows = context.results.where({{"study", study}});
  context.show(heading +
                   "\n   bits per pixel: log2 of the number of codes, one code for 4 x 4 "
                   "pixels; entropy bits: what an entropy\n   coder would need that knows "
                   "how often each code comes; psnr in dB",
               table(rows, {"method", "psnr", "bits_per_pixel", "entropy_bits", "rec",
                            "utilization", "perplexity", "qerr", "norm_ratio", "seconds"}));
}

}  // namespace

void measure_digits(Context& context, const Tensor& digits) {
  const auto count = static_cast<std::int64_t>(digits.size(0)), split = count * 5 / 6;
  const Data data(slice(digits, 0, 0, split), slice(digits, 0, split, count));
  const std::vector<Trained> trained =
      compare(context, "digits", data,
              {.hidden = hidden(context.settings), .dim = 16, .codes = 256, .levels = {8, 8, 4}});
  if (trained.empty()) return;
  report(context, "digits",
         "4. Digits: " + std::to_string(split) + " in the training, judged on the other " +
             std::to_string(count - split));
  const auto row_of = [](const std::string& name, const Tensor& x) {
    examples::ImageRow row{name, {}};
    for (std::size_t i = 0; i < 20; ++i) row.images.push_back(image_of(x, i));
    return row;
  };
  std::vector<examples::ImageRow> sheet{row_of("original", data.test + data.mean)};
  for (const Trained& t : trained) sheet.push_back(row_of(t.name, t.pictures));
  context.draw("digits.svg",
               examples::image_sheet("Digits that were not in the training", sheet, 4));
}

namespace {

/// Pieces of an image with their top left corners at these places, (n, 3, 8, 8) in [0, 1].
Tensor pieces(const Image& image, const std::vector<std::pair<std::size_t, std::size_t>>& corners) {
  Tensor x = zeros({corners.size(), std::size_t{3}, piece, piece});
  real* to = x.mutable_data();
  for (const auto& [left, top] : corners)
    for (std::size_t colour = 0; colour < 3; ++colour)
      for (std::size_t i = 0; i < piece; ++i)
        for (std::size_t j = 0; j < piece; ++j)
          *to++ = static_cast<real>(image.at(left + j, top + i)[colour]) / 255;
  return x;
}

/// The image whose pieces, from the top left and row by row, are x.
Image assembled(const Tensor& x, std::size_t width, std::size_t height) {
  Image image{.width = width, .height = height};
  image.rgb.resize(3 * width * height);
  for (std::size_t n = 0; n < x.size(0); ++n) {
    const Image part = image_of(x, n);
    const std::size_t left = n % (width / piece) * piece, top = n / (width / piece) * piece;
    for (std::size_t i = 0; i < piece; ++i)
      std::copy_n(part.at(0, i), 3 * piece, image.at(left, top + i));
  }
  return image;
}

/// A part from the middle, of at most this size.
Image middle(const Image& image, std::size_t size) {
  Image part{.width = std::min(size, image.width), .height = std::min(size, image.height)};
  for (std::size_t y = 0; y < part.height; ++y) {
    const std::uint8_t* row =
        image.at((image.width - part.width) / 2, (image.height - part.height) / 2 + y);
    part.rgb.insert(part.rgb.end(), row, row + 3 * part.width);
  }
  return part;
}

}  // namespace

void measure_photograph(Context& context, const Image& image) {
  const Settings& s = context.settings;
  const std::size_t width = image.width / piece * piece, height = image.height / piece * piece;
  std::vector<std::pair<std::size_t, std::size_t>> random, whole;
  Rng rng = Rng(s.seed).fork("pieces");
  for (int i = 0; i < 20000; ++i)
    random.emplace_back(rng.below(image.width - piece + 1), rng.below(image.height - piece + 1));
  for (std::size_t y = 0; y < height; y += piece)
    for (std::size_t x = 0; x < width; x += piece) whole.emplace_back(x, y);
  const Data data(pieces(image, random), pieces(image, whole));
  const std::vector<Trained> trained =
      compare(context, "photograph", data,
              {.hidden = hidden(s), .dim = 16, .codes = 512, .levels = {8, 8, 8}});
  if (trained.empty()) return;
  report(context, "photograph",
         "4. A photograph of " + std::to_string(width) + " x " + std::to_string(height) +
             " pixels, learned from random pieces of itself");
  context.read(
      "The model and its codebook are not counted among the bits, and they know this one "
      "photograph only: this compares quantizers, it is no image format.");
  std::vector<examples::ImageRow> sheet{
      {"original", {middle(assembled(pieces(image, whole), width, height), 200)}}};
  for (const Trained& t : trained) {
    const Image again = assembled(t.pictures, width, height);
    write_file(context.out / ("photograph_" + t.name + ".png"), examples::png(again));
    sheet.push_back({t.name, {middle(again, 200)}});
  }
  context.draw("photograph.svg", examples::image_sheet("The middle of the photograph", sheet, 2));
}

}  // namespace study
