// What a right kernel may rely on: every thread runs, threads meet, lanes exchange, whatever the
// order.
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "kernels/simt/fiber.h"
#include "runtime/trace.h"
#include "tests/simt/kernel_util.h"

namespace tiller {
inline namespace TILLER_DEVICE {
namespace {

struct Ints {
  int* out;
  int n = 0;
};

__global__ void count_visits(const Ints __grid_constant__ p) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  p.out[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1;
}

TEST(Executor, RunsEveryThreadOfEveryBlockOnce) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(3 * 5 * 2 * 33 * 2 * 3);
    launch({"count_visits", dim3(3, 5, 2), dim3(33, 2, 3)}, kStream, count_visits, {out.data()});
    EXPECT_EQ(out, std::vector<int>(out.size(), 1)) << to_string(order);
  }
}

__global__ void note_order(const Ints __grid_constant__ p) {
  int& next = p.out[0];
  p.out[++next] = static_cast<int>(threadIdx.x + blockIdx.x * blockDim.x);
}

TEST(Executor, OrderIsTheOneAskedFor) {
  const auto order_of = [](const executor::Order& order) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(1 + 3 * 40);
    launch({"note_order", 3, 40}, kStream, note_order, {out.data()});
    return std::vector<int>(out.begin() + 1, out.end());
  };
  std::vector<int> forward(120);
  std::iota(forward.begin(), forward.end(), 0);
  const std::vector<executor::Order> all = orders();
  EXPECT_EQ(order_of(all[0]), forward);
  EXPECT_EQ(order_of(all[1]), std::vector<int>(forward.rbegin(), forward.rend()));
  std::vector<int> random = order_of(all[2]);
  EXPECT_EQ(random, order_of(all[2]));  // a seed repeats
  EXPECT_NE(random, order_of(all[3]));
  EXPECT_NE(random, forward);
  std::sort(random.begin(), random.end());
  EXPECT_EQ(random, forward);
  EXPECT_EQ(to_string(executor::Order::parse("17")), "seed 17");
  EXPECT_THROW(executor::Order::parse("sideways"), Error);
}

struct SumStorage {
  Array<float, 32> part;
};
struct SumParams {
  const float* x;
  float* out;
  int n;
};

__global__ void block_sum(const SumParams __grid_constant__ p) {
  auto& s = shared<SumStorage>();
  float v = 0;
  for (int i = static_cast<int>(threadIdx.x); i < p.n; i += static_cast<int>(blockDim.x))
    v += p.x[i];
  for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(kFullMask, v, m);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) s.part[warp] = v;
  __syncthreads();
  if (warp > 0) return;
  v = lane < blockDim.x / 32 ? static_cast<float>(s.part[lane]) : 0.0f;
  for (int m = 16; m > 0; m /= 2) v += __shfl_xor_sync(kFullMask, v, m);
  if (lane == 0) *p.out = v;
}

TEST(Executor, BlockReduction) {
  std::vector<float> x(1000);
  std::iota(x.begin(), x.end(), 1.0f);
  for (const executor::Order& order : orders())
    for (const unsigned threads : {32u, 256u, 1024u}) {
      const executor::OrderGuard guard(order);
      float out = 0;
      launch({"block_sum", 1, threads, shared_bytes<SumStorage>()}, kStream, block_sum,
             {x.data(), &out, 1000});
      EXPECT_EQ(out, 500500.0f) << to_string(order) << ", " << threads;
    }
}

__global__ void shuffles(const Ints __grid_constant__ p) {
  const int lane = static_cast<int>(threadIdx.x);
  p.out[lane] = __shfl_sync(kFullMask, lane * 10, 5);
  p.out[32 + lane] = __shfl_up_sync(kFullMask, lane, 3);
  p.out[64 + lane] = __shfl_down_sync(kFullMask, lane, 3);
  p.out[96 + lane] = __shfl_xor_sync(kFullMask, lane, 9);
  p.out[128 + lane] = __shfl_sync(kFullMask, lane, 2, 8);
  // Two halves of a warp diverge and exchange among themselves, in either order.
  const unsigned half = lane < 16 ? 0x0000FFFFu : 0xFFFF0000u;
  p.out[160 + lane] = lane < 16 ? __shfl_xor_sync(half, lane, 1) : __shfl_xor_sync(half, lane, 2);
  p.out[192 + lane] = static_cast<int>(__ballot_sync(kFullMask, lane % 3 == 0));
  p.out[224 + lane] = __any_sync(kFullMask, lane == 31) * 2 + __all_sync(kFullMask, lane < 32);
  const double wide = __shfl_sync(kFullMask, lane * 0.5, 31);
  p.out[256 + lane] = static_cast<int>(wide * 2);
}

