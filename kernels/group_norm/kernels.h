#pragma once
// What the group norm kernels are launched with. Pixels are H*W (or T).
#include "kernels/view.h"

namespace tiller {
inline namespace TILLER_DEVICE {

/// What forward and backward share.
struct GroupNormInput {
  View x0, x1;       // [N*pixels,C0], [N*pixels,C1] or absent
  View gamma, beta;  // [C]
  View emb;          // [N,2C] scale then shift, or absent
  float* mean_rstd;  // [N,G,2]
  std::int64_t samples, pixels, width, c0, channels, groups;
  std::int64_t chunk_pixels;  ///< of the pieces that sums over the pixels are made of
  bool silu, pool;
};

/// The pieces of an image.
inline std::int64_t group_norm_chunks(const GroupNormInput& in) {
  return (in.pixels + in.chunk_pixels - 1) / in.chunk_pixels;
}

/// v2_vectors: blocks of up to 256 vectors that the channels of a pixel take.
inline unsigned group_norm_vector_blocks(std::int64_t channels, int vector) {
  return static_cast<unsigned>((channels / vector + 255) / 256);
}
/// v2_vectors: the most groups of a call.
inline constexpr int kMostGroups = 256;

/// v3_one_block: the most threads of a block, elements that each keeps, and pixels of a map.
inline constexpr int kOneBlockFwdThreads = 512, kOneBlockBwdThreads = 384, kOneBlockElements = 32,
                     kOneBlockPixels = 1024;

struct GroupNormFwdParams {
  GroupNormInput in;
  View stats0, stats1;  // [N*C0,2], [N*C1,2]: ready moments, or absent
  View y;               // [N*out_pixels,C]
  float eps;
  float* partial;  // v1_chunks: [N,chunks,C,2] mean and sum of squared deviations of each chunk;
                   // v2_vectors: [N,chunks,blocks,G,3] count, mean and m2 of a block's part of a
                   // group (teams.cuh)
  float* moments;  // v1_chunks: [N,C,2] of all pixels
  bool pieces;     ///< v2_vectors: not all moments are ready
  std::int64_t block_pixels;  ///< v2_vectors: of a block that applies
  unsigned threads, vector;   ///< v3_one_block: of a block; channels of a thread: 2, 4, 8
};
void group_norm_fwd_v1(const GroupNormFwdParams& params, Stream stream);
void group_norm_fwd_v2(const GroupNormFwdParams& params, Stream stream);
void group_norm_fwd_v3(const GroupNormFwdParams& params, Stream stream);

struct GroupNormBwdParams {
  GroupNormInput in;
  View dy;                // [N*out_pixels,C]
  View add0;              // like dx0: added to it, or absent
  View dx0, dx1;          // like x0, x1, or absent
  View demb;              // [N,2C] or absent
  float *dgamma, *dbeta;  // [C] or null
  float* partial;         // [N,chunks,C,2] sums of dz and dz xhat over each chunk, or null
  float* sums;            // [N,C,2] over all pixels
  float* means;           // [N,G,2] of k dz and k dz xhat over the group; null: nobody asks
  float* pieces;          // v2_vectors: [N,chunks,blocks,G,2] sums of rstd k dz and of that times
                          // x - mean (teams.cuh)
  std::int64_t block_pixels;  ///< v2_vectors: of a block that applies
  unsigned threads, vector;   ///< v3_one_block: of a block; channels of a thread: 2, 4, 8
};
void group_norm_bwd_v1(const GroupNormBwdParams& params, Stream stream);
void group_norm_bwd_v2(const GroupNormBwdParams& params, Stream stream);
void group_norm_bwd_v3(const GroupNormBwdParams& params, Stream stream);
/// The chunks' sums become the groups' means, demb, dgamma and dbeta.
void group_norm_bwd_join(const GroupNormBwdParams& params, Stream stream);

/// Pieces of v1_chunks, and of a convolution's own statistics.
std::int64_t group_norm_chunks(std::int64_t pixels);

/// Mean and sum of squared deviations of every sample and channel: what a convolution owes the
/// group norm behind it.
struct MomentsParams {
  View x;  // [N*pixels,C]
  std::int64_t samples, pixels;
  float* partial;  // [N,chunks,C,2]
  float* moments;  // [N,C,2] out
};
void channel_moments_v1(const MomentsParams& params, Stream stream);

}  // namespace TILLER_DEVICE
}  // namespace tiller
