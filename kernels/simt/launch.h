#pragma once
#include "kernels/simt/block.h"

namespace tiller::executor {

/// The shared memory that a block has on every GPU we build for: 163 KiB on sm_80, 227 on sm_90,
/// but 99 on sm_89 and sm_120.
inline constexpr std::size_t kMaxSharedBytes = 99 << 10;

/// Throws Error for a launch that some GPU would refuse, and reports it to the trace.
void check_launch(const LaunchSpec& spec);

}  // namespace tiller::executor
