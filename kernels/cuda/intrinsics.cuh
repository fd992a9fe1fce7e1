#pragma once
// The closed list of what a kernel may use, on the hardware: kernels/simt/intrinsics.h has the same
// list for the executor. All inline assembly of the project is here.
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/launch.h"
#include "runtime/half.h"

namespace tiller {
inline namespace TILLER_DEVICE {

// --- shared memory

template <class T, int N>
struct Array {
  static constexpr int kSize = N;
  __device__ T& operator[](int i) { return data[i]; }
  T data[N];
};

template <class Storage>
__device__ __forceinline__ Storage& shared() {
  extern __shared__ __align__(1024) unsigned char tiller_shared_memory[];
  return *reinterpret_cast<Storage*>(tiller_shared_memory);
}

template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};

template <int N, class T, int Size>
__device__ __forceinline__ Vec<T, N> load_vec(Array<T, Size>& array, int i) {
  return *reinterpret_cast<Vec<T, N>*>(array.data + i);
}
template <class T, int N, int Size>
__device__ __forceinline__ void store_vec(Array<T, Size>& array, int i, const Vec<T, N>& value) {
  *reinterpret_cast<Vec<T, N>*>(array.data + i) = value;
}

template <int N, class T>
__device__ __forceinline__ Vec<T, N> load_vec(const T* from) {
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
template <class T, int N>
__device__ __forceinline__ void store_vec(T* to, const Vec<T, N>& value) {
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

template <class T, int Size>
__device__ __forceinline__ T atomic_add(Array<T, Size>& array, int i, T value) {
  return atomicAdd(array.data + i, value);
}

/// A pointer into shared memory as the 32-bit address that PTX takes.
__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// Ends the program's use of the GPU unless `ok`; the executor prints the message.
template <class... Values>
__device__ __forceinline__ void device_check(bool ok, const char*, Values...) {
  if (!ok) __trap();
}

// --- barriers (shuffles and votes are CUDA's own)

inline constexpr unsigned kFullMask = 0xFFFFFFFFu;

__device__ __forceinline__ void named_barrier(int id, unsigned threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// --- tensor cores

template <class T, int Size>
__device__ __forceinline__ void ldmatrix_x4(std::uint32_t (&r)[4], Array<T, Size>& array, int row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(array.data + row))
               : "memory");
}
template <class T, int Size>
__device__ __forceinline__ void ldmatrix_x4_trans(std::uint32_t (&r)[4], Array<T, Size>& array,
                                                  int row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(array.data + row))
               : "memory");
}

__device__ __forceinline__ void mma(f16, float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma(bf16, float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma(float, float (&d)[4], const std::uint32_t (&a)[4],
                                    const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ std::uint32_t pack2(f16, float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ std::uint32_t pack2(bf16, float low, float high) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ __forceinline__ std::uint32_t to_tf32(std::uint32_t bits) {
  std::uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
  return rounded;
}

// --- asynchronous copies

template <int kBytes, class T, int Size>
__device__ __forceinline__ void cp_async(Array<T, Size>& array, int i, const void* from,
                                         int valid = kBytes) {
  const std::uint32_t to = shared_address(array.data + i);
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(from), "n"(kBytes),
                 "r"(valid)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- arithmetic

__device__ __forceinline__ float exp_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}
__device__ __forceinline__ float rcp_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// --- launching

inline constexpr std::size_t kMaxSharedBytes = 99 << 10;

template <class Storage>
constexpr std::size_t shared_bytes() {
  static_assert(sizeof(Storage) <= kMaxSharedBytes);
  return sizeof(Storage);
}

using LaunchConfig = cuda_launch::Config;

template <class Parameters>
void launch(const LaunchConfig& config, Stream stream, void (*kernel)(const Parameters),
            const Parameters& parameters) {
  if (std::uint64_t{config.grid.x} * config.grid.y * config.grid.z == 0) return;
  cuda_launch::before(config, stream);
  if (config.shared > (48u << 10))
    cuda_launch::allow_shared(config, reinterpret_cast<const void*>(kernel));
  kernel<<<config.grid, config.block, config.shared, static_cast<cudaStream_t>(stream.handle)>>>(
      parameters);
  cuda_launch::after(config, stream);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
