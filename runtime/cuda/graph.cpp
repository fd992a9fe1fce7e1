#include "runtime/cuda/graph.h"

#include "runtime/cuda/errors.h"

namespace tiller::cuda {

CapturedGraph::CapturedGraph(cudaGraph_t graph, StreamCache& cache, StreamCache::Pool pool)
    : cache_(cache), pool_(pool) {
  const cudaError_t counted = cudaGraphGetNodes(graph, nullptr, &nodes_);
  const cudaError_t made = cudaGraphInstantiate(&executable_, graph, 0);
  cudaGraphDestroy(graph);
  check(counted, "cudaGraphGetNodes");
  check(made, "cudaGraphInstantiate");
  for (cudaEvent_t& event : behind_)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate");
}

CapturedGraph::~CapturedGraph() {
  for (cudaEvent_t event : behind_) {
    cudaEventSynchronize(event);
    cudaEventDestroy(event);
  }
  cudaGraphExecDestroy(executable_);
  cache_.drop_pool(pool_);
}

// The host stays at most two replays ahead: the GPU never waits for it, progress is told as it is,
// and an interrupt is heard soon.
void CapturedGraph::replay(Stream stream) {
  cudaEvent_t behind = behind_[turn_++ % behind_.size()];
  check(cudaEventSynchronize(behind), "a replayed step");
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  note_launch("a captured step");
  check(cudaGraphLaunch(executable_, handle), "cudaGraphLaunch");
  check(cudaEventRecord(behind, handle), "cudaEventRecord");
}

}  // namespace tiller::cuda
