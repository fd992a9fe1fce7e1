#pragma once
// What a kernel for Hopper (sm_90a) may use beside kernels/cuda/intrinsics.cuh; the executor's twin
// is kernels/simt/hopper.h, which says what each does. Compiled for another architecture, the
// functions trap.
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/intrinsics.cuh"
#include "kernels/cuda/tensor_map.h"

namespace tiller {
inline namespace TILLER_DEVICE {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define TILLER_SM90A(...) __VA_ARGS__
#else
#define TILLER_SM90A(...) __trap()
#endif

// --- mbarrier

template <int Size>
__device__ __forceinline__ void mbarrier_init(Array<std::uint64_t, Size>& bars, int i,
                                              unsigned count) {
  TILLER_SM90A(asm volatile(
      "mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bars.data + i)), "r"(count)
      : "memory"));
}
__device__ __forceinline__ void fence_barrier_init() {
  TILLER_SM90A(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"));
  TILLER_SM90A(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"));
}
template <int Size>
__device__ __forceinline__ void mbarrier_arrive(Array<std::uint64_t, Size>& bars, int i) {
  TILLER_SM90A(
      asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bars.data + i))
                   : "memory"));
}
template <int Size>
__device__ __forceinline__ void mbarrier_arrive_expect(Array<std::uint64_t, Size>& bars, int i,
                                                       unsigned bytes) {
  TILLER_SM90A(asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bars.data + i)),
      "r"(bytes)
      : "memory"));
}
template <int Size>
__device__ __forceinline__ void mbarrier_wait(Array<std::uint64_t, Size>& bars, int i,
                                              unsigned parity) {
  TILLER_SM90A(
      asm volatile("{\n"
                   ".reg .pred done;\n"
                   "again: mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                   "@done bra finished;\n"
                   "bra again;\n"
                   "finished:\n"
                   "}" ::"r"(shared_address(bars.data + i)),
                   "r"(parity)
                   : "memory"));
}

// --- TMA

/// cuda.h's CUtensorMap. A kernel's __grid_constant__ parameters hold it.
struct alignas(64) TensorMap {
  std::uint64_t opaque[16];
};
inline TensorMap tiled_map(const TensorMapSpec& spec) {
  TensorMap map;
  cuda_launch::encode_tiled(spec, &map);
  return map;
}
inline TensorMap im2col_map(const TensorMapSpec& spec) {
  TensorMap map;
  cuda_launch::encode_im2col(spec, &map);
  return map;
}

template <int kRank, class T, int Size, int Bars>
__device__ __forceinline__ void tma_load(Array<T, Size>& to, int i, const TensorMap& map,
                                         Array<std::uint64_t, Bars>& bars, int bar,
                                         const int (&at)[kRank]) {
  static_assert(kRank >= 2 && kRank <= 4);
  [[maybe_unused]] const std::uint32_t target = shared_address(to.data + i),
                                       barrier = shared_address(bars.data + bar);
  if constexpr (kRank == 2)
    TILLER_SM90A(
        asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1, {%3, "
                     "%4}], [%2];" ::"r"(target),
                     "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1])
                     : "memory"));
  else if constexpr (kRank == 3)
    TILLER_SM90A(
        asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1, {%3, "
                     "%4, %5}], [%2];" ::"r"(target),
                     "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2])
                     : "memory"));
  else
    TILLER_SM90A(
        asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
                     "[%0], [%1, {%3, "
                     "%4, %5, %6}], [%2];" ::"r"(target),
                     "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
                     : "memory"));
}
template <class T, int Size, int Bars>
__device__ __forceinline__ void tma_load_im2col(Array<T, Size>& to, int i, const TensorMap& map,
                                                Array<std::uint64_t, Bars>& bars, int bar,
                                                const int (&at)[4], const int (&tap)[2]) {
  TILLER_SM90A(asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, "
      "{%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(to.data + i)),
      "l"(&map), "r"(shared_address(bars.data + bar)), "r"(at[0]), "r"(at[1]), "r"(at[2]),
      "r"(at[3]), "h"(static_cast<std::uint16_t>(tap[0])), "h"(static_cast<std::uint16_t>(tap[1]))
      : "memory"));
}

// --- wgmma

