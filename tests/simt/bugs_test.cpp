// Every class of mistake that the executor is there to find, made on purpose: each must be caught
// in every order of threads, and named with its line.
#include "tests/simt/kernel_util.h"

namespace tiller {
inline namespace TILLER_DEVICE {
namespace {

enum class Bug { none, first, second, third, fourth };

struct Params {
  Bug bug = Bug::none;
  float* out = nullptr;
  const float* in = nullptr;
};

struct Storage {
  Array<float, 128> a;
  Array<f16, 128> h;
};

// The right kernel ends well, and each bug with a message that has `parts`.
void expect(void (*kernel)(const Params&), Bug bug, const std::vector<std::string>& parts,
            unsigned threads = 64) {
  static float in[256], out[256];
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    EXPECT_EQ(fault_of(kernel, Params{Bug::none, out, in}, threads, shared_bytes<Storage>()), "")
        << to_string(order);
    const std::string message =
        fault_of(kernel, Params{bug, out, in}, threads, shared_bytes<Storage>());
    for (const std::string& part : parts) TILLER_EXPECT_HAS(message, part);
    TILLER_EXPECT_HAS(message, to_string(order));
  }
}

__global__ void reverse(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  s.a[threadIdx.x] = 1.0f;
  if (p.bug != Bug::first) __syncthreads();
  p.out[threadIdx.x] = s.a[(threadIdx.x + 32) % 64];
  if (p.bug != Bug::second) __syncthreads();
  s.a[threadIdx.x] = 2.0f;
}

TEST(Bugs, MissingBarrierBeforeReading) {
  // In some orders the reader comes first, to bytes that nobody has written.
  expect(reverse, Bug::first, {"shared byte", "tests/simt/bugs_test.cpp:41"});
}
TEST(Bugs, MissingBarrierBeforeWriting) {
  expect(reverse, Bug::second,
         {"race: shared byte", "no barrier between", "at line 4", "bugs_test.cpp:4"});
}

__global__ void within_a_warp(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  s.a[threadIdx.x] = 1.0f;
  __syncwarp();
  if (p.bug == Bug::first) s.a[threadIdx.x] = 2.0f;
  p.out[threadIdx.x] = __shfl_xor_sync(kFullMask, 1.0f, 1);  // no order of memory
  p.out[threadIdx.x] = s.a[threadIdx.x ^ 1u];
}

TEST(Bugs, MissingSyncwarp) {
  expect(within_a_warp, Bug::first, {"race: shared byte", "wrote it at line 59", "line"}, 32);
}

__global__ void add_without_atomic(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  if (threadIdx.x == 0) s.a[0] = 0.0f;
  __syncthreads();
  if (p.bug == Bug::first && threadIdx.x == 40)
    s.a[0] = 5.0f;
  else
    atomic_add(s.a, 0, 1.0f);
}

TEST(Bugs, WriteBesideAtomics) { expect(add_without_atomic, Bug::first, {"race: shared byte 0"}); }

__global__ void halves(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  s.h[threadIdx.x] = f16(1.0f);  // neighbours in one word: no race
  __syncthreads();
  if (p.bug == Bug::first) s.h[threadIdx.x / 2] = f16(2.0f);
}

TEST(Bugs, TwoThreadsWriteOneElement) { expect(halves, Bug::first, {"race", "written"}); }

__global__ void bounds(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  s.a[threadIdx.x] = 0.0f;
  if (p.bug == Bug::first && threadIdx.x == 9) s.a[128] = 1.0f;
  if (p.bug == Bug::second && threadIdx.x == 9) p.out[0] = s.a[-1];
  if (p.bug == Bug::third && threadIdx.x == 9) p.out[0] = load_vec<4>(s.a, 126).v[0];
}

TEST(Bugs, OutOfBounds) {
  expect(bounds, Bug::first, {"shared index 128", "outside an array of 128", "thread 9"});
  expect(bounds, Bug::second, {"shared index -1", "outside an array of 128"});
  expect(bounds, Bug::third, {"shared index 126 (of 4 elements from there)"});
}

__global__ void unwritten(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  if (p.bug != Bug::first || threadIdx.x != 5) s.a[threadIdx.x] = 0.0f;
  __syncthreads();
  p.out[threadIdx.x] = s.a[threadIdx.x];
}

TEST(Bugs, ReadingWhatNobodyWrote) {
  expect(unwritten, Bug::first, {"shared byte 20 is read, but nobody has written it", "thread 5"});
}

__global__ void async(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  if (threadIdx.x < 32) cp_async<16>(s.a, threadIdx.x * 4, p.in + threadIdx.x * 4);
  cp_async_commit();
  if (p.bug == Bug::first)
    cp_async_wait<1>();
  else
    cp_async_wait<0>();
  if (p.bug != Bug::second) __syncthreads();
  p.out[threadIdx.x] = s.a[127 - threadIdx.x];
  if (p.bug == Bug::third && threadIdx.x == 3) cp_async<16>(s.a, 0, p.in);
}

TEST(Bugs, MissingWaitForAsynchronousCopies) {
  expect(async, Bug::first, {"while the cp.async that thread", "its wait_group is missing"});
}
TEST(Bugs, MissingBarrierAfterAsynchronousCopies) { expect(async, Bug::second, {"shared byte"}); }
TEST(Bugs, RefillingWhileOthersRead) {
  // thread 3 overwrites bytes 0-15, which threads 124-127 would read; nobody does, so it is only
  // the copy that nobody waits for.
  expect(async, Bug::third, {"in flight"});
}

__global__ void refill(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  for (int round = 0; round < 2; ++round) {
    if (threadIdx.x < 32) cp_async<16>(s.a, threadIdx.x * 4, p.in + threadIdx.x * 4);
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    p.out[threadIdx.x] = s.a[127 - threadIdx.x];
    if (p.bug != Bug::first) __syncthreads();
  }
}

TEST(Bugs, MissingBarrierBeforeTheNextStage) {
  expect(refill, Bug::first, {"race: shared byte", "written, but", "read it at line"});
}

__global__ void misaligned(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  if (threadIdx.x > 0) return;
  cp_async<16>(s.a, p.bug == Bug::first ? 2 : 4, p.in + (p.bug == Bug::second ? 1 : 0));
  cp_async_commit();
  cp_async_wait<0>();
}

TEST(Bugs, MisalignedAsynchronousCopy) {
  expect(misaligned, Bug::first, {"cp.async of 16 bytes", "not a multiple of 16"});
  expect(misaligned, Bug::second, {"cp.async of 16 bytes", "not a multiple of 16"});
}

__global__ void divergent(const Params __grid_constant__ p) {
  if (p.bug == Bug::first && threadIdx.x < 40) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  if (p.bug == Bug::second && threadIdx.x < 40) named_barrier(1, 64);
  if (p.bug == Bug::third && threadIdx.x == 7) __shfl_xor_sync(kFullMask, 1, 1);
}

TEST(Bugs, DivergentBarrier) {
  expect(divergent, Bug::first, {"threads diverge: __syncthreads here", "at line 1"});
}
TEST(Bugs, DeadlockNamesLineAndThreads) {
  expect(divergent, Bug::second,
         {"deadlock: threads 0-39 wait in named_barrier at tests/simt/bugs_test.cpp:172",
          "24 have returned"});
}
TEST(Bugs, ShuffleWithLanesThatReturned) {
  expect(divergent, Bug::third, {"__shfl_xor_sync", "returned"});
}

__global__ void masks(const Params __grid_constant__ p) {
  const unsigned lane = threadIdx.x;
  const unsigned low = 0x0000FFFFu, high = 0xFFFF0000u;
  if (p.bug == Bug::first) __shfl_xor_sync(low, 1, 1);
  if (p.bug == Bug::second) __syncwarp(lane < 16 ? 0x0001FFFFu : kFullMask);
  if (p.bug == Bug::fourth && lane >= 16) __syncwarp();
  if (p.bug == Bug::third) __shfl_xor_sync(lane < 16 ? low : high, 1, 16);
  __syncwarp(lane < 16 ? low : high);
}

TEST(Bugs, MisusedMasks) {
  expect(masks, Bug::first, {"with mask 0000ffff, which does not name the calling lane"}, 32);
  expect(masks, Bug::second, {"lanes disagree: __syncwarp", "waits in __syncwarp"}, 32);
  expect(masks, Bug::fourth, {"__syncwarp", "returned"}, 32);
  expect(masks, Bug::third, {"__shfl_xor_sync: lane", "which takes no part"}, 32);
}

__global__ void lanes_apart(const Params __grid_constant__ p) {
  if (p.bug == Bug::first && threadIdx.x < 3)
    __shfl_xor_sync(kFullMask, 1, 1);
  else
    __ballot_sync(kFullMask, 1);
}

TEST(Bugs, LanesInDifferentCollectives) {
  expect(lanes_apart, Bug::first, {"lanes diverge: __", "waits in __"}, 32);
}

__global__ void short_warp(const Params __grid_constant__ p) {
  if (p.bug == Bug::first && threadIdx.x == 31) return;
  float d[4] = {0, 0, 0, 0};
  const std::uint32_t a[4] = {0, 0, 0, 0}, b[2] = {0, 0};
  if (p.bug == Bug::first) __syncwarp(0x7FFFFFFFu);  // until lane 31 has returned
  mma(f16{}, d, a, b);
}

TEST(Bugs, MatrixProductOfPartOfAWarp) {
  const auto part = "mma.sync needs all 32 lanes";
  static float out[1];
  const executor::OrderGuard guard({executor::Order::Kind::descending, 0});
  const std::string message = fault_of(short_warp, Params{Bug::first, out}, 32);
  TILLER_EXPECT_HAS(message, part);
  EXPECT_EQ(fault_of(short_warp, Params{Bug::none, out}, 32), "");
}

__global__ void too_little(const Params __grid_constant__ p) {
  auto& s = shared<Storage>();
  s.a[threadIdx.x] = 0.0f;
  p.out[threadIdx.x] = s.a[threadIdx.x];
}

TEST(Bugs, StorageLargerThanTheLaunchSays) {
  static float out[32];
  TILLER_EXPECT_HAS(fault_of(too_little, Params{Bug::none, out}, 32, 256),
                    "shared<Storage>() of 768 bytes, but launch() gave 256");
}

}  // namespace
}  // namespace TILLER_DEVICE
}  // namespace tiller