TEST(Executor, ShufflesAndVotes) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(288);
    launch({"shuffles", 1, 32}, kStream, shuffles, {out.data()});
    const auto at = [&](int row, int lane) {
      return out[static_cast<std::size_t>(row * 32 + lane)];
    };
    for (int lane = 0; lane < 32; ++lane) {
      EXPECT_EQ(at(0, lane), 50);
      EXPECT_EQ(at(1, lane), lane < 3 ? lane : lane - 3);
      EXPECT_EQ(at(2, lane), lane > 28 ? lane : lane + 3);
      EXPECT_EQ(at(3, lane), lane ^ 9);
      EXPECT_EQ(at(4, lane), lane / 8 * 8 + 2);
      EXPECT_EQ(at(5, lane), lane ^ (lane < 16 ? 1 : 2));
      EXPECT_EQ(static_cast<unsigned>(at(6, lane)), 0x49249249u);
      EXPECT_EQ(at(7, lane), 3);
      EXPECT_EQ(at(8, lane), 31);
    }
  }
}

struct PairStorage {
  Array<int, 64> a;
};

// Warp 1 fills what warp 0 reads: only these two warps meet; warp 2 has long returned.
__global__ void producer(const Ints __grid_constant__ p) {
  auto& s = shared<PairStorage>();
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp == 2) return;
  if (warp == 1) s.a[lane] = static_cast<int>(lane * 7);
  named_barrier(3, 64);
  if (warp == 0) p.out[lane] = s.a[31 - lane];
}

TEST(Executor, NamedBarriersJoinSomeWarps) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(32);
    launch({"producer", 1, 96, shared_bytes<PairStorage>()}, kStream, producer, {out.data()});
    for (int i = 0; i < 32; ++i) EXPECT_EQ(out[static_cast<std::size_t>(i)], (31 - i) * 7);
  }
}

__global__ void warp_exchange(const Ints __grid_constant__ p) {
  auto& s = shared<PairStorage>();
  const unsigned lane = threadIdx.x % 32, pair = lane / 2 * 2;
  s.a[threadIdx.x] = static_cast<int>(lane);
  __syncwarp();
  const int whole = s.a[(threadIdx.x / 32) * 32 + 31 - lane];
  __syncwarp();
  s.a[threadIdx.x] = static_cast<int>(lane) + 100;
  __syncwarp(3u << pair);  // pairs of lanes
  p.out[threadIdx.x] = whole + s.a[threadIdx.x ^ 1u] * 1000;
}

TEST(Executor, SyncwarpOrdersItsLanes) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(64);
    launch({"warp_exchange", 1, 64, shared_bytes<PairStorage>()}, kStream, warp_exchange,
           {out.data()});
    for (int i = 0; i < 64; ++i) {
      const int lane = i % 32;
      EXPECT_EQ(out[static_cast<std::size_t>(i)], 31 - lane + ((lane ^ 1) + 100) * 1000);
    }
  }
}

__global__ void histogram(const Ints __grid_constant__ p) {
  auto& s = shared<PairStorage>();
  if (threadIdx.x < 64) s.a[threadIdx.x] = 0;
  __syncthreads();
  atomic_add(s.a, threadIdx.x % 7, 1);
  __syncthreads();
  if (threadIdx.x < 7) atomicAdd(p.out + threadIdx.x, static_cast<int>(s.a[threadIdx.x]));
}

