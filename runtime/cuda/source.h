#pragma once
#include "runtime/stream_cache.h"

namespace tiller::cuda {

/// Segments by cudaMalloc, marks by events, of the current GPU.
class Source final : public SegmentSource {
 public:
  void* reserve(std::size_t bytes) override;
  void release(void* segment, std::size_t bytes) noexcept override;
  void* mark(void* stream) override;
  bool reached(void* mark) override;
  void await(void* mark) override;
  void forget(void* mark) noexcept override;
};

}  // namespace tiller::cuda
