#pragma once
// How the teams of a block of v2_vectors (team.cuh) put groups together.
#include "kernels/group_norm/moments.cuh"
#include "kernels/group_norm/team.cuh"
#include "kernels/group_norm/v2_vectors.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

/// What a team's lanes have, merged in the first.
__device__ __forceinline__ Moments team_merge(Moments m) {
  for (int step = kTeam / 2; step > 0; step /= 2)
    m = merge(m, {__shfl_down_sync(kFullMask, m.count, step, kTeam),
                  __shfl_down_sync(kFullMask, m.mean, step, kTeam),
                  __shfl_down_sync(kFullMask, m.m2, step, kTeam)});
  return m;
}

/// The channels of a block of vectors, and the groups that they belong to.
struct BlockChannels {
  int width, begin, end;  ///< width: of every block but the last
  int size;               ///< of a group
  int first_group, groups;
};
__device__ __forceinline__ BlockChannels block_channels(const GroupNormInput& in, int width) {
  BlockChannels own;
  own.width = width;
  own.begin = static_cast<int>(blockIdx.x) * width;
  own.end = own.begin + width;
  if (own.end > in.channels) own.end = static_cast<int>(in.channels);
  own.size = static_cast<int>(in.channels / in.groups);
  own.first_group = own.begin / own.size;
  own.groups = own.end > own.begin ? (own.end - 1) / own.size + 1 - own.first_group : 0;
  return own;
}

/// What a team has to do with a group: the part [begin, end) of the block's channels, which is empty
/// for a team without a group.
struct TeamGroup {
  int index, g, begin, end;  ///< index: among the block's groups
  bool there;
};
__device__ __forceinline__ TeamGroup team_group(const BlockChannels& own, int round) {
  TeamGroup t;
  t.index = round * kTeams + own_team();
  t.there = t.index < own.groups;
  t.g = own.first_group + (t.there ? t.index : 0);
  t.begin = t.g * own.size > own.begin ? t.g * own.size : own.begin;
  t.end = (t.g + 1) * own.size < own.end ? (t.g + 1) * own.size : own.end;
  if (!t.there) t.end = t.begin;
  return t;
}
__device__ __forceinline__ int team_rounds(const BlockChannels& own) {
  return (own.groups + kTeams - 1) / kTeams;
}

/// What a kernel leaves of a group for the next one is a piece for each chunk of pixels and, where
/// the channels of a pixel take several blocks, for each of these that has some of the group's.
/// Pieces are [N,chunks,blocks,G]; this is the block's own.
__device__ __forceinline__ std::int64_t own_piece(const GroupNormInput& in, std::int64_t n,
                                                  std::int64_t g) {
  return ((n * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x) * in.groups + g;
}
/// Calls f(piece) for a lane's share of a group's pieces if it is `wanted`. The launch has the same
/// blocks for the channels of a pixel as that which wrote them.
template <class F>
__device__ __forceinline__ void for_each_piece(const GroupNormInput& in, const BlockChannels& own,
                                               const TeamGroup& t, std::int64_t n, bool wanted,
                                               const F& f) {
  const int chunks = static_cast<int>((in.pixels + in.chunk_pixels - 1) / in.chunk_pixels);
  const int first = t.g * own.size / own.width, last = ((t.g + 1) * own.size - 1) / own.width;
  for (int chunk = wanted ? team_lane() : chunks; chunk < chunks; chunk += kTeam)
    for (int block = first; block <= last; ++block)
      f(((n * chunks + chunk) * gridDim.x + block) * in.groups + t.g);
}

/// Two numbers of each of a block's groups.
struct GroupPairs {
  Array<float, kMostGroups> first, second;
};

}  // namespace TILLER_DEVICE
}  // namespace tiller
