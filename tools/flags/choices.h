#pragma once
// Flags that several commands read in the same way.
#include <string>
#include <vector>

#include "tools/data/dataset.h"
#include "tools/flags/flags.h"

namespace tiller {

/// --labels.
LabelSource label_source(const std::string& text);

/// --scales in ascending order, each once. Throws Error(usage) for none.
std::vector<double> sorted_scales(const Flags& flags);

}  // namespace tiller
