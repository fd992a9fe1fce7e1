#pragma once
#include "bench/case.h"
#include "bench/options.h"

namespace tiller::bench {

/// Runs each call by its own row and by options.versus alternately, and prints their times' ratio
/// call by call and over all. Exit code.
int run_versus(const std::vector<Case*>& cases, const Options& options);

}  // namespace tiller::bench
