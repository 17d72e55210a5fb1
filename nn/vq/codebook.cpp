// What codebooks with a table of their own share, and the plain one; see codebook.hpp.
#include <xgrad/nn/vq/codebook.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <xgrad/core/recompute.hpp>
#include <xgrad/nn/init.hpp>
#include <xgrad/nn/vq/kmeans.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

CodebookOptions checked(const char* name, CodebookOptions o) {
  require(o.codes >= 2, name, ": needs at least 2 codes, got ", o.codes);
  require(o.dim >= 1, name, ": needs dim of at least 1, got ", o.dim);
  require(o.decay >= 0 && o.decay < 1, name, ": decay must be in [0, 1), got ", o.decay);
  require(o.restart_below >= 0, name, ": restart_below must not be negative, got ",
          o.restart_below);
  return o;
}

}  // namespace

TableCodebook::TableCodebook(const char* name, CodebookOptions o)
    : CodebookBase(o.seed),
      options(checked(name, o)),
      counts(this, "counts", ones({o.codes})),
      initialised(this, "initialised", scalar(0)),
      rng_(init_rng("restart")) {}

Tensor TableCodebook::initial_table() const {
  Tensor table = zeros({codes(), dim()});
  const Rng rng = init_rng("weight");
  if (options.init == CodebookInit::uniform) {
    const auto bound = static_cast<real>(1 / static_cast<double>(codes()));
    return init::uniform(table, -bound, bound, rng);
  }
  return init::normal(table, 0, static_cast<real>(1 / std::sqrt(static_cast<double>(dim()))), rng);
}

void TableCodebook::initialise(const Tensor& z, const Assignment& assignment) {
  if (initialised.item() != 0) return;
  Tensor rows = table();
  if (options.init == CodebookInit::kmeans) {
    const Clusters clusters =
        kmeans(z, {.clusters = codes(), .assignment = assignment}, init_rng("kmeans"));
    std::copy_n(clusters.means.data(), rows.size(), rows.mutable_data());
    // A mean that nothing joined counts as one that one vector did: 0 would leave no sum of it.
    std::ranges::transform(std::span(clusters.counts.data(), codes()), counts.mutable_data(),
                           [](real count) { return std::max(count, real(1)); });
  }
  on_replaced(all_rows());
  init::constant(initialised, 1);
}

// The counts of k-means are those of as many vectors as it had, and ones are of none: before the
// first step moves them they become what as many vectors as it has would have given.
void TableCodebook::scale_counts(std::size_t vectors) {
  if (initialised.item() != 1) return;
  init::constant(initialised, 2);
  if (options.init != CodebookInit::kmeans && options.restart_below == 0) return;
  real* count = counts.mutable_data();
  const auto scale = static_cast<real>(static_cast<double>(vectors) /
                                       std::accumulate(count, count + codes(), 0.0));
  for (std::size_t k = 0; k < codes(); ++k) count[k] *= scale;
  on_replaced(all_rows());
}

std::vector<std::int64_t> TableCodebook::all_rows() const {
  std::vector<std::int64_t> rows(codes());
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

void TableCodebook::update(const Tensor& z, const Indices& codes) {
  if (is_recomputing()) {
    require<std::logic_error>(!moves_itself(),
                              "checkpoint: a codebook that moves by averages or restarts has moved "
                              "since the step that is computed again; quantize outside of it");
    return;
  }
  scale_counts(codes.size());
  move(z, codes);
  restart(z);
}

void TableCodebook::move(const Tensor& /*z*/, const Indices& hits) {
  const Tensor fresh = detail::count_codes(hits, codes());
  const auto decay = static_cast<real>(options.decay);
  for (std::size_t k = 0; k < codes(); ++k)
    counts.mutable_data()[k] = decay * counts.data()[k] + (1 - decay) * fresh.data()[k];
}

void TableCodebook::restart(const Tensor& z) {
  restarted_.clear();
  if (options.restart_below == 0) return;
  const std::size_t d = dim(), n = z.size() / d;
  const auto threshold = static_cast<real>(options.restart_below * static_cast<double>(n) /
                                           static_cast<double>(codes()));
  real* count = counts.mutable_data();
  for (std::size_t k = 0; k < codes(); ++k)
    if (count[k] < threshold) restarted_.push_back(static_cast<std::int64_t>(k));
  if (restarted_.empty()) return;
  const std::vector<std::int64_t> order = rng_.permutation(static_cast<std::int64_t>(n));
  Tensor rows = table();
  for (std::size_t i = 0; i < restarted_.size(); ++i) {
    const auto k = static_cast<std::size_t>(restarted_[i]);
    const auto row = static_cast<std::size_t>(order[i % n]);
    std::copy_n(z.data() + row * d, d, rows.mutable_data() + k * d);
    count[k] = threshold;
  }
  on_replaced(restarted_);
}

Codebook::Codebook(CodebookOptions o)
    : TableCodebook("Codebook", o), weight(this, "weight", initial_table()) {}

}  // namespace xgrad::inline XGRAD_PRECISION
