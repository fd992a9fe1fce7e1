#pragma once
// Eight lanes are a team, a group is a team's: 32 groups at a time, all of whose loads are in flight
// at once. A team's sums are made in one order, so two kernels that join the same statistics have
// the same bits.
#include "kernels/view.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

inline constexpr int kTeam = 8, kTeams = kThreads / kTeam;

__device__ __forceinline__ int own_team() { return static_cast<int>(threadIdx.x) / kTeam; }
__device__ __forceinline__ int team_lane() { return static_cast<int>(threadIdx.x) % kTeam; }

/// The sum over a team, in all of its lanes. All lanes of the warp take part.
__device__ __forceinline__ float team_sum(float value) {
  for (int step = kTeam / 2; step > 0; step /= 2) value += __shfl_xor_sync(kFullMask, value, step);
  return value;
}

/// Mean and sum of squared deviations of a group.
struct GroupMoments {
  float mean, m2;
};

/// The moments of the group of channels [first, first + size), of `pixels` pixels each, in all lanes
/// of its team; of none where it is not `wanted`. at(c) points to mean and squared deviations of
/// channel c. The second time they come from the L1 cache.
template <class At>
__device__ __forceinline__ GroupMoments join_channels(int first, int size, bool wanted,
                                                      float pixels, const At& at) {
  const int begin = first + team_lane(), end = wanted ? first + size : 0;
  float sum = 0.0f, m2 = 0.0f;
  for (int c = begin; c < end; c += kTeam) sum += at(c)[0];
  const float mean = team_sum(sum) / static_cast<float>(size);
  for (int c = begin; c < end; c += kTeam) {
    const float* moments = at(c);
    const float d = moments[0] - mean;
    m2 += moments[1] + pixels * (d * d);
  }
  return {mean, team_sum(m2)};
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
