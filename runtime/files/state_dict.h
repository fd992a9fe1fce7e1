#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/files/torch_file.h"

namespace tiller {

/// The weights that were found in the object of a torch file.
struct StateDict {
  FileContent content = FileContent::weights;
  std::vector<std::pair<std::string, PickleValue>> tensors;  ///< in the file's order, unique names
  std::map<std::string, std::string> extras;                 ///< scalars beside them
  std::string stripped;
};

/// Finds the state dict: the object itself, or inside {"model": ...}, {"state_dict": ...} and the
/// like; strips "module." prefixes. Throws Error(checkpoint) saying what the object is instead.
StateDict find_state_dict(const Pickle& pickle, const std::string& path);

}  // namespace tiller
