// What the parts of this study share; see study.hpp.
#include "study.hpp"

namespace study {

const std::vector<std::string>& schemes() {
  static const std::vector<std::string> names{"nope", "learned",  "sinusoidal",
                                              "rope", "relative", "alibi"};
  return names;
}

std::shared_ptr<Position> make_scheme(const std::string& name, const Sizes& sizes) {
  if (name == "learned")
    return std::make_shared<LearnedPosition>(
        LearnedPositionOptions{.length = sizes.length, .dim = sizes.dim, .wrap = true});
  return make_position(name, {.heads = sizes.heads});
}

}  // namespace study
