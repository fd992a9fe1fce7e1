#pragma once
// What a failed call of the CUDA runtime says. A kernel that fails does so long after its launch,
// and every later call reports it: so the kernels that were launched since the host last knew that
// all was well are remembered and named.
#include <cuda_runtime.h>

namespace tiller::cuda {

/// Throws Error unless the call succeeded; `what` names it.
void check(cudaError_t status, const char* what);

/// Remembers a launch. `kernel` must be a literal.
void note_launch(const char* kernel);
/// The host has waited, and everything before was well.
void note_all_well();

/// Whether TILLER_CUDA_SYNC asks to wait for each kernel, so that an error names the one that made
/// it.
bool waits_for_each_kernel();

}  // namespace tiller::cuda
