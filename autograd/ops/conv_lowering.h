#pragma once
// What a convolution's fast row cannot fuse is done by plain calls around it. Which parts those are
// is decided from the rows' supports() alone, before anything is computed.
#include <functional>

#include "kernels/conv2d/conv2d.h"

namespace tiller {

/// The parts of a fused call that are taken out of it.
struct ConvLowering {
  bool stats = false;        ///< left out: the group norm that follows computes its own
  bool residual_up = false;  ///< the residual is up-sampled to a copy first
  bool residual = false;     ///< added afterwards
  bool skip = false;         ///< a 1x1 convolution of its own, whose output becomes the residual
  bool concat = false;  ///< the sources are joined (a channel slice: made dense) in a copy first
  bool up = false;      ///< the input is up-sampled to a copy first
  friend bool operator==(const ConvLowering&, const ConvLowering&) = default;
};

/// The smallest lowering that leaves a call which `fast` accepts; none when the fused call is
/// accepted, or when not even the plain call is (then nothing would be won).
ConvLowering choose_lowering(const Conv2dFwdArgs& args,
                             const std::function<bool(const Conv2dFwdArgs&)>& fast);
/// For dgrad and wgrad, only `concat` (one gradient or source, split or joined by copies) and `up`
/// apply; `residual` stands for dbias taken out of wgrad.
ConvLowering choose_lowering(const Conv2dDgradArgs& args,
                             const std::function<bool(const Conv2dDgradArgs&)>& fast);
ConvLowering choose_lowering(const Conv2dWgradArgs& args,
                             const std::function<bool(const Conv2dWgradArgs&)>& fast);

/// Runs the call with those parts taken out. args.stats is not written when lowering.stats says so.
void run_lowered(const Conv2dFwdArgs& args, const ConvLowering& lowering);
void run_lowered(const Conv2dDgradArgs& args, const ConvLowering& lowering);
void run_lowered(const Conv2dWgradArgs& args, const ConvLowering& lowering);

}  // namespace tiller
