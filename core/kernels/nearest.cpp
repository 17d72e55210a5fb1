// Nearest rows; see nearest.hpp.
#include <xgrad/core/kernels/nearest.hpp>

#include <xgrad/core/kernels/reduce_row.hpp>
#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

void nearest(const real* z, const real* c, const real* origin, std::size_t rows, std::size_t codes,
             std::size_t d, std::int64_t* ids) {
  parallel_for(rows, 16, [=](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      real best = 0;
      for (std::size_t k = 0; k < codes; ++k) {
        real score = 0;
        for (std::size_t j = 0; j < d; ++j) {
          const real at = origin ? origin[j] : 0, code = c[k * d + j] - at;
          score += code * (code / 2 - (z[i * d + j] - at));
        }
        if (k == 0 || score < best) {
          best = score;
          ids[i] = static_cast<std::int64_t>(k);
        }
      }
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
