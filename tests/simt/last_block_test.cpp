// Blocks that leave results for the last of them, whichever that is, and counters that are zero
// again behind it.
#include "kernels/last_block.cuh"

#include <array>

#include "runtime/counters.h"
#include "runtime/device.h"
#include "tests/simt/kernel_util.h"

namespace tiller {
inline namespace TILLER_DEVICE {
namespace {

enum class Wrong { nothing, counts_one_more, throws };

struct Teams {
  std::uint32_t* counters;  // one of each team
  float* parts;             // [teams][blocks of a team][32]
  float* out;               // [teams][32]
  Wrong wrong = Wrong::nothing;
};
struct Flag {
  Array<std::uint32_t, 1> last;
};

// Block (i,j) is the i-th of team j's. The order of these additions shows in the last bit.
__global__ void team_sum(const Teams __grid_constant__ p) {
  auto& s = shared<Flag>();
  const unsigned team = blockIdx.y, lane = threadIdx.x;
  float* parts = p.parts + team * gridDim.x * 32 + lane;
  parts[blockIdx.x * 32] = 1.0f / static_cast<float>(1 + blockIdx.x + lane);
  device_check(p.wrong != Wrong::throws || blockIdx.x != 3 || lane != 7, "made to fail");
  const int count = static_cast<int>(gridDim.x) + (p.wrong == Wrong::counts_one_more ? 1 : 0);
  if (!last_block(s.last, p.counters + team, count)) return;
  float sum = 0.0f;
  for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i * 32];
  p.out[team * 32 + lane] += sum;
}

constexpr unsigned kBlocks = 9, kTeamCount = 5;

std::array<float, kTeamCount * 32> sums(Stream stream, Wrong wrong = Wrong::nothing) {
  std::array<float, kTeamCount * kBlocks * 32> parts{};
  std::array<float, kTeamCount * 32> out{};
  launch({"team_sum", dim3(kBlocks, kTeamCount), 32, shared_bytes<Flag>()}, stream, team_sum,
         {counters(stream, kTeamCount), parts.data(), out.data(), wrong});
  return out;
}

TEST(LastBlock, AddsInOneOrderWhicheverIsLast) {
  const auto first = sums(kStream);
  for (unsigned team = 0; team < kTeamCount; ++team)
    for (unsigned lane = 0; lane < 32; ++lane) {
      float sum = 0.0f;
      for (unsigned i = 0; i < kBlocks; ++i) sum += 1.0f / static_cast<float>(1 + i + lane);
      EXPECT_EQ(first[team * 32 + lane], sum) << "one block of each team, and it saw all parts";
    }
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    EXPECT_EQ(sums(kStream), first) << to_string(order);
  }
}

TEST(LastBlock, CounterThatIsNotZeroAgainIsAMistake) {
  std::string message;
  try {
    sums(kStream, Wrong::counts_one_more);
  } catch (const Error& error) {
    message = error.what();
  }
  TILLER_EXPECT_HAS(message, "kernel team_sum ended and left 5 counters that are not zero");
  EXPECT_EQ(clear_simt_counters(), 0);
}

TEST(LastBlock, KernelThatFailsLeavesTheNextOneRight) {
  const auto right = sums(kStream);
  for (const executor::Order& order : orders()) {
    const executor::OrderGuard guard(order);
    EXPECT_THROW(sums(kStream, Wrong::throws), Error);
    EXPECT_EQ(sums(kStream), right) << to_string(order);
  }
}

}  // namespace
}  // namespace TILLER_DEVICE
}  // namespace tiller
