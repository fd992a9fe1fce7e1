#pragma once
// Work that repeats: captured once, then replayed with one launch; and work that may overlap.
#include <cstdint>
#include <functional>
#include <memory>

#include "runtime/backend.h"

namespace tiller {

/// Runs `first` on the current stream and `second` on another one; whatever comes after waits for
/// both. On a GPU, and in a captured graph, they overlap; elsewhere they run one after the other.
/// Neither may read what the other writes, and what they read must outlive the call.
void run_side_by_side(Device device, const std::function<void()>& first,
                      const std::function<void()>& second);

/// A step of a loop, given as a function that does the same device work each time, between tensors
/// that stay where they are. The first call of run() runs it as it is (this warms up: forms of
/// weights are made, the allocator gets its memory), the second captures it, and from then on the
/// function is not called any more: its work is replayed. What changes from step to step must live
/// on the device and be advanced there.
///
/// On a device that captures nothing, when `enabled` is false, and while a trace listens (it wants
/// to see every operation), each call runs the function.
class StepGraph {
 public:
  StepGraph(Device device, bool enabled);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  /// Throws what the step throws, and Error for a step that cannot be captured (one that waits for
  /// the device, or copies from or to the host).
  void run(const std::function<void()>& step);
  /// Whether steps are replayed by now.
  bool captured() const { return graph_ != nullptr; }
  /// Nodes of the captured step; 0 before.
  std::size_t nodes() const { return graph_ ? graph_->nodes() : 0; }

 private:
  void capture(const std::function<void()>& step, Stream stream);
  Device device_;
  bool enabled_;
  bool warm_ = false;
  std::unique_ptr<Graph> graph_;
};

}  // namespace tiller
