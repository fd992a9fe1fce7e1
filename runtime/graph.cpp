#include "runtime/graph.h"

#include "runtime/trace.h"

namespace tiller {

namespace {
// CUDA captures no default stream, so steps have one of their own.
constexpr int kStepStream = 0, kBranchStream = 1;
}  // namespace

void run_side_by_side(Device device, const std::function<void()>& first,
                      const std::function<void()>& second) {
  Backend& device_backend = backend(device);
  const Stream here = current_stream(device);
  const Stream there{device, device_backend.side_stream(kBranchStream)};
  device_backend.order(here, there);  // fork
  first();
  {
    const StreamGuard guard(there);
    second();
  }
  device_backend.order(there, here);  // join
}

StepGraph::StepGraph(Device device, bool enabled)
    : device_(device), enabled_(enabled && backend(device).captures()) {}

StepGraph::~StepGraph() = default;

void StepGraph::run(const std::function<void()>& step) {
  if (!enabled_ || trace_level() != TraceLevel::off) return step();
  Backend& device_backend = backend(device_);
  const Stream outer = current_stream(device_);
  const Stream stream{device_, device_backend.side_stream(kStepStream)};
  device_backend.order(outer, stream);
  if (!warm_) {
    const StreamGuard guard(stream);
    step();
    warm_ = true;
  } else {
    if (!graph_) capture(step, stream);
    graph_->replay(stream);
  }
  device_backend.order(stream, outer);
}

void StepGraph::capture(const std::function<void()>& step, Stream stream) {
  Backend& device_backend = backend(device_);
  // The graph brings memory of its own: what the warm-up left in the cache would lie idle.
  device_backend.release_cached();
  device_backend.begin_capture(stream);
  try {
    const StreamGuard guard(stream);
    step();
  } catch (...) {
    device_backend.abandon_capture(stream);
    throw;
  }
  graph_ = device_backend.end_capture(stream);
}

}  // namespace tiller
