#pragma once
#include "runtime/backend.h"

namespace tiller {

/// Host memory. Blocks are cached by size class, since the system would return large freed blocks
/// to the kernel and charge a page fault for every page of the next activation.
Backend& cpu_backend(int index);

}  // namespace tiller