struct TileDescriptor {
  std::uint64_t bits;
  __device__ __forceinline__ TileDescriptor terms(int count) const {
    return {bits + (static_cast<std::uint64_t>(count) * 2 >> 4)};
  }
};
template <class T, int Size>
__device__ __forceinline__ TileDescriptor tile_descriptor(Array<T, Size>& array, int i) {
  const std::uint64_t address = shared_address(array.data + i) & 0x3FFFFu;
  return {address >> 4 | std::uint64_t{1} << 16 | std::uint64_t{64} << 32 | std::uint64_t{1} << 62};
}
__device__ __forceinline__ void fence_proxy_async() {
  TILLER_SM90A(asm volatile("fence.proxy.async.shared::cta;" ::: "memory"));
}
__device__ __forceinline__ void wgmma_fence() {
  TILLER_SM90A(asm volatile("wgmma.fence.sync.aligned;" ::: "memory"));
}
__device__ __forceinline__ void wgmma_commit() {
  TILLER_SM90A(asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"));
}
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  TILLER_SM90A(asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory"));
}

// Operands of an accumulator by eights: their numbers in the instruction, and their constraints.
#define TILLER_N0 "%0, %1, %2, %3, %4, %5, %6, %7, "
#define TILLER_N1 "%8, %9, %10, %11, %12, %13, %14, %15, "
#define TILLER_N2 "%16, %17, %18, %19, %20, %21, %22, %23, "
#define TILLER_N3 "%24, %25, %26, %27, %28, %29, %30, %31"
#define TILLER_N4 ", %32, %33, %34, %35, %36, %37, %38, %39, "
#define TILLER_N5 "%40, %41, %42, %43, %44, %45, %46, %47"
#define TILLER_N6 ", %48, %49, %50, %51, %52, %53, %54, %55, "
#define TILLER_N7 "%56, %57, %58, %59, %60, %61, %62, %63"
#define TILLER_N8 ", %64, %65, %66, %67, %68, %69, %70, %71, "
#define TILLER_N9 "%72, %73, %74, %75, %76, %77, %78, %79, "
#define TILLER_N10 "%80, %81, %82, %83, %84, %85, %86, %87, "
#define TILLER_N11 "%88, %89, %90, %91, %92, %93, %94, %95"
#define TILLER_N12 ", %96, %97, %98, %99, %100, %101, %102, %103, "
#define TILLER_N13 "%104, %105, %106, %107, %108, %109, %110, %111, "
#define TILLER_N14 "%112, %113, %114, %115, %116, %117, %118, %119, "
#define TILLER_N15 "%120, %121, %122, %123, %124, %125, %126, %127"
#define TILLER_NUMBERS_64 TILLER_N0 TILLER_N1 TILLER_N2 TILLER_N3
#define TILLER_NUMBERS_96 TILLER_NUMBERS_64 TILLER_N4 TILLER_N5
#define TILLER_NUMBERS_128 TILLER_NUMBERS_96 TILLER_N6 TILLER_N7
#define TILLER_NUMBERS_192 TILLER_NUMBERS_128 TILLER_N8 TILLER_N9 TILLER_N10 TILLER_N11
#define TILLER_NUMBERS_256 TILLER_NUMBERS_192 TILLER_N12 TILLER_N13 TILLER_N14 TILLER_N15
#define TILLER_D8(i)                                                                          \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define TILLER_D32(i) TILLER_D8(i), TILLER_D8(i + 8), TILLER_D8(i + 16), TILLER_D8(i + 24)
#define TILLER_REGISTERS_64 TILLER_D32(0)
#define TILLER_REGISTERS_96 TILLER_D32(0), TILLER_D8(32), TILLER_D8(40)
#define TILLER_REGISTERS_128 TILLER_D32(0), TILLER_D32(32)
#define TILLER_REGISTERS_192 TILLER_REGISTERS_128, TILLER_D32(64)
#define TILLER_REGISTERS_256 TILLER_REGISTERS_192, TILLER_D32(96)
// The operands behind the accumulators: %a, %b are descriptors, %p whether to accumulate.
#define TILLER_WGMMA(n, type, a_number, b_number, p_number)                                 \
  asm volatile("{\n.reg .pred sum;\nsetp.ne.b32 sum, " p_number                             \
               ", 0;\n"                                                                     \
               "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type              \
               " {" TILLER_NUMBERS_##n "}, " a_number ", " b_number ", sum, 1, 1, 0, 0;\n}" \
               : TILLER_REGISTERS_##n                                                       \
               : "l"(a.bits), "l"(b.bits), "r"(static_cast<int>(accumulate)))

#define TILLER_WGMMA_OF(T, type)                                                                  \
  template <int kN>                                                                               \
  __device__ __forceinline__ void wgmma(T, float(&d)[kN / 2], TileDescriptor a, TileDescriptor b, \
                                        bool accumulate) {                                        \
    static_assert(kN == 64 || kN == 96 || kN == 128 || kN == 192 || kN == 256);                   \
    if constexpr (kN == 64) TILLER_SM90A(TILLER_WGMMA(64, type, "%32", "%33", "%34"));            \
    if constexpr (kN == 96) TILLER_SM90A(TILLER_WGMMA(96, type, "%48", "%49", "%50"));            \
    if constexpr (kN == 128) TILLER_SM90A(TILLER_WGMMA(128, type, "%64", "%65", "%66"));          \
    if constexpr (kN == 192) TILLER_SM90A(TILLER_WGMMA(192, type, "%96", "%97", "%98"));          \
    if constexpr (kN == 256) TILLER_SM90A(TILLER_WGMMA(256, type, "%128", "%129", "%130"));       \
  }
TILLER_WGMMA_OF(f16, "f16")
TILLER_WGMMA_OF(bf16, "bf16")

template <int kCount>
__device__ __forceinline__ void take_registers() {
  TILLER_SM90A(asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount)));
}
template <int kCount>
__device__ __forceinline__ void give_registers() {
  TILLER_SM90A(asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount)));
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
