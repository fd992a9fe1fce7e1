#pragma once
#include <string_view>
#include <vector>

namespace tiller {

/// The candidate with the fewest edits (insertions, deletions, replacements) from `text`, for "did
/// you mean"; "" when even the best differs in more than half of its characters.
std::string_view nearest(std::string_view text, const std::vector<std::string_view>& candidates);

}  // namespace tiller
