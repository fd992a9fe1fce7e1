#pragma once
// Graphs of simt. Its kernels run on the host as they are launched; while a capture is on, the
// launch is put on a list instead, with its parameters, as CUDA does. So a step that would read
// stale host state in a replay does so here, too, and a test sees it.
#include <functional>

namespace tiller {

/// Whether the calling thread captures work of simt.
bool simt_capturing();
/// Puts work on the list of the capture.
void simt_record(std::function<void()> work);

}  // namespace tiller
