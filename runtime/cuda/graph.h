#pragma once
#include <cuda_runtime.h>

#include <array>
#include <memory>

#include "runtime/stream_cache.h"

namespace tiller::cuda {

/// A captured CUDA graph, with the pool that it works in.
class CapturedGraph final : public Graph {
 public:
  /// Takes `graph`. Throws Error when the driver cannot make it executable.
  CapturedGraph(cudaGraph_t graph, StreamCache& cache, StreamCache::Pool pool);
  ~CapturedGraph() override;
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  void replay(Stream stream) override;
  std::size_t nodes() const override { return nodes_; }

 private:
  cudaGraphExec_t executable_ = nullptr;
  std::size_t nodes_ = 0;
  StreamCache& cache_;
  StreamCache::Pool pool_;
  std::array<cudaEvent_t, 2> behind_{};  // the last two replays
  std::size_t turn_ = 0;
};

}  // namespace tiller::cuda
