#pragma once
// What a kernel for Hopper (sm_90a) may use beside kernels/simt/intrinsics.h: mbarrier, TMA, wgmma,
// setmaxnreg. kernels/cuda/hopper.cuh has the same list on the hardware.
#include "kernels/simt/intrinsics.h"
#include "kernels/simt/mbarrier.h"
#include "kernels/simt/tensor_map.h"
#include "kernels/simt/tma.h"
#include "kernels/simt/wgmma.h"

namespace tiller {
inline namespace TILLER_DEVICE {

// --- mbarrier: elements of an Array of 64-bit words

/// A barrier for `count` arrivals a phase. One thread; then fence_barrier_init() and a barrier.
template <int Size>
void mbarrier_init(Array<std::uint64_t, Size>& bars, At at, unsigned count) {
  executor::mbarrier_init(bars.check(at, 1), count, at.where);
}
inline void fence_barrier_init() { executor::fence_barrier_init(); }
template <int Size>
void mbarrier_arrive(Array<std::uint64_t, Size>& bars, At at) {
  executor::mbarrier_arrive(bars.check(at, 1), 0, at.where);
}
/// Arrives, and the phase also awaits `bytes` of copies.
template <int Size>
void mbarrier_arrive_expect(Array<std::uint64_t, Size>& bars, At at, unsigned bytes) {
  executor::mbarrier_arrive(bars.check(at, 1), bytes, at.where);
}
/// Waits until the phase of this parity is complete: 0 for the first. (Of a fresh barrier the phase
/// before, of parity 1, is.)
template <int Size>
void mbarrier_wait(Array<std::uint64_t, Size>& bars, At at, unsigned parity) {
  executor::mbarrier_wait(bars.check(at, 1), parity, at.where);
}

// --- TMA

using TensorMap = executor::TensorMap;
inline TensorMap tiled_map(const TensorMapSpec& spec) {
  return executor::check_tensor_map(spec, false);
}
inline TensorMap im2col_map(const TensorMapSpec& spec) {
  return executor::check_tensor_map(spec, true);
}

/// One thread: a box of the tensor at coordinates `at` (innermost first) to to[index ...]; its bytes
/// count for the barrier. Outside the tensor there are zeros.
template <int kRank, class T, int Size, int Bars>
void tma_load(Array<T, Size>& to, At index, const TensorMap& map, Array<std::uint64_t, Bars>& bars,
              int bar, const int (&at)[kRank]) {
  executor::tma_load(to.check(index, 1), Size - static_cast<int>(index.i), sizeof(T), map,
                     bars.check(At(bar, index.where), 1), kRank, at, nullptr, index.where);
}
/// One tap of `pixels` windows from the corner `at` = {c, w, h, n} on; `tap` = {along W, along H}.
template <class T, int Size, int Bars>
void tma_load_im2col(Array<T, Size>& to, At index, const TensorMap& map,
                     Array<std::uint64_t, Bars>& bars, int bar, const int (&at)[4],
                     const int (&tap)[2]) {
  executor::tma_load(to.check(index, 1), Size - static_cast<int>(index.i), sizeof(T), map,
                     bars.check(At(bar, index.where), 1), 4, at, tap, index.where);
}

// --- wgmma

/// A tile of rows of 128 bytes (64 halves along k), swizzled over 128 bytes, for wgmma.
struct TileDescriptor {
  std::uint64_t bits;
  /// The same rows, `terms` of k further: a multiple of 16 below 64.
  TileDescriptor terms(int count) const {
    return {bits + (static_cast<std::uint64_t>(count) * 2 >> 4)};
  }
};
template <class T, int Size>
TileDescriptor tile_descriptor(Array<T, Size>& array, At at) {
  const auto* start = reinterpret_cast<const std::byte*>(array.check(at, 1));
  return {executor::describe_tile(
      static_cast<std::size_t>(start - executor::Block::running()->shadow().memory()))};
}

/// What threads wrote to shared memory becomes visible to TMA and wgmma: before the barrier that
/// they wait for.
inline void fence_proxy_async() {
  executor::Block::running()->shadow().fence_proxy(executor::Block::thread().linear);
}
/// Before the first product, and whenever accumulators were the program's own.
inline void wgmma_fence(executor::Where w = executor::Where::here()) { executor::wgmma_fence(w); }
/// A warpgroup: d (+)= a b^T of 64 rows of a, kN rows of b, 16 terms. T is f16 or bf16.
template <int kN>
void wgmma(f16, float (&d)[kN / 2], TileDescriptor a, TileDescriptor b, bool accumulate,
           executor::Where w = executor::Where::here()) {
  executor::wgmma(executor::MatrixType::f16, kN, d, a.bits, b.bits, accumulate, w);
}
template <int kN>
void wgmma(bf16, float (&d)[kN / 2], TileDescriptor a, TileDescriptor b, bool accumulate,
           executor::Where w = executor::Where::here()) {
  executor::wgmma(executor::MatrixType::bf16, kN, d, a.bits, b.bits, accumulate, w);
}
inline void wgmma_commit(executor::Where w = executor::Where::here()) { executor::wgmma_commit(w); }
template <int kPending>
void wgmma_wait(executor::Where w = executor::Where::here()) {
  executor::wgmma_wait(kPending, w);
}

/// Registers of each thread of the calling warpgroup: 8 m, 24 to 256.
template <int kCount>
void take_registers(executor::Where w = executor::Where::here()) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
  executor::set_max_registers(kCount, true, w);
}
template <int kCount>
void give_registers(executor::Where w = executor::Where::here()) {
  static_assert(kCount % 8 == 0 && kCount >= 24 && kCount <= 256);
  executor::set_max_registers(kCount, false, w);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
