#pragma once
// How many multiply-adds a GPU can do per second: what the rows of products are held against. Not
// an operation of any network, so it has no rows; bench runs it, and a test holds its sums against
// what they must be.
#include "kernels/peak/kind.h"
#include "runtime/tensor.h"

namespace tiller {

const char* name(PeakKind kind);

/// Flops (two per multiply-add) of one launch.
double peak_flops(PeakKind kind, std::int64_t blocks, std::int64_t rounds);

/// Each of kPeakChains sums of every thread is raised `rounds` times, by 1 (fma_f32) or by the
/// product of two matrices of ones (mma: by 16, tf32: by 8); the thread's sums are added into
/// sink[block * kPeakThreads + thread], f32. On cuda and simt. Throws Error elsewhere.
void run_peak(PeakKind kind, std::int64_t rounds, const Tensor& sink, Stream stream);

/// As run_peak(), on one device; defined where that device is built.
template <DeviceType kDevice>
void run_peak_on(PeakKind kind, std::int64_t rounds, const Tensor& sink, Stream stream);

}  // namespace tiller
