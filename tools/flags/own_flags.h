#pragma once
#include <span>

#include "tools/flags/spec.h"

namespace tiller {

/// The flags that guided-diffusion does not know: one half of flag_table().
std::span<const FlagSpec> own_flags();

}  // namespace tiller
