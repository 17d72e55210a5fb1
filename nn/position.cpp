// Position schemes by name; see position.hpp.
#include <xgrad/nn/position.hpp>

namespace xgrad::inline XGRAD_PRECISION {
namespace {

using Made = std::shared_ptr<Position>;

constexpr struct {
  const char* name;
  Made (*make)(const PositionSizes&);
} schemes[]{
    {"rope", [](const PositionSizes&) -> Made { return std::make_shared<Rope>(); }},
    {"alibi", [](const PositionSizes&) -> Made { return std::make_shared<Alibi>(); }},
    {"relative",
     [](const PositionSizes& s) -> Made {
       return std::make_shared<RelativeBias>(RelativeBiasOptions{.heads = s.heads});
     }},
    {"learned",
     [](const PositionSizes& s) -> Made {
       return std::make_shared<LearnedPosition>(
           LearnedPositionOptions{.length = s.length, .dim = s.dim});
     }},
    {"sinusoidal",
     [](const PositionSizes&) -> Made { return std::make_shared<SinusoidalPosition>(); }},
    {"nope", [](const PositionSizes&) -> Made { return std::make_shared<NoPosition>(); }},
};

}  // namespace

std::shared_ptr<Position> make_position(std::string_view name, PositionSizes sizes) {
  std::string known;
  for (const auto& scheme : schemes) {
    if (scheme.name == name) return scheme.make(sizes);
    known += concat_text(known.empty() ? "" : ", ", scheme.name);
  }
  throw std::invalid_argument(
      concat_text("position \"", name, "\": unknown; choose one of ", known));
}

std::vector<std::string> position_names() {
  std::vector<std::string> result;
  for (const auto& scheme : schemes) result.emplace_back(scheme.name);
  return result;
}

}  // namespace xgrad::inline XGRAD_PRECISION
