// Errors: whose fault, and one sentence that says what to change.
// The text is always "operation: what is wrong: the shapes, then the numbers that disagree".
#pragma once

#include <concepts>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <xgrad/core/config.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// Shapes or axes that do not fit together; always the caller's to mend. Other wrong arguments
/// throw std::invalid_argument, misuse of a tape std::logic_error, the environment's failures
/// std::runtime_error.
struct ShapeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

namespace detail {

/// Streams one part of an error text; a list of integers, such as a shape, in NumPy's spelling: (2,
/// 3), (4,), ().
template <class Part>
void put(std::ostringstream& text, const Part& part) {
  if constexpr (requires {
                  { part.begin()[0] + part.size() } -> std::integral;
                } &&
                !std::is_convertible_v<Part, std::string_view>) {
    text << '(';
    for (std::size_t i = 0; i < part.size(); ++i) text << (i ? ", " : "") << part.begin()[i];
    text << (part.size() == 1 ? ",)" : ")");
  } else {
    text << part;
  }
}

}  // namespace detail

/// Everything that can be streamed, and lists of integers, joined to one string.
template <class... Parts>
std::string concat_text(const Parts&... parts) {
  std::ostringstream text;
  (detail::put(text, parts), ...);
  return text.str();
}

/// Throws `Error` with the joined parts as its text unless `condition` holds. Checks stand on hot
/// paths: hand over shapes and numbers as they are, so that no text is made unless it is needed.
template <class Error = std::invalid_argument, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) [[unlikely]]
    throw Error(concat_text(parts...));
}

}  // namespace xgrad::inline XGRAD_PRECISION
