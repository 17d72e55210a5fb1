// Errors: whose fault, and one sentence that says what to change.
// The text is always "operation: what is wrong: the shapes, then the numbers that disagree".
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Shapes or axes that do not fit together; always the caller's to mend. Other wrong arguments throw
/// std::invalid_argument, misuse of a tape std::logic_error, the environment's failures std::runtime_error.
struct ShapeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

/// Everything that can be streamed, joined to one string.
template <class... Parts>
std::string concat_text(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

/// Throws `Error` with the joined parts as its text unless `condition` holds.
template <class Error = std::invalid_argument, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]] throw Error(concat_text(parts...));
}

}  // namespace xgrad::inline XGRAD_PRECISION
