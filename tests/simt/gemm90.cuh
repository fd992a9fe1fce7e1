#pragma once
// A matrix product (or a 3x3 convolution as one) the Hopper way, to prove mbarrier, TMA and wgmma:
// a producer warpgroup whose first thread keeps three stages of TMA copies in flight, and two
// consumer warpgroups of 64 rows each. With kTest, `mistake` leaves out or spoils one thing; without,
// the compiler sees no branch.
#include "kernels/hopper.cuh"

namespace tiller {
inline namespace TILLER_DEVICE {

enum class Mistake : int {
  none,
  no_wait,            // consumers read without waiting for the copies
  wrong_parity,       // they wait for the other phase
  early_release,      // a stage is given back before its products are done
  no_wait_for_room,   // the producer overwrites a stage without asking
  no_wgmma_wait,      // results are stored while products are in flight
  no_wgmma_fence,     // registers go to wgmma without a fence
  write_in_flight,    // an accumulator is written while a product is in flight
  wrong_bytes,        // the barrier expects other bytes than come
  no_barrier_fence,   // the engine was not told of the barriers
  no_barrier,         // no barrier after their initialisation
  not_initialised,    // no barriers at all
  too_many_arrivals,  // every lane gives the stage back, not each warp
  odd_target,         // a copy to an address that swizzles otherwise
  odd_descriptor,     // a tile in the middle of a row
  outside,            // a tile behind the end of shared memory
  one_warp_less,      // one warp takes no part in the last product
  forgotten_copy,     // a copy that nobody waits for
};

inline constexpr int kRows90 = 128, kColumns90 = 64, kTerms90 = 64, kStages90 = 3;
inline constexpr int kThreads90 = 384;

struct Gemm90Params {
  TensorMap a, b;  // a [M,K] or an image [N,H,W,C]; b [N,K]
  float* d;        // [M,N]
  int m, n, k;
  int h, w, c;  ///< of the image; c = 0: a matrix
  Mistake mistake;
};

struct Gemm90Storage {
  Array<f16, kStages90 * kRows90 * kTerms90> a;
  Array<f16, kStages90 * kColumns90 * kTerms90> b;
  Array<std::uint64_t, kStages90> full, empty;
};

__device__ inline void produce90(Gemm90Storage& s, const Gemm90Params& p, Mistake wrong) {
  const int m0 = static_cast<int>(blockIdx.x) * kRows90,
            n0 = static_cast<int>(blockIdx.y) * kColumns90;
  const int steps = p.k / kTerms90;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages90;
    if (step >= kStages90 && wrong != Mistake::no_wait_for_room)
      mbarrier_wait(s.empty, stage, (step / kStages90 - 1) & 1);
    constexpr unsigned kBytes = (kRows90 + kColumns90) * kTerms90 * sizeof(f16);
    mbarrier_arrive_expect(s.full, stage, wrong == Mistake::wrong_bytes ? kBytes + 16 : kBytes);
    const int to = stage * kRows90 * kTerms90 + (wrong == Mistake::odd_target ? 64 : 0);
    if (p.c > 0) {
      const int tap = step * kTerms90 / p.c, pixel = m0 % (p.h * p.w);
      tma_load_im2col(s.a, to, p.a, s.full, stage,
                      {step * kTerms90 % p.c, pixel % p.w - 1, pixel / p.w - 1, m0 / (p.h * p.w)},
                      {tap % 3, tap / 3});
    } else {
      tma_load<2>(s.a, to, p.a, s.full, stage, {step * kTerms90, m0});
    }
    tma_load<2>(s.b, stage * kColumns90 * kTerms90, p.b, s.full, stage, {step * kTerms90, n0});
  }
  if (wrong == Mistake::forgotten_copy) {
    mbarrier_wait(s.empty, 0, 0);
    tma_load<2>(s.b, 0, p.b, s.full, 0, {0, 0});
  }
}

__device__ inline void consume90(Gemm90Storage& s, const Gemm90Params& p, Mistake wrong) {
  const int group = static_cast<int>(threadIdx.x / 128) - 1;
  const int thread = static_cast<int>(threadIdx.x % 128), lane = thread % 32;
  float sum[kColumns90 / 2] = {};
  const int steps = p.k / kTerms90;
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages90;
    const unsigned parity = static_cast<unsigned>(step / kStages90) & 1u;
    if (wrong != Mistake::no_wait)
      mbarrier_wait(s.full, stage, wrong == Mistake::wrong_parity ? parity ^ 1u : parity);
    if (wrong != Mistake::no_wgmma_fence) wgmma_fence();
    const int odd = wrong == Mistake::odd_descriptor ? 8 : 0;
    const int last = wrong == Mistake::outside ? kStages90 * kColumns90 * kTerms90 - 512 : -1;
    const TileDescriptor a = tile_descriptor(s.a, (stage * kRows90 + group * 64) * kTerms90 + odd);
    const TileDescriptor b = tile_descriptor(s.b, last >= 0 ? last : stage * kColumns90 * kTerms90);
#pragma unroll
    for (int k = 0; k < kTerms90; k += 16)
      if (wrong != Mistake::one_warp_less || step + 1 < steps || thread / 32 != 2)
        wgmma<kColumns90>(f16{}, sum, a.terms(k), b.terms(k), true);
    wgmma_commit();
    if (wrong == Mistake::write_in_flight) sum[3] = 0.0f;
    if (wrong == Mistake::early_release && lane == 0) mbarrier_arrive(s.empty, stage);
    if (wrong != Mistake::no_wgmma_wait || step + 1 < steps) wgmma_wait<0>();
    if (wrong == Mistake::too_many_arrivals || (wrong != Mistake::early_release && lane == 0))
      mbarrier_arrive(s.empty, stage);
  }
  const int m0 = static_cast<int>(blockIdx.x) * kRows90 + group * 64;
  const int n0 = static_cast<int>(blockIdx.y) * kColumns90;
#pragma unroll
  for (int e = 0; e < kColumns90 / 2; ++e) {
    const int row = m0 + thread / 32 * 16 + lane / 4 + e / 2 % 2 * 8;
    const int column = n0 + e / 4 * 8 + lane % 4 * 2 + e % 2;
    if (row < p.m && column < p.n) p.d[static_cast<std::int64_t>(row) * p.n + column] = sum[e];
  }
}

template <bool kTest>
__global__ void __launch_bounds__(kThreads90, 1)
    gemm90_kernel(const Gemm90Params __grid_constant__ p) {
  auto& s = shared<Gemm90Storage>();
  const Mistake wrong = kTest ? p.mistake : Mistake::none;
  if (threadIdx.x == 0 && wrong != Mistake::not_initialised) {
    for (int stage = 0; stage < kStages90; ++stage) {
      mbarrier_init(s.full, stage, 1);
      mbarrier_init(s.empty, stage, 8);  // the consumers' warps
    }
    if (wrong != Mistake::no_barrier_fence) fence_barrier_init();
  }
  if (wrong != Mistake::no_barrier) __syncthreads();
  if (threadIdx.x < 128) {
    give_registers<40>();
    if (threadIdx.x == 0) produce90(s, p, wrong);
  } else {
    take_registers<232>();
    consume90(s, p, wrong);
  }
}

}  // namespace TILLER_DEVICE
}  // namespace tiller