TEST(Executor, Atomics) {
  std::vector<int> out(7);
  launch({"histogram", 5, 96, shared_bytes<PairStorage>()}, kStream, histogram, {out.data()});
  EXPECT_EQ(out, (std::vector<int>{70, 70, 70, 70, 70, 65, 65}));
}

__global__ void early_return(const Ints __grid_constant__ p) {
  if (static_cast<int>(threadIdx.x) >= p.n) return;
  __syncthreads();  // waits for those that have not returned
  p.out[threadIdx.x] = 1;
}

TEST(Executor, BarriersDoNotWaitForThreadsThatReturned) {
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    std::vector<int> out(50);
    launch({"early_return", 1, 100}, kStream, early_return, {out.data(), 50});
    EXPECT_EQ(out, std::vector<int>(50, 1));
  }
}

__global__ void throws(const Ints __grid_constant__ p) {
  if (static_cast<int>(threadIdx.x) == p.n) throw std::runtime_error("from lane 3");
  __syncthreads();
}

TEST(Executor, ExceptionsOfALaneSurfaceFromLaunch) {
  for (int round = 0; round < 3; ++round) {  // and the next launch is unharmed
    EXPECT_THROW(launch({"throws", 2, 64}, kStream, throws, {nullptr, 3}), std::runtime_error);
    launch({"throws", 2, 64}, kStream, throws, {nullptr, -1});
  }
}

TEST(Executor, LaunchRefusesWhatAGpuWould) {
  const auto message = [](const LaunchConfig& config) {
    try {
      launch(config, kStream, early_return, Ints{nullptr, 0});
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  TILLER_EXPECT_HAS(message({"k", 1, 1025}), "a block of 1025x1x1 threads");
  TILLER_EXPECT_HAS(message({"k", 1, dim3(1, 1, 65)}), "a block of 1x1x65 threads");
  TILLER_EXPECT_HAS(message({"k", dim3(1, 65536), 32}), "a grid of 1x65536x1");
  TILLER_EXPECT_HAS(message({"k", 1, 32, (99 << 10) + 1}), "101377 bytes of shared memory");
  EXPECT_EQ(message({"k", 0, 32}), "");  // nothing to do
  EXPECT_EQ(message({"k", 1, 32, 99 << 10}), "");
}

TEST(Executor, LaunchesAreTraced) {
  struct Sink final : TraceSink {
    void on_op(const OpEvent&) override {}
    void on_launch(const LaunchEvent& event) override {
      seen.push_back(std::string(event.kernel) + " " + std::to_string(event.grid) + " " +
                     std::to_string(event.block));
      EXPECT_EQ(event.device.type, DeviceType::simt);
    }
    std::vector<std::string> seen;
  } sink;
  std::vector<int> out(7);
  const TraceGuard guard(sink, TraceLevel::launches);
  launch({"histogram", 5, 96, shared_bytes<PairStorage>()}, kStream, histogram, {out.data()});
  EXPECT_EQ(sink.seen, std::vector<std::string>{"histogram 5 96"});
  // The same without running a block; and what a GPU would refuse is still refused.
  const std::vector<int> before = out;
  {
    const executor::LaunchesOnly no_blocks;
    launch({"counted", 5, 96, shared_bytes<PairStorage>()}, kStream, histogram, {out.data()});
    EXPECT_THROW(launch({"k", 1, 1025}, kStream, histogram, {out.data()}), Error);
  }
  EXPECT_EQ(sink.seen.back(), "counted 5 96");
  EXPECT_EQ(out, before);
  launch({"histogram", 5, 96, shared_bytes<PairStorage>()}, kStream, histogram, {out.data()});
  EXPECT_NE(out, before);
}

TEST(Executor, StackTopsLieOffPageBoundaries) {
  for (std::size_t i = 0; i < 200; ++i) {
    std::size_t bytes = 0;
    const std::byte* stack = executor::pooled_stack(i, bytes);
    const auto top = reinterpret_cast<std::uintptr_t>(stack + bytes);
    EXPECT_GE(4096 - top % 4096, 64u);
    EXPECT_NE(top % 4096, 0u);
    EXPECT_EQ(top % 16, 0u);
  }
}

}  // namespace
}  // namespace TILLER_DEVICE
}  // namespace tiller
