#pragma once
#include <string>

#include "runtime/files/pickle_writer.h"

namespace tiller {

/// Writes PyTorch's zip format around a pickle: <prefix>/data.pkl, data/0..n and version. Atomic.
/// The header of torch.save() to a stream says "archive", so that is the prefix by default.
void write_torch_zip(const std::string& path, PickleWriter pickle,
                     const std::string& prefix = "archive");

}  // namespace tiller
