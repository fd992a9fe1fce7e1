// Counters of streams: zero, each stream's own, and where they were as long as a graph may use
// them.
#include "runtime/counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "runtime/backend.h"
#include "runtime/error.h"

namespace tiller {
namespace {

constexpr Device kSimt{DeviceType::simt, 0};

class CountersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!available(kSimt)) GTEST_SKIP() << "this build has no simt";
  }
  static Stream side(int index) { return {kSimt, backend(kSimt).side_stream(index)}; }
};

TEST_F(CountersTest, AreZeroAndTheStreamsOwn) {
  std::uint32_t* const first = counters(side(0), 10);
  EXPECT_EQ(counters(side(0), 20), first) << "the next kernel counts with them again";
  EXPECT_NE(counters(side(1), 10), first);
  EXPECT_EQ(std::count(first, first + 20, 0U), 20);
  std::uint32_t* elsewhere = nullptr;
  std::thread([&] { elsewhere = counters(side(0), 10); }).join();
  EXPECT_NE(elsewhere, first) << "on simt a thread runs what it launches";
}

TEST_F(CountersTest, OfWhichMoreAreAskedForLeaveTheOthersWhereTheyAre) {
  std::uint32_t* const few = counters(side(0), 10);
  std::uint32_t* const many = counters(side(0), 100000);
  EXPECT_NE(many, few);
  EXPECT_EQ(std::count(many, many + 100000, 0U), 100000);
  few[3] = 1;  // as a captured graph would
  many[99999] = 2;
  EXPECT_EQ(counters(side(0), 10), many);
  EXPECT_EQ(clear_simt_counters(), 2);
  EXPECT_EQ(few[3] + many[99999], 0U);
  EXPECT_EQ(clear_simt_counters(), 0);
}

TEST_F(CountersTest, AreNotMadeWithinACapture) {
  Backend& simt = backend(kSimt);
  std::thread([&] {  // one that has none yet
    simt.begin_capture(side(0));
    EXPECT_THROW(counters(side(0), 10), Error);
    simt.abandon_capture(side(0));
    std::uint32_t* const made = counters(side(0), 10);
    simt.begin_capture(side(0));
    EXPECT_EQ(counters(side(0), 10), made);
    simt.abandon_capture(side(0));
  })
      .join();
}

}  // namespace
}  // namespace tiller
