#pragma once
// The closed list of what a kernel may use, in its simt form: kernels/cuda/intrinsics.cuh has the
// same list on the hardware.
#include <cmath>
#include <concepts>
#include <cstdint>
#include <utility>

#include "kernels/simt/async_copy.h"
#include "kernels/simt/block.h"
#include "kernels/simt/launch.h"
#include "kernels/simt/matrix.h"
#include "kernels/simt/warp.h"
#include "runtime/half.h"
#include "runtime/simt_graph.h"
#include "runtime/simt_launches.h"
#include "runtime/trace.h"

// NOLINTBEGIN(bugprone-reserved-identifier): CUDA's own names.
namespace tiller {
inline namespace TILLER_DEVICE {

using dim3 = executor::Dim3;
using executor::blockDim;
using executor::blockIdx;
using executor::gridDim;
using executor::threadIdx;

// --- shared memory

/// An index, and the line that used it.
struct At {
  std::int64_t i;
  executor::Where where;
  template <std::integral I>
  At(I index, executor::Where w = executor::Where::here())  // NOLINT: implicit by design
      : i(static_cast<std::int64_t>(index)), where(w) {}
};

/// One element of shared memory: reading and writing go through the shadow. Never `auto`.
template <class T>
class SharedRef {
 public:
  SharedRef(T* at, executor::Where where) : at_(at), where_(where) {}
  SharedRef(const SharedRef&) = default;
  operator T() const {  // NOLINT: implicit by design
    executor::Block::running()->shadow().read(at_, sizeof(T), executor::Block::thread().linear,
                                              where_);
    return *at_;
  }
  const SharedRef& operator=(T value) const {
    executor::Block::running()->shadow().write(at_, sizeof(T), executor::Block::thread().linear,
                                               where_);
    *at_ = value;
    return *this;
  }
  const SharedRef& operator=(const SharedRef& other) const {  // NOLINT: assigns the element
    return *this = static_cast<T>(other);
  }
  const SharedRef& operator+=(T value) const { return *this = static_cast<T>(*this) + value; }

 private:
  T* at_;
  executor::Where where_;
};

/// A member of a kernel's Storage.
template <class T, int N>
struct Array {
  static constexpr int kSize = N;
  SharedRef<T> operator[](At at) { return {check(at, 1), at.where}; }
  /// Elements [at, at + count), which must lie within the array.
  T* check(At at, int count) {
    if (at.i < 0 || at.i + count > N)
      executor::fault(at.where,
                      "shared index %lld (of %d elements from there) is outside an array of %d",
                      static_cast<long long>(at.i), count, N);
    return data + at.i;
  }
  T data[N];
};

/// The block's shared memory as the kernel's Storage, a struct of Arrays. launch() was given its
/// size by shared_bytes<Storage>().
template <class Storage>
Storage& shared(executor::Where where = executor::Where::here()) {
  executor::Shadow& shadow = executor::Block::running()->shadow();
  if (shadow.bytes() < sizeof(Storage))
    executor::fault(where, "shared<Storage>() of %zu bytes, but launch() gave %zu", sizeof(Storage),
                    shadow.bytes());
  return *reinterpret_cast<Storage*>(shadow.memory());
}

/// N elements loaded and stored as one access of N * sizeof(T) bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};

template <int N, class T, int Size>
Vec<T, N> load_vec(Array<T, Size>& array, At at) {
  T* from = array.check(at, N);
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof(Vec<T, N>) != 0)
    executor::fault(at.where, "load_vec: index %lld is not a multiple of %d",
                    static_cast<long long>(at.i), N);
  executor::Block::running()->shadow().read(from, sizeof(Vec<T, N>),
                                            executor::Block::thread().linear, at.where);
  return *reinterpret_cast<Vec<T, N>*>(from);
}
template <class T, int N, int Size>
void store_vec(Array<T, Size>& array, At at, const Vec<T, N>& value) {
  T* to = array.check(at, N);
  if (reinterpret_cast<std::uintptr_t>(to) % sizeof(Vec<T, N>) != 0)
    executor::fault(at.where, "store_vec: index %lld is not a multiple of %d",
                    static_cast<long long>(at.i), N);
  executor::Block::running()->shadow().write(to, sizeof(Vec<T, N>),
                                             executor::Block::thread().linear, at.where);
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

/// N neighbouring elements of global memory as one access. A right kernel has looked at the address
/// in its row's supports().
template <int N, class T>
Vec<T, N> load_vec(const T* from, executor::Where w = executor::Where::here()) {
  if (reinterpret_cast<std::uintptr_t>(from) % sizeof(Vec<T, N>) != 0)
    executor::fault(w, "load_vec: %p is not a multiple of %zu bytes",
                    static_cast<const void*>(from), sizeof(Vec<T, N>));
  return *reinterpret_cast<const Vec<T, N>*>(from);
}
template <class T, int N>
void store_vec(T* to, const Vec<T, N>& value, executor::Where w = executor::Where::here()) {
  if (reinterpret_cast<std::uintptr_t>(to) % sizeof(Vec<T, N>) != 0)
    executor::fault(w, "store_vec: %p is not a multiple of %zu bytes", static_cast<void*>(to),
                    sizeof(Vec<T, N>));
  *reinterpret_cast<Vec<T, N>*>(to) = value;
}

/// atomicAdd on shared memory; gives the old value.
template <class T, int Size>
T atomic_add(Array<T, Size>& array, At at, T value) {
  T* to = array.check(at, 1);
  executor::Block::running()->shadow().atomic(to, sizeof(T), executor::Block::thread().linear,
                                              at.where);
  return std::exchange(*to, *to + value);
}

/// A printf format, and the line that used it.
struct Complaint {
  const char* format;
  executor::Where where;
  Complaint(const char* text, executor::Where w = executor::Where::here())  // NOLINT: implicit
      : format(text), where(w) {}
};

/// Ends the launch with an error unless `ok`: for what a kernel can see and its caller cannot.
template <class... Values>
void device_check(bool ok, const Complaint& complaint, Values... values) {
  if (!ok) executor::fault(complaint.where, complaint.format, values...);
}

// --- barriers, shuffles, votes

inline constexpr unsigned kFullMask = executor::kFullMask;

inline void __syncthreads(executor::Where w = executor::Where::here()) {
  executor::Block::running()->meet_block(0, 0, "__syncthreads", w);
}
/// bar.sync: barrier 1 to 15 for `threads` threads, whole warps.
inline void named_barrier(int id, unsigned threads, executor::Where w = executor::Where::here()) {
  if (id < 1 || id >= executor::Block::kBarriers || threads == 0 || threads % executor::kWarp != 0)
    executor::fault(w, "named_barrier: no barrier %d for %u threads", id, threads);
  executor::Block::running()->meet_block(id, threads, "named_barrier", w);
}
inline void __syncwarp(unsigned mask = kFullMask, executor::Where w = executor::Where::here()) {
  executor::sync_warp(mask, w);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              executor::Where w = executor::Where::here()) {
  return executor::shuffle(mask, "__shfl_sync", w, executor::Shuffle::index, value,
                           static_cast<unsigned>(lane), static_cast<unsigned>(width));
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 executor::Where w = executor::Where::here()) {
  return executor::shuffle(mask, "__shfl_up_sync", w, executor::Shuffle::up, value, delta,
                           static_cast<unsigned>(width));
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   executor::Where w = executor::Where::here()) {
  return executor::shuffle(mask, "__shfl_down_sync", w, executor::Shuffle::down, value, delta,
                           static_cast<unsigned>(width));
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  executor::Where w = executor::Where::here()) {
  return executor::shuffle(mask, "__shfl_xor_sync", w, executor::Shuffle::exclusive_or, value,
                           static_cast<unsigned>(lanes), static_cast<unsigned>(width));
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              executor::Where w = executor::Where::here()) {
  return executor::ballot(mask, "__ballot_sync", w, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate, executor::Where w = executor::Where::here()) {
  return executor::ballot(mask, "__any_sync", w, predicate != 0) != 0;
}
inline int __all_sync(unsigned mask, int predicate, executor::Where w = executor::Where::here()) {
  return executor::ballot(mask, "__all_sync", w, predicate == 0) == 0;
}

/// atomicAdd on global memory; gives the old value.
template <class T>
T atomicAdd(T* to, T value) {
  return std::exchange(*to, *to + value);
}

/// One more in global memory, but zero behind `last`; gives the old value.
inline unsigned atomicInc(unsigned* to, unsigned last) {
  return std::exchange(*to, *to >= last ? 0 : *to + 1);
}
/// What the thread stored before is seen by others before what it stores after; and so for loads.
/// Blocks run one after the other here, so nobody could see it otherwise.
inline void __threadfence() {}

// --- tensor cores

template <class T, int Size>
void ldmatrix_x4(std::uint32_t (&registers)[4], Array<T, Size>& array, At row) {
  executor::ldmatrix_x4(registers, array.check(row, 16 / sizeof(T)), false, row.where);
}
template <class T, int Size>
void ldmatrix_x4_trans(std::uint32_t (&registers)[4], Array<T, Size>& array, At row) {
  executor::ldmatrix_x4(registers, array.check(row, 16 / sizeof(T)), true, row.where);
}
inline void mma(f16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                executor::Where w = executor::Where::here()) {
  executor::mma(executor::MatrixType::f16, d, a, b, w);
}
inline void mma(bf16, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                executor::Where w = executor::Where::here()) {
  executor::mma(executor::MatrixType::bf16, d, a, b, w);
}
/// float stands for tf32.
inline void mma(float, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                executor::Where w = executor::Where::here()) {
  executor::mma(executor::MatrixType::tf32, d, a, b, w);
}
/// Two f32 rounded to T side by side, `low` in the lower half: a register of a fragment.
template <class T>
std::uint32_t pack2(T, float low, float high) {
  return T(low).bits | static_cast<std::uint32_t>(T(high).bits) << 16;
}
/// cvt.rna.tf32.f32: to the nearest tf32, halves away from zero.
inline std::uint32_t to_tf32(std::uint32_t bits) {
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;
  return (bits + 0x1000u) & 0xFFFFE000u;
}

// --- asynchronous copies

/// cp.async of kBytes from global memory to array[at ...]; only `valid` bytes are read, the rest
/// becomes zero.
template <int kBytes, class T, int Size>
void cp_async(Array<T, Size>& array, At at, const void* from, int valid = kBytes) {
  executor::issue_copy(array.check(at, kBytes / static_cast<int>(sizeof(T))), from, kBytes,
                       static_cast<unsigned>(valid), at.where);
}
inline void cp_async_commit() { executor::commit_copies(); }
template <int kPending>
void cp_async_wait() {
  executor::wait_copies(kPending);
}

// --- arithmetic

/// e^x and 1 / x within a few ulp, an instruction or two on the hardware (ex2.approx, rcp.approx).
inline float exp_approx(float x) { return std::exp(x); }
inline float rcp_approx(float x) { return 1.0f / x; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

// --- launching

inline constexpr std::size_t kMaxSharedBytes = executor::kMaxSharedBytes;

template <class Storage>
constexpr std::size_t shared_bytes() {
  static_assert(sizeof(Storage) <= kMaxSharedBytes);
  return sizeof(Storage);
}

struct LaunchConfig {
  const char* kernel;
  dim3 grid, block;
  std::size_t shared = 0;
};

/// Runs kernel(parameters) over the grid and waits. Throws what a thread threw, and Error for every
/// mistake that the executor sees.
template <class Parameters>
void launch(const LaunchConfig& config, Stream, void (*kernel)(const Parameters&),
            const Parameters& parameters) {
  if (config.grid.count() == 0) return;
  if (simt_capturing())  // then it runs when its graph does
    return simt_record([=] { launch(config, Stream{}, kernel, parameters); });
  const executor::LaunchSpec spec{config.kernel, config.grid, config.block, config.shared};
  executor::check_launch(spec);
  if (executor::launches_only()) return;
  struct Call {
    void (*kernel)(const Parameters&);
    const Parameters& parameters;
  } const call{kernel, parameters};
  executor::Block::run_grid(
      spec,
      [](const void* p) {
        const auto& c = *static_cast<const Call*>(p);
        c.kernel(c.parameters);
      },
      &call);
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
// NOLINTEND(bugprone-reserved-identifier)
