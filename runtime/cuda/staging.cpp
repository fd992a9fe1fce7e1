#include "runtime/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "runtime/cuda/errors.h"

namespace tiller::cuda {

namespace {
constexpr std::size_t kPiece = std::size_t{4} << 20;
}

Staging::~Staging() {
  for (const Piece& piece : pieces_) {
    if (piece.free) cudaEventDestroy(piece.free);
    if (piece.data) cudaFreeHost(piece.data);
  }
}

// The next piece in turn, when the GPU is done with it.
Staging::Piece& Staging::next() {
  Piece& piece = pieces_[turn_++ % pieces_.size()];
  if (!piece.data) {
    check(cudaHostAlloc(&piece.data, kPiece, cudaHostAllocDefault), "cudaHostAlloc");
    check(cudaEventCreateWithFlags(&piece.free, cudaEventDisableTiming), "cudaEventCreate");
  }
  check(cudaEventSynchronize(piece.free), "cudaEventSynchronize");
  return piece;
}

void Staging::to_device(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t part = std::min(kPiece, bytes - at);
    const Piece& piece = next();
    std::memcpy(piece.data, static_cast<const std::byte*>(from) + at, part);
    check(cudaMemcpyAsync(static_cast<std::byte*>(to) + at, piece.data, part,
                          cudaMemcpyHostToDevice, stream),
          "cudaMemcpyAsync");
    check(cudaEventRecord(piece.free, stream), "cudaEventRecord");
  }
}

void Staging::to_host(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  struct Part {
    const Piece* piece = nullptr;
    std::size_t at = 0, bytes = 0;
  } before;  // on its way while the next is started
  const auto finish = [&] {
    if (!before.piece) return;
    check(cudaEventSynchronize(before.piece->free), "cudaEventSynchronize");
    std::memcpy(static_cast<std::byte*>(to) + before.at, before.piece->data, before.bytes);
  };
  for (std::size_t at = 0; at < bytes; at += kPiece) {
    const std::size_t part = std::min(kPiece, bytes - at);
    const Piece& piece = next();
    check(cudaMemcpyAsync(piece.data, static_cast<const std::byte*>(from) + at, part,
                          cudaMemcpyDeviceToHost, stream),
          "cudaMemcpyAsync");
    check(cudaEventRecord(piece.free, stream), "cudaEventRecord");
    finish();
    before = {&piece, at, part};
  }
  finish();
}

}  // namespace tiller::cuda
