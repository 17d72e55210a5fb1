// What the parts of this study share: its settings, the methods it compares, the data, and how an
// autoencoder is trained and judged. Each part measures, adds its rows to the results, draws, and
// says what it saw.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <xgrad/xgrad.hpp>

#include "support/chart.hpp"
#include "support/report.hpp"

namespace study {

using namespace xgrad;
using examples::cross_table;
using examples::Image;
using examples::listed;
using examples::number;
using examples::Row;
using examples::Rows;
using examples::Series;
using examples::shown;
using examples::table;

struct Settings {
  std::string out = "runs/vq_study", images, digits, methods = "all";
  bool quick = false;
  std::int64_t steps = 600;
  std::uint64_t seed = 0;
  int threads = 1;
};

/// Of an autoencoder and its codes. FSQ has the product of its levels in codes, as near as may be.
struct Sizes {
  std::size_t hidden, dim, codes;
  std::vector<std::int64_t> levels;
};
/// Of the comparison.
Sizes sizes_of(const Settings& settings);

// ---- methods: methods.cpp

/// A quantizer, new, and its codebook if it has one.
struct Made {
  std::shared_ptr<Quantizer> quantizer;
  std::shared_ptr<CodebookBase> codebook{};
};

struct Method {
  std::string name, group;
  std::function<Made(const Sizes& sizes, std::uint64_t seed)> make;
  double codebook_lr = 1;  // in units of the others' learning rate
};

const std::vector<Method>& all_methods();
/// The methods with these names, separated by commas, or "all". Throws UsageError for unknown ones.
std::vector<Method> methods_named(const std::string& names);
/// What the claim is about: plain VQ, the rotation trick, the linear transform; and FSQ, which has
/// no codebook.
bool is_main(const Method& method);

struct Context : examples::Report {
  const Settings& settings;
  const std::vector<Method> methods;

  /// The main ones among them.
  std::vector<Method> main_methods() const;
};

// ---- data: data.cpp

/// What an autoencoder learns: inputs of mean 0, the mean itself, and how large what it is judged
/// on is.
struct Data {
  Tensor train, test, mean;
  double variance;  // the mean square of `test`

  /// Takes the mean over axis 0 of `train` off both.
  Data(Tensor train, Tensor test);
};

/// Images of 16 x 16 pixels, each the sum of three elongated bumps at random: (20000, 256) and
/// (2048, 256).
Data bumps();
/// A file of 65 numbers per line: 8 x 8 pixels from 0 to 16 and a label, which is not used here.
/// (n, 1, 8, 8), in [0, 1]. Throws std::runtime_error that begins with path and line.
Tensor read_digits(const std::string& path);
/// A .npy file (height, width, 3) of uint8, both at least 64. Throws std::runtime_error that begins
/// with the path.
Image read_photograph(const std::string& path);

// ---- training: training.cpp

struct Training {
  std::int64_t steps;
  std::size_t batch = 128;
  std::size_t first = 2048;  // inputs that k-means sees
  std::int64_t looks = 4;    // how often `look` is called, beside the start
  std::function<void(VqVae& model, std::int64_t step, double seconds)> look{};
};

/// Adam with learning rate 1e-3 on mse / variance + the quantizer's loss. `look` sees the model, in
/// evaluation, at the start and after each of `looks` equal parts; its own time does not count.
void train(VqVae& model, const Made& made, const Method& method, const Data& data,
           std::uint64_t seed, const Training& how);

/// rec: mse / variance; utilization, perplexity, qerr, norm_ratio as in Usage; mean_z: mean |z|.
/// Null: those that mean nothing without a codebook, where z is bounded and rounded.
Row evaluate(VqVae& model, const Made& made, const Data& data);

// ---- pictures of data: training.cpp

/// Row i of x (n, C, H, W) or (n, H W), values in [0, 1], as an image.
Image image_of(const Tensor& x, std::size_t i);

// ---- the parts

/// 1. Every method on the same data: what it reconstructs and which codes it uses.
void measure_methods(Context& context, const Data& data);
/// 2. The same with codes of two numbers, to be seen.
void draw_planes(Context& context, const Data& data);
/// 3. What each estimator makes of one gradient, over a Voronoi cell.
void measure_cell(Context& context);
/// 4. Digits, and a photograph in pieces of 8 x 8 pixels.
void measure_digits(Context& context, const Tensor& digits);
void measure_photograph(Context& context, const Image& image);

}  // namespace study
