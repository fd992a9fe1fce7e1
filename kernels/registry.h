#pragma once
#include <span>

#include "runtime/op.h"

namespace tiller {

/// Every operation there is, for tests, benchmarks, the profiler and the documents, which all walk
/// the rows. Add a new operation here.
std::span<const OpBase* const> all_ops();

}  // namespace tiller
