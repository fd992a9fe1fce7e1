#pragma once
// A convolution as cuDNN wants it: described, planned once for its shape, then executed.
#include <memory>

#include "kernels/conv2d/conv2d.h"
#include "kernels/cudnn/library.h"

namespace tiller::cudnn {

enum class ConvKind : std::uint8_t { forward, dgrad, wgrad };

/// What a plan depends on.
struct ConvProblem {
  ConvKind kind;
  Shape x, w, y;  ///< [N,H,W,C], [K,R,S,C], [N,P,Q,K]
  DType dtype;    ///< of x and y, and of w unless it is a gradient: that is f32
  int stride, pad;
  bool exact;  ///< f32 by f32 arithmetic, no TF32
};

class ConvPlan {
 public:
  std::size_t workspace() const { return workspace_; }
  /// All dense. Throws Error.
  void run(void* x, void* w, void* y, void* workspace, Stream stream) const;

 private:
  friend const ConvPlan* conv_plan(const ConvProblem& problem);
  ConvPlan(Descriptor plan, std::size_t workspace);
  Descriptor plan_;
  std::size_t workspace_;
};

/// The plan that cuDNN's heuristics put first, made on first use and kept; null where cuDNN is
/// missing, has no GPU, or has no engine for the problem.
const ConvPlan* conv_plan(const ConvProblem& problem);

}  // namespace tiller::cudnn
