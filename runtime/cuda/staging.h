#pragma once
// Copies between the GPU and ordinary memory, through page-locked memory: only from there does the
// GPU copy by itself, at the full speed of the bus.
#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <mutex>

namespace tiller::cuda {

/// Two page-locked pieces that take turns: while the GPU copies one, the host fills or empties the
/// other. Calls may come from any thread.
class Staging {
 public:
  Staging() = default;
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Copies in stream order; `from` may be overwritten when it returns.
  void to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream);
  /// Copies in stream order, and waits until the bytes are there.
  void to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream);

 private:
  struct Piece {
    void* data = nullptr;
    cudaEvent_t free = nullptr;  ///< behind the copy that last used it
  };
  Piece& next();

  std::mutex mutex_;
  std::array<Piece, 2> pieces_;
  std::size_t turn_ = 0;
};

}  // namespace tiller::cuda
