// Fsq; see fsq.hpp.
#include <xgrad/nn/vq/fsq.hpp>

#include <cmath>
#include <limits>
#include <optional>

#include <xgrad/core/pause.hpp>

namespace xgrad::inline XGRAD_PRECISION {

Fsq::Fsq(Module* owner, std::string name, FsqOptions o)
    : Quantizer(owner, std::move(name)), options(std::move(o)) {
  const std::vector<std::int64_t>& levels = options.levels;
  require(!levels.empty(), "Fsq: needs levels, such as {8, 5, 5, 5}");
  const Shape shape{levels.size()};
  for (Tensor* table : {&half_, &offset_, &shift_, &lowest_, &middle_, &radius_})
    *table = Tensor::empty(shape);
  for (std::size_t j = 0; j < levels.size(); ++j) {
    // With 2 levels the range would end on the border of both; from 1001 on it would reach a level
    // too many.
    require(levels[j] >= 3 && levels[j] <= 1000, "Fsq: levels must be in [3, 1000], got ",
            levels[j], " for coordinate ", j, levels[j] == 2 ? "; for 2 take Lfq" : "");
    const auto L = static_cast<std::size_t>(levels[j]);
    require(codes_ <= static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max()) / L,
            "Fsq: levels ", levels, " make more codes than 64 bits can number");
    codes_ *= L;
    const double half = static_cast<double>(L - 1) * (1 + 1e-3) / 2, offset = L % 2 ? 0 : 0.5;
    const bool symmetric = options.bound == FsqBound::sigmoid;
    const double radius = symmetric ? static_cast<double>(L - 1) / 2 : static_cast<double>(L / 2);
    const auto set = [j](Tensor& table, double value) {
      table.mutable_data()[j] = static_cast<real>(value);
    };
    set(half_, half);
    set(offset_, offset);
    set(shift_, std::atanh(offset / half));
    set(radius_, radius);
    set(middle_, radius);
    set(lowest_, symmetric ? 0 : -radius);
  }
}

Tensor Fsq::bounded(const Tensor& z) const {
  if (options.bound == FsqBound::sigmoid) return sigmoid(z) * (radius_ * real(2));
  return tanh(z + shift_) * half_ - offset_;
}

Tensor Fsq::rounded(const Tensor& bounded) const {
  constexpr auto pass = StepGradient::straight_through;
  if (options.bound == FsqBound::sigmoid) return floor(bounded + real(0.5), pass);
  return round(bounded, pass) - lowest_;
}

Tensor Fsq::codes_at(const Tensor& levels) const { return (levels - middle_) / radius_; }

Indices Fsq::index_of(const Tensor& levels) const {
  Indices index(detail::leading_shape(levels), 0);
  const real* level = levels.data();
  for (std::int64_t& i : index) {
    std::int64_t step = 1;
    for (const std::int64_t L : options.levels) {
      i += static_cast<std::int64_t>(*level++) * step;
      step *= L;
    }
  }
  return index;
}

Quantized Fsq::operator()(const Tensor& z) {
  const Scope here = enter();
  detail::check_vectors("Fsq", z, dim());
  detail::check_numbers("Fsq", z);
  std::optional<Pause> pause;
  if (!is_training()) pause.emplace();
  const Tensor x = bounded(z), levels = rounded(x), q = codes_at(levels);
  const Indices codes = index_of(levels);
  const Pause measuring;
  return {.quantized = q,
          .codes = codes,
          .loss = scalar(0),
          .usage = measure_usage(codes_at(x - lowest_), q, codes, codes_)};
}

Indices Fsq::encode(const Tensor& z) const {
  const Scope here = enter();
  detail::check_vectors("Fsq", z, dim());
  detail::check_numbers("Fsq", z);
  const Pause pause;
  return index_of(rounded(bounded(z)));
}

Tensor Fsq::decode(const Indices& codes) const {
  const Scope here = enter();
  detail::check_codes("Fsq", codes, codes_);
  Shape shape(codes.shape().begin(), codes.shape().end());
  shape.push_back(dim());
  Tensor levels = Tensor::empty(shape);
  real* level = levels.mutable_data();
  for (std::int64_t rest : codes)
    for (const std::int64_t L : options.levels) {
      *level++ = static_cast<real>(rest % L);
      rest /= L;
    }
  return codes_at(levels);
}

}  // namespace xgrad::inline XGRAD_PRECISION
