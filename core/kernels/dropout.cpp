// The dropout kernel; see dropout.hpp.
#include <xgrad/core/kernels/dropout.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include <xgrad/core/parallel.hpp>

namespace xgrad::inline XGRAD_PRECISION::kernels {

void dropout(std::size_t count, const real* x, real p, const Rng& stream, real* out) {
  if (p == 1) {  // the scale would be infinite
    std::fill_n(out, count, real(0));
    return;
  }
  const real scale = 1 / (1 - p);
  // In whole words, so that the two precisions drop the same elements. At most 2^32 - 1, for p
  // below 1.
  const auto threshold = static_cast<std::uint32_t>(
      std::min(std::nearbyint(static_cast<double>(p) * 0x1p32), 0x1p32 - 1));
  constexpr std::size_t piece = 1024,
                        grain = 16 * piece;  // multiples of 4: a piece begins with a block
  parallel_for(count, grain, [&](std::size_t begin, std::size_t end) {
    std::array<std::uint32_t, piece> words;
    for (std::size_t start = begin; start < end; start += piece) {
      const std::size_t size = std::min(piece, end - start);
      stream.read_words(stream.position() + start / 4, std::span(words).first(size));
      for (std::size_t i = 0; i < size; ++i) {
        const real scaled =
            x[start + i] * scale;  // read in any case: a branch per element would cost more
        out[start + i] = words[i] < threshold ? 0 : scaled;
      }
    }
  });
}

}  // namespace xgrad::inline XGRAD_PRECISION::kernels
