#pragma once
// What to say when a checkpoint does not fit the network that was asked for.
#include <string>
#include <vector>

#include "nn/infer.h"

namespace tiller {

/// The difference between the parameters that a network has and the tensors that a file has, in
/// words: missing, unexpected and mis-shaped names with the nearest match of each, long lists
/// shortened, and the flags that would explain it. Empty when there is none.
std::string explain_mismatch(const std::vector<NamedShape>& network,
                             const std::vector<NamedShape>& file);

/// Of `names`, the one that differs least from `name` by edits, or "" if none is near.
std::string nearest_name(const std::string& name, const std::vector<std::string>& names);

}  // namespace tiller
