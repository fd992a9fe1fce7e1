#pragma once
// What the vectorised group norm kernels share: a thread owns one 16-byte vector of channels, keeps
// what those channels need in registers, and walks over pixels. A block is as many vectors of a
// pixel as there are (at most 256), times the pixels that its other threads see at the same time.
#include "kernels/group_norm/v1_chunks.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// Elements of a vector.
template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

/// Vectors of x that a thread has in flight.
inline constexpr int kBatch = 4;

/// Which vector a thread owns and which pixels of a chunk it sees: row, row + rows, ...
struct VectorPlace {
  int column, columns, row, rows;  ///< within the block
  std::int64_t channel;            ///< the vector's first
  bool mine;                       ///< some threads of a block may own nothing
};

template <class T>
__device__ __forceinline__ VectorPlace vector_place(std::int64_t channels) {
  const int vectors = static_cast<int>(channels) / kVector<T>;
  const int blocks = static_cast<int>(gridDim.x), thread = static_cast<int>(threadIdx.x);
  VectorPlace at;
  at.columns = (vectors + blocks - 1) / blocks;
  at.row = thread / at.columns;
  at.column = thread - at.row * at.columns;
  at.rows = kThreads / at.columns;
  const int vector = static_cast<int>(blockIdx.x) * at.columns + at.column;
  at.channel = std::int64_t{vector} * kVector<T>;
  at.mine = at.row < at.rows && vector < vectors;
  return at;
}

/// Blocks that the vectors of a pixel take.
inline unsigned vector_blocks(std::int64_t channels, int vector) {
  return static_cast<unsigned>((channels / vector + kThreads - 1) / kThreads);
}

/// Pixels that a block sees at a time.
inline std::int64_t vector_rows(std::int64_t channels, int vector) {
  const std::int64_t vectors = channels / vector, blocks = vector_blocks(channels, vector);
  return kThreads / ((vectors + blocks - 1) / blocks);
}

/// Pixels of a block that only has to start: up to 16 for a thread, fewer where an image or a batch
/// is so small that the machine would stand idle.
inline std::int64_t apply_pixels(std::int64_t channels, int vector, std::int64_t pixels,
                                 std::int64_t samples) {
  constexpr std::int64_t kEnough = 528;  // four blocks for each SM of an H200
  const std::int64_t rows = vector_rows(channels, vector);
  const std::int64_t across = vector_blocks(channels, vector) * samples;
  std::int64_t each = 16;
  while (each > 1 && across * ((pixels + rows * each - 1) / (rows * each)) < kEnough) each /= 2;
  return rows * each;
}
inline unsigned apply_blocks(std::int64_t pixels, std::int64_t each) {
  return static_cast<unsigned>((pixels + each - 1) / each);
}

/// A column of vectors in memory: vector i is at data + i * stride.
template <class T>
struct Column {
  T* data;
  std::int64_t stride;
};
/// The thread's column in the concatenation of two tensors; null data where the tensor is absent.
template <class T>
__device__ __forceinline__ Column<T> column_of(const View& v0, const View& v1, std::int64_t c0,
                                               std::int64_t channel) {
  const View& v = channel < c0 ? v0 : v1;
  if (!v.data) return {nullptr, 0};
  return {static_cast<T*>(v.data) + (channel < c0 ? channel : channel - c0), v.row_stride};
}
template <class T>
__device__ __forceinline__ Vec<T, kVector<T>> vector_at(const Column<T>& column, std::int64_t row) {
  return load_vec<kVector<T>>(static_cast<const T*>(column.data) + row * column.stride);
}

/// z = (x - mean) a + b for each channel of a vector. The difference comes first: a x + b' would
/// cancel where the mean is large against the deviation.
template <int kCount>
struct Coefficients {
  float mean[kCount], a[kCount], b[kCount];
};
template <int kCount>
__device__ __forceinline__ void fill(Coefficients<kCount>& k, const GroupNormInput& in,
                                     std::int64_t n, std::int64_t channel) {
#pragma unroll
  for (int e = 0; e < kCount; ++e) {
    const Affine one = affine_of(in, n, channel + e);
    k.mean[e] = one.mean;
    k.a[e] = one.rstd * one.gamma * one.scale1;
    k.b[e] = fmaf(one.beta, one.scale1, one.shift);
  }
}

/// Two sums of each thread's channels.
template <class T>
struct VectorSums {
  Array<float, kThreads * kVector<T>> first, second;
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
