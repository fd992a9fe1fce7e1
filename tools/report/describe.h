#pragma once
#include <string>

#include "nn/infer.h"

namespace tiller {

/// A network's architecture in a few lines of words.
std::string architecture_in_words(const Inference& inference);

/// The same as the flags that guided-diffusion's scripts would need.
std::string flag_line(const Inference& inference);

}  // namespace tiller
