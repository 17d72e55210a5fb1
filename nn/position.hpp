// All position schemes, and the name by which a flag or a file calls each.
// Their common interface, which is all that attention and models know, is position/position.hpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <xgrad/nn/position/alibi.hpp>
#include <xgrad/nn/position/learned.hpp>
#include <xgrad/nn/position/position.hpp>
#include <xgrad/nn/position/relative_bias.hpp>
#include <xgrad/nn/position/rope.hpp>
#include <xgrad/nn/position/sinusoidal.hpp>

namespace xgrad::inline XGRAD_PRECISION {

/// What a scheme may have to know of the model.
struct PositionSizes {
  std::size_t length = 0, dim = 0;  ///< of the learned table
  std::size_t heads = 0;            ///< of the relative bias
};

/// The scheme of this name with its standard settings. Throws std::invalid_argument for another
/// name, or for a size that the scheme needs and that is 0.
std::shared_ptr<Position> make_position(std::string_view name, PositionSizes sizes);

/// rope, alibi, relative, learned, sinusoidal, nope.
std::vector<std::string> position_names();

}  // namespace xgrad::inline XGRAD_PRECISION
