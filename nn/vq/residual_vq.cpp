// ResidualVq; see residual_vq.hpp.
#include <xgrad/nn/vq/residual_vq.hpp>

#include <algorithm>
#include <optional>

#include <xgrad/core/pause.hpp>
#include <xgrad/core/recompute.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

ResidualVqOptions checked(ResidualVqOptions o) {
  require(!o.codebooks.empty(), "ResidualVq: needs at least 1 codebook");
  for (std::size_t i = 0; i < o.codebooks.size(); ++i) {
    require(o.codebooks[i] != nullptr, "ResidualVq: codebook ", i, " is empty");
    require(o.codebooks[i]->dim() == o.codebooks[0]->dim(), "ResidualVq: codebooks 0 and ", i,
            " have vectors of width ", o.codebooks[0]->dim(), " and ", o.codebooks[i]->dim());
    for (std::size_t j = 0; j < i; ++j)
      require(o.codebooks[i] != o.codebooks[j], "ResidualVq: stages ", j, " and ", i,
              " have the same codebook, which would move twice a step: make one for each");
  }
  require(o.min_stages <= o.codebooks.size(), "ResidualVq: min_stages is ", o.min_stages, " of ",
          o.codebooks.size(), " stages");
  if (!o.estimator) o.estimator = std::make_shared<StraightThrough>();
  return o;
}

/// What stands in each stage for the estimator, which comes once, after them: codes pass as they
/// are, on the codebook's side of the tape.
struct CodesThemselves : Estimator {
  explicit CodesThemselves(bool trains) : trains(trains) {}
  Tensor operator()(const Tensor& /*z*/, const Tensor& q) const override { return q; }
  bool trains_codebook() const override { return trains; }
  const bool trains;
};

/// codes[..., stage] = those of the stage.
void put_codes(const Indices& from, std::size_t stage, std::size_t stages, Indices& codes) {
  for (std::size_t i = 0; i < from.size(); ++i) codes.data()[i * stages + stage] = from.data()[i];
}

}  // namespace

ResidualVq::ResidualVq(Module* owner, std::string name, ResidualVqOptions o)
    : Quantizer(owner, std::move(name)), options(checked(std::move(o))), rng_(init_rng("stages")) {
  const auto estimator = std::make_shared<CodesThemselves>(options.estimator->trains_codebook());
  for (const auto& codebook : options.codebooks)
    stages.emplace(VectorQuantizerOptions{.codebook = codebook,
                                          .estimator = estimator,
                                          .codebook_weight = options.codebook_weight,
                                          .commitment_weight = options.commitment_weight,
                                          .reduction = options.reduction,
                                          .forced = options.forced});
}

std::size_t ResidualVq::codes() const {
  std::size_t most = 0;
  for (std::size_t l = 0; l < stages.size(); ++l) most = std::max(most, stages[l].codes());
  return most;
}

std::size_t ResidualVq::draw_stages() {
  const std::size_t all = stages.size();
  if (!is_training() || options.min_stages == 0) return all;
  return options.min_stages + take_stream(rng_, 1).below(all - options.min_stages + 1);
}

Quantized ResidualVq::operator()(const Tensor& z) {
  const Scope here = enter();
  detail::check_vectors("ResidualVq", z, dim());
  std::optional<Pause> pause;
  if (!is_training()) pause.emplace();
  Shape shape = detail::leading_shape(z);
  shape.push_back(stages.size());
  const std::size_t active = draw_stages();
  Quantized result{.quantized = {}, .codes = Indices(shape, -1), .loss = scalar(0)};
  Tensor rest = z, total;
  for (std::size_t l = 0; l < active; ++l) {
    const Quantized& stage = result.stages.emplace_back(stages[l](rest));
    put_codes(stage.codes, l, stages.size(), result.codes);
    total = l == 0 ? stage.quantized : total + stage.quantized;
    rest = rest - stop_gradient(stage.quantized);
  }

  const auto mean_of = [&](const auto& part) {
    Tensor sum = part(result.stages[0]);
    for (std::size_t l = 1; l < active; ++l) sum = sum + part(result.stages[l]);
    return sum / static_cast<real>(active);
  };
  if (is_training()) {
    result.quantized = (*options.estimator)(z, total);
    result.loss = mean_of([](const Quantized& stage) { return stage.loss; });
    result.parts.codebook = mean_of([](const Quantized& stage) { return stage.parts.codebook; });
    result.parts.commitment =
        mean_of([](const Quantized& stage) { return stage.parts.commitment; });
  } else {
    result.quantized = total;
  }
  Usage& usage = result.usage = detail::measure_distances(stop_gradient(z), stop_gradient(total));
  for (std::size_t l = 0; l < stages.size(); ++l) {
    const bool used = l < active;
    const std::vector<std::int64_t> none(used ? 0 : stages[l].codes());
    const auto& counts = used ? result.stages[l].usage.counts : none;
    usage.counts.insert(usage.counts.end(), counts.begin(), counts.end());
    if (used) usage.perplexity += result.stages[l].usage.perplexity / static_cast<double>(active);
  }
  usage.utilization = utilization(usage.counts);
  return result;
}

Indices ResidualVq::encode(const Tensor& z) const {
  const Scope here = enter();
  detail::check_vectors("ResidualVq", z, dim());
  const Pause pause;
  Shape shape = detail::leading_shape(z);
  shape.push_back(stages.size());
  Indices codes(shape, -1);
  Tensor rest = z;
  for (std::size_t l = 0; l < stages.size(); ++l) {
    const Indices chosen = stages[l].encode(rest);
    put_codes(chosen, l, stages.size(), codes);
    rest = rest - stages[l].decode(chosen);
  }
  return codes;
}

Tensor ResidualVq::decode(const Indices& codes) const {
  const Scope here = enter();
  const std::size_t L = stages.size(), axes = codes.dimension();
  require<ShapeError>(axes >= 1 && codes.shape()[axes - 1] == L, "ResidualVq: needs codes (..., ",
                      L, "), got shape ", Shape(codes.shape().begin(), codes.shape().end()));
  Indices chosen = Indices::from_shape({codes.size() / L});
  Tensor total;
  for (std::size_t l = 0; l < L; ++l) {
    Tensor used = ones({chosen.size(), 1});
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const std::int64_t code = codes.data()[i * L + l];
      used.mutable_data()[i] = code != -1;
      chosen(i) = code == -1 ? 0 : code;
    }
    const Tensor q = stages[l].decode(chosen);
    total = l == 0 ? where(used, q, real(0)) : where(used, total + q, total);
  }
  Shape shape(codes.shape().begin(), codes.shape().end());
  shape.back() = dim();
  return reshape(total, shape);
}

}  // namespace xgrad::inline XGRAD_PRECISION
