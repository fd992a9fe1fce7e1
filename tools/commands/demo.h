#pragma once
// The two halves of `tiller demo`.
#include <string>

#include "tools/flags/flags.h"

namespace tiller::demo {

/// With the networks in the folder `models`: all classes of CIFAR-10 from the same noise.
int show_cifar(const Flags& flags, const std::string& models);

/// Makes the folder, and fails now, not after minutes of work, if nobody may write its grid.png.
void prepare_folder(const std::string& out);

/// Trains small networks on shapes that it draws, and shows these.
int show_shapes(const Flags& flags);

}  // namespace tiller::demo
