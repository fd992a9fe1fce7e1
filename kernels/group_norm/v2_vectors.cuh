#pragma once
// What the vectorised group norm kernels share: a thread owns one vector of channels (16 bytes in
// v2_vectors), keeps what those channels need in registers, and walks over pixels. A block of
// v2_vectors is as many vectors of a pixel as there are (at most 256), times the pixels that its
// other threads see at the same time.
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

/// Pixels that a block sees at a time.
inline std::int64_t vector_rows(std::int64_t channels, int vector) {
  const std::int64_t vectors = channels / vector,
                     blocks = group_norm_vector_blocks(channels, vector);
  return kThreads / ((vectors + blocks - 1) / blocks);
}

/// Pixels of a block that only has to start: up to 16 for a thread, fewer where an image or a batch
/// is so small that the machine would stand idle.
inline std::int64_t apply_pixels(std::int64_t channels, int vector, std::int64_t pixels,
                                 std::int64_t samples) {
  constexpr std::int64_t kEnough = 528;  // four blocks for each SM of an H200
  const std::int64_t rows = vector_rows(channels, vector);
  const std::int64_t across = group_norm_vector_blocks(channels, vector) * samples;
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
/// Likewise of what is added to dx.
template <class T>
__device__ __forceinline__ Column<T> addend_of(const GroupNormBwdParams& p, std::int64_t channel) {
  if (!p.add0.data || channel >= p.in.c0) return {nullptr, 0};
  return {static_cast<T*>(p.add0.data) + channel, p.add0.row_stride};
}
template <int kCount, class T>
__device__ __forceinline__ Vec<T, kCount> vector_at(const Column<T>& column, std::int64_t row) {
  return load_vec<kCount>(static_cast<const T*>(column.data) + row * column.stride);
}

/// Input pixel b of the four that output pixel i of a pooled image is the mean of.
__device__ __forceinline__ std::int64_t pooled_pixel(const GroupNormInput& in, std::int64_t i,
                                                     int b) {
  const int width = static_cast<int>(in.width), half = width / 2, out = static_cast<int>(i);
  const int line = out / half, column = out - line * half;
  return std::int64_t{line * 2 + b / 2} * width + column * 2 + b % 2;
}

__device__ __forceinline__ const float* mean_rstd_of(const GroupNormInput& in, std::int64_t n,
                                                     std::int64_t c) {
  return in.mean_rstd + 2 * (n * in.groups + c / (in.channels / in.groups));
}

/// z = xhat a + b for each channel of a vector.
template <int kCount>
struct Slopes {
  float a[kCount], b[kCount];
  __device__ __forceinline__ void load_from(const GroupNormInput& in, std::int64_t n,
                                            std::int64_t channel) {
#pragma unroll
    for (int e = 0; e < kCount; ++e) {
      const std::int64_t c = channel + e;
      const float scale1 = in.emb.data ? 1.0f + load(in.emb, n, c) : 1.0f;
      const float shift = in.emb.data ? load(in.emb, n, in.channels + c) : 0.0f;
      a[e] = load(in.gamma, 0, c) * scale1;
      b[e] = fmaf(load(in.beta, 0, c), scale1, shift);
    }
  }
};

__device__ __forceinline__ float activated(bool silu, float z) {
  return silu ? z * rcp_approx(1.0f + exp_approx(-z)) : z;
}

/// dL/dz of one element from its dy, through the pool and SiLU.
template <bool kPool>
__device__ __forceinline__ float through(bool silu, float z, float dy) {
  if (kPool) dy *= 0.25f;
  if (!silu) return dy;
  const float sigmoid = rcp_approx(1.0f + exp_approx(-z));
  return dy * (sigmoid * fmaf(z, 1.0f - sigmoid, 1.0f));
}

/// Two sums of each thread's channels.
template <class T>
struct VectorSums {
  Array<float, kThreads * kVector<T>> first, second;
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
