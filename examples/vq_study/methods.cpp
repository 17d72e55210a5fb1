// The methods: a codebook, an estimator, where the codes begin, and how fast they learn.
#include <algorithm>

#include "study.hpp"
#include "support/flags.hpp"

namespace study {
namespace {

using Estimated = std::shared_ptr<const Estimator>;

Made with(std::shared_ptr<CodebookBase> codebook, Estimated estimator, double codebook_weight = 1,
          double commitment_weight = 0.25) {
  return {std::make_shared<VectorQuantizer>(
              VectorQuantizerOptions{.codebook = codebook,
                                     .estimator = std::move(estimator),
                                     .codebook_weight = codebook_weight,
                                     .commitment_weight = commitment_weight}),
          codebook};
}

const Estimated ste = std::make_shared<StraightThrough>(), rotation = std::make_shared<Rotation>(),
                no_scale = std::make_shared<RotationNoScale>(),
                scale_only = std::make_shared<ScaleOnly>(), diveq = std::make_shared<Diveq>();

auto vq(Estimated estimator, CodebookInit init = CodebookInit::kmeans) {
  return [=](const Sizes& sizes, std::uint64_t seed) {
    return with(std::make_shared<Codebook>(CodebookOptions{
                    .codes = sizes.codes, .dim = sizes.dim, .init = init, .seed = seed}),
                estimator);
  };
}

auto ema(Estimated estimator, double restart_below = 0) {
  return [=](const Sizes& sizes, std::uint64_t seed) {
    return with(
        std::make_shared<EmaCodebook>(EmaCodebookOptions{
            .codes = sizes.codes, .dim = sizes.dim, .restart_below = restart_below, .seed = seed}),
        estimator, 0);
  };
}

using Change = void (*)(SimCodebookOptions& options);

auto simvq(
    Estimated estimator, Change change = [](SimCodebookOptions&) {}) {
  return [=](const Sizes& sizes, std::uint64_t seed) {
    SimCodebookOptions options{.codes = sizes.codes, .dim = sizes.dim, .seed = seed};
    change(options);
    return with(std::make_shared<SimCodebook>(options), estimator);
  };
}

Made diagonal(const Sizes& sizes, std::uint64_t seed) {
  return with(std::make_shared<DiagonalCodebook>(
                  DiagonalCodebookOptions{.codes = sizes.codes, .dim = sizes.dim, .seed = seed}),
              ste);
}

/// DiVeQ needs no losses of its own: the task trains the codes.
Made diveq_vq(const Sizes& sizes, std::uint64_t seed) {
  return with(std::make_shared<Codebook>(
                  CodebookOptions{.codes = sizes.codes, .dim = sizes.dim, .seed = seed}),
              diveq, 0, 0);
}

Made diveq_simvq(const Sizes& sizes, std::uint64_t seed) {
  return with(std::make_shared<SimCodebook>(
                  SimCodebookOptions{.codes = sizes.codes, .dim = sizes.dim, .seed = seed}),
              diveq, 0, 0);
}

Made fsq(const Sizes& sizes, std::uint64_t) {
  return {std::make_shared<Fsq>(FsqOptions{.levels = sizes.levels})};
}

}  // namespace

const std::vector<Method>& all_methods() {
  using enum CodebookInit;
  static const std::vector<Method> methods{
      {"vq-ste", "main", vq(ste)},
      {"vq-rotation", "main", vq(rotation)},
      {"simvq-ste", "main", simvq(ste)},
      {"fsq", "main", fsq},
      {"vq-ste-uniform", "initial values", vq(ste, uniform)},
      {"vq-ste-normal", "initial values", vq(ste, normal)},
      {"vq-rotation-uniform", "initial values", vq(rotation, uniform)},
      {"vq-rotation-normal", "initial values", vq(rotation, normal)},
      {"vq-rotation-no-scale", "parts of the rotation", vq(no_scale)},
      {"vq-scale-only", "parts of the rotation", vq(scale_only)},
      {"simvq-rotation", "linear transform", simvq(rotation)},
      {"simvq-ste-base", "linear transform",
       simvq(ste, [](SimCodebookOptions& o) { o.train_base = true; })},
      {"simvq-ste-identity", "linear transform",
       simvq(ste, [](SimCodebookOptions& o) { o.init = SimInit::identity; })},
      {"simvq-ste-bias", "linear transform",
       simvq(ste, [](SimCodebookOptions& o) { o.bias = true; })},
      {"diagonal-ste", "linear transform", diagonal},
      {"ema-ste", "other updates", ema(ste)},
      {"ema-rotation", "other updates", ema(rotation)},
      {"ema-ste-restart", "other updates", ema(ste, 0.2)},
      {"diveq-vq", "other updates", diveq_vq},
      {"diveq-simvq", "other updates", diveq_simvq},
      {"vq-ste-fast", "codes learn ten times as fast", vq(ste), 10},
      {"vq-rotation-fast", "codes learn ten times as fast", vq(rotation), 10},
  };
  return methods;
}

std::vector<Method> methods_named(const std::string& names) {
  if (names == "all") return all_methods();
  std::vector<Method> chosen;
  for (std::size_t at = 0; at <= names.size();) {
    const std::size_t comma = std::min(names.find(',', at), names.size());
    const std::string name = names.substr(at, comma - at);
    at = comma + 1;
    const auto found = std::find_if(all_methods().begin(), all_methods().end(),
                                    [&](const Method& method) { return method.name == name; });
    if (found == all_methods().end()) {
      std::string known;
      for (const Method& method : all_methods()) known += (known.empty() ? "" : ", ") + method.name;
      throw examples::UsageError("--methods: there is no \"" + name + "\": the methods are " +
                                 known);
    }
    chosen.push_back(*found);
  }
  return chosen;
}

bool is_main(const Method& method) { return method.group == "main"; }

std::vector<Method> Context::main_methods() const {
  std::vector<Method> chosen;
  std::copy_if(methods.begin(), methods.end(), std::back_inserter(chosen), is_main);
  return chosen;
}

}  // namespace study
