// k-means: a first codebook, out of the data itself. Training does not go on with it: see
// codebook.hpp.
#pragma once

#include <xgrad/nn/vq/assignment.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// K means of width d, and how many vectors each is the mean of.
struct Clusters {
  Tensor means;   ///< (K, d)
  Tensor counts;  ///< (K,)
};

/// Lloyd's iterations on z (..., d) from the given means (K, d): each vector joins the nearest
/// mean, the first of equals; each mean moves to its vectors' average, mapped by the assignment. A
/// mean that no vector joined stays. O(N K d) each, in bounded memory; nothing is recorded. Lloyd
/// 1982, Least squares quantization in PCM. At least 1 iteration; z without NaN.
Clusters lloyd(const Tensor& z, Tensor means, std::size_t iterations = 1,
               const Assignment& assignment = Assignment::euclidean);

struct KMeansOptions {
  std::size_t clusters;                           ///< K, at least 1
  std::size_t iterations = 10;                    ///< at least 1
  Assignment assignment = Assignment::euclidean;  ///< z is mapped already
};
/// lloyd() from K different rows of z (..., d), drawn by `rng`; with fewer rows than K, from all of
/// them and, as the rest, rows drawn again whose numbers are off by 1e-3 of themselves. The same
/// rng gives the same bits for any number of threads. Fewer than 8 K rows fit noise.
Clusters kmeans(const Tensor& z, const KMeansOptions& options, Rng rng);

namespace detail {
/// How many of the codes (...) are k, for each of K. (K,).
Tensor count_codes(const Indices& codes, std::size_t K);
/// The sum of the rows of z (..., d) that have code k, for each of K: (K, d), in O(N d).
Tensor sum_by_code(const Tensor& z, const Indices& codes, std::size_t K);
}  // namespace detail

}  // namespace xgrad::inline XGRAD_PRECISION
