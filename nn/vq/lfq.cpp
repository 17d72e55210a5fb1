// Lfq and its entropies; see lfq.hpp.
#include <xgrad/nn/vq/lfq.hpp>

#include <cmath>
#include <limits>

#include <xgrad/core/parallel.hpp>
#include <xgrad/core/pause.hpp>
#include <xgrad/core/record.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

constexpr std::size_t exact_bits = 12;

real logistic(real x) {  // without overflow, and small numbers to the last digit
  const real e = std::exp(-std::abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

/// p[c] = the probability of code c, bit j of which is coordinate j here: each splits all in two.
void code_probabilities(const real* logits, std::size_t d, real* p) {
  p[0] = 1;
  for (std::size_t j = 0; j < d; ++j) {
    const real one = logistic(logits[j]), zero = logistic(-logits[j]);
    const std::size_t half = std::size_t{1} << j;
#pragma omp simd
    for (std::size_t c = 0; c < half; ++c) {
      p[half + c] = p[c] * one;
      p[c] *= zero;
    }
  }
}

/// The mean of all rows' code probabilities. Blocks of rows are added up in order, in double.
std::vector<double> mean_probabilities(const Tensor& logits, std::size_t rows, std::size_t d) {
  const std::size_t codes = std::size_t{1} << d, grain = (rows + 15) / 16;
  std::vector<double> sums(codes * ((rows + grain - 1) / grain));
  parallel_for(rows, grain, [&](std::size_t begin, std::size_t end) {
    std::vector<real> p(codes);
    double* sum = sums.data() + begin / grain * codes;
    for (std::size_t n = begin; n < end; ++n) {
      code_probabilities(logits.data() + n * d, d, p.data());
      for (std::size_t c = 0; c < codes; ++c) sum[c] += static_cast<double>(p[c]);
    }
  });
  std::vector<double> mean(codes);
  for (std::size_t i = 0; i < sums.size(); ++i)
    mean[i % codes] += sums[i] / static_cast<double>(rows);
  return mean;
}

/// g times the derivative of H(mean_n p_n). With b_j the bits of code c and p_j = sigmoid(a_nj),
/// dH/da_nj = -1/N sum_c p_n(c) (b_j - p_j) log mean(c) = -1/N ((1 - p_j) S1 - p_j S0), where S1
/// and S0 are the sums of w = p_n log mean over the codes with bit j and without.
Tensor entropy_gradient(const Tensor& logits, const std::vector<real>& log_mean, real g) {
  const std::size_t d = logits.size(-1), rows = logits.size() / d, codes = log_mean.size();
  const real scale = -g / static_cast<real>(rows);
  Tensor gradient = Tensor::empty(logits.shape());
  parallel_for(
      rows, 65536 / codes, [&, out = gradient.mutable_data()](std::size_t begin, std::size_t end) {
        std::vector<real> w(codes);
        for (std::size_t n = begin; n < end; ++n) {
          const real* a = logits.data() + n * d;
          code_probabilities(a, d, w.data());
          for (std::size_t c = 0; c < codes; ++c) w[c] *= log_mean[c];
          for (std::size_t j = d; j-- > 0;) {  // the last bit first, which is then summed away
            const std::size_t half = std::size_t{1} << j;
            real with = 0, without = 0;
#pragma omp simd reduction(+ : with, without)
            for (std::size_t c = 0; c < half; ++c) {
              with += w[half + c];
              without += w[c];
              w[c] += w[half + c];
            }
            out[n * d + j] = scale * (logistic(-a[j]) * with - logistic(a[j]) * without);
          }
        }
      });
  return gradient;
}

}  // namespace

Tensor binary_entropy(const Tensor& logits) {
  // With e = exp(-|a|): -p log p - (1 - p) log(1 - p) = log(1 + e) + |a| e/(1 + e).
  const Tensor size = abs(logits.detach()), e = exp(-size);
  const Tensor value = log1p(e) + size * (e / (real(1) + e));
  return record("binary_entropy", {logits}, value, Keep::inputs, [](auto& r) {
    const Tensor a = r.in(0), e = exp(-abs(a));  // p (1 - p) = e/(1 + e)^2
    r.to(0, Tensor(r.grad()) * (-a * e / square(real(1) + e)));
  });
}

Tensor mean_code_entropy(const Tensor& logits) {
  require<ShapeError>(logits.ndim() >= 1 && logits.size() > 0 && logits.size(-1) <= exact_bits,
                      "mean_code_entropy: needs logits (..., d) with d in [1, ", exact_bits,
                      "] and at least one row, got shape ", logits.shape());
  const std::size_t d = logits.size(-1), rows = logits.size() / d, codes = std::size_t{1} << d;
  std::vector<double> mean = mean_probabilities(logits, rows, d);
  double entropy = 0;
  std::vector<real> log_mean(codes);  // 0 where the mean is 0: so is what it is multiplied by
  for (std::size_t c = 0; c < codes; ++c) {
    const double log_of = mean[c] > 0 ? std::log(mean[c]) : mean[c];
    entropy -= mean[c] * log_of;
    log_mean[c] = static_cast<real>(log_of);
  }
  return record_fused("mean_code_entropy", "composite::mean_code_entropy", {logits},
                      scalar(static_cast<real>(entropy)), Keep::inputs, [log_mean](RawPull& r) {
                        r.to(0, entropy_gradient(r.tensor(0), log_mean, r.grad()()));
                      });
}

Tensor composite::mean_code_entropy(const Tensor& logits) {
  const std::size_t d = logits.size(-1);
  const Tensor a = reshape(logits, {-1, d});
  Tensor p = ones({a.size(0), 1});
  for (std::size_t j = 0; j < d; ++j) {
    const Tensor bit = slice(a, 1, static_cast<std::int64_t>(j), static_cast<std::int64_t>(j) + 1);
    p = concat({p * sigmoid(-bit), p * sigmoid(bit)}, 1);  // in the fused one's order of codes
  }
  p = mean(p, 0);
  const Tensor none = equal(p, real(0));
  return -sum(p * log(where(none, real(1), p)));
}

Lfq::Lfq(Module* owner, std::string name, LfqOptions o)
    : Quantizer(owner, std::move(name)), options(o) {
  require(o.dim >= 1 && o.dim <= 62, "Lfq: dim must be in [1, 62], got ", o.dim);
  require(o.scale > 0, "Lfq: scale must be positive, got ", o.scale);
  require(o.sharpness > 0, "Lfq: sharpness must be positive, got ", o.sharpness);
  require(o.entropy_weight >= 0 && o.diversity >= 0 && o.commitment_weight >= 0,
          "Lfq: weights must not be negative, got entropy_weight ", o.entropy_weight,
          ", diversity ", o.diversity, " and commitment_weight ", o.commitment_weight);
}

Indices Lfq::encode(const Tensor& z) const {
  const Scope here = enter();
  detail::check_vectors("Lfq", z, dim());
  detail::check_numbers("Lfq", z);
  Indices codes(detail::leading_shape(z), 0);
  const real* x = z.data();
  for (std::int64_t& code : codes)
    for (std::size_t j = 0; j < dim(); ++j) code = 2 * code + (*x++ > 0);
  return codes;
}

Tensor Lfq::decode(const Indices& codes) const {
  const Scope here = enter();
  detail::check_codes("Lfq", codes, this->codes());
  Shape shape(codes.shape().begin(), codes.shape().end());
  shape.push_back(dim());
  Tensor q = Tensor::empty(shape);
  real* value = q.mutable_data();
  const auto s = static_cast<real>(options.scale);
  for (const std::int64_t code : codes)
    for (std::size_t j = dim(); j-- > 0;) *value++ = code >> j & 1 ? s : -s;
  return q;
}

Quantized Lfq::operator()(const Tensor& z) {
  const Scope here = enter();
  const Indices codes = encode(z);
  const Tensor q = decode(codes);
  Quantized result{.quantized = q,
                   .codes = codes,
                   .loss = scalar(0),
                   .usage = measure_usage(stop_gradient(z), q, codes, this->codes())};
  if (!is_training()) return result;
  result.quantized = straight_through(q, z);
  const Tensor logits =
      reshape(z, {-1, dim()}) * static_cast<real>(4 * options.sharpness * options.scale);
  const auto over_bits = [](const Tensor& entropies) { return sum(entropies, -1); };
  result.parts.entropy_sample = mean(over_bits(binary_entropy(logits)));
  if (dim() <= exact_bits) {
    result.parts.entropy_batch = mean_code_entropy(logits);
  } else {
    const Tensor p = mean(sigmoid(logits), 0), rest = mean(sigmoid(-logits), 0);
    const auto term = [](const Tensor& x) {
      return x * log(clamp(x, std::numeric_limits<real>::min(), 1));
    };
    result.parts.entropy_batch = -sum(term(p) + term(rest));
  }
  result.parts.commitment = mean(square(z - q));
  result.loss = static_cast<real>(options.entropy_weight) *
                    (result.parts.entropy_sample -
                     static_cast<real>(options.diversity) * result.parts.entropy_batch) +
                static_cast<real>(options.commitment_weight) * result.parts.commitment;
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION
