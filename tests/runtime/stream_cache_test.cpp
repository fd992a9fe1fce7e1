// The policy of an accelerator's allocator, over memory and streams that the test plays.
#include "runtime/stream_cache.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tiller {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Segments at made-up addresses, so many bytes of them; marks that are reached when the test says.
class Played final : public SegmentSource {
 public:
  void* reserve(std::size_t bytes) override {
    ++reserves;
    if (used + bytes > capacity) return nullptr;
    used += bytes;
    next_ += std::uintptr_t{1} << 32;
    return reinterpret_cast<void*>(next_);
  }
  void release(void*, std::size_t bytes) noexcept override {
    used -= bytes;
    ++releases;
  }
  void* mark(void* stream) override {
    marks.push_back({stream, false, false});
    return reinterpret_cast<void*>(marks.size());
  }
  bool reached(void* mark) override { return at(mark).reached; }
  void await(void* mark) override {
    at(mark).reached = true;
    ++waits;
  }
  void forget(void* mark) noexcept override { at(mark).forgotten = true; }

  struct Mark {
    void* stream;
    bool reached, forgotten;
  };
  Mark& at(void* mark) { return marks[reinterpret_cast<std::size_t>(mark) - 1]; }
  std::size_t capacity = 1024 * kMiB, used = 0;
  int reserves = 0, releases = 0, waits = 0;
  std::vector<Mark> marks;

 private:
  std::uintptr_t next_ = 0;
};

class StreamCacheTest : public testing::Test {
 protected:
  static void* stream(int i) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(i)); }
  static std::ptrdiff_t apart(void* a, void* b) {
    return static_cast<std::byte*>(b) - static_cast<std::byte*>(a);
  }
  Played source_;
  StreamCache cache_{source_, "gpu"};
};

TEST_F(StreamCacheTest, CutsSmallBlocksFromOneSegment) {
  void* a = cache_.allocate(1, stream(0));
  void* b = cache_.allocate(513, stream(0));
  void* c = cache_.allocate(1, stream(0));
  EXPECT_EQ(apart(a, b), 512);
  EXPECT_EQ(apart(b, c), 1024);
  EXPECT_EQ(source_.reserves, 1);
  EXPECT_EQ(cache_.memory().live, 2048U);
  EXPECT_EQ(cache_.memory().cached, 2 * kMiB - 2048);
  EXPECT_EQ(cache_.memory().allocations, 3U);
  EXPECT_EQ(cache_.memory().segments, 1U);
}

TEST_F(StreamCacheTest, ReusesTheBestFitAtOnceOnItsStream) {
  void* big = cache_.allocate(4096, stream(0));
  void* wall1 = cache_.allocate(512, stream(0));
  void* fits = cache_.allocate(1024, stream(0));
  void* wall2 = cache_.allocate(512, stream(0));
  cache_.deallocate(big);
  cache_.deallocate(fits);
  EXPECT_EQ(cache_.allocate(1000, stream(0)), fits) << "not the first, the best fit";
  EXPECT_EQ(cache_.allocate(1000, stream(0)), big) << "then a part of the larger one";
  EXPECT_EQ(apart(big, cache_.allocate(3072, stream(0))), 1024) << "and the rest of it";
  EXPECT_TRUE(source_.marks.empty()) << "in stream order nobody asks how far the stream is";
  cache_.deallocate(wall1);
  cache_.deallocate(wall2);
}

TEST_F(StreamCacheTest, GrowsNeighboursTogether) {
  void* parts[4];
  for (void*& part : parts) part = cache_.allocate(kMiB / 2, stream(0));  // all of a segment
  EXPECT_EQ(cache_.memory().cached, 0U);
  cache_.deallocate(parts[0]);
  cache_.deallocate(parts[2]);
  cache_.deallocate(parts[1]);  // joins both sides
  EXPECT_EQ(cache_.allocate(kMiB, stream(0)), parts[0]);
  EXPECT_EQ(cache_.allocate(kMiB / 2, stream(0)), parts[2]);
  EXPECT_EQ(source_.reserves, 1);
}

TEST_F(StreamCacheTest, LargeBlocksLeaveTheRestOnlyWhereItIsWorthIt) {
  void* a = cache_.allocate(19 * kMiB, stream(0));  // of a 20 MiB segment
  EXPECT_EQ(cache_.memory().live, 20 * kMiB);
  cache_.deallocate(a);
  void* b = cache_.allocate(9 * kMiB, stream(0));
  EXPECT_EQ(b, a);
  EXPECT_EQ(cache_.memory().live, 9 * kMiB);
  cache_.allocate(512, stream(0));
  EXPECT_EQ(source_.reserves, 2) << "small blocks stay out of large segments";
}

TEST_F(StreamCacheTest, StreamsDoNotShareBlocks) {
  void* a = cache_.allocate(4096, stream(1));
  cache_.deallocate(a);
  EXPECT_NE(cache_.allocate(4096, stream(2)), a);
  EXPECT_EQ(cache_.allocate(4096, stream(1)), a);
}

TEST_F(StreamCacheTest, ABlockThatAnotherStreamUsesWaitsForIt) {
  void* a = cache_.allocate(4096, stream(1));
  cache_.used_on(a, stream(2));
  cache_.used_on(a, stream(2));
  cache_.used_on(a, stream(1));  // its own needs no mark
  cache_.deallocate(a);
  ASSERT_EQ(source_.marks.size(), 1U);
  EXPECT_EQ(source_.marks[0].stream, stream(2));
  EXPECT_NE(cache_.allocate(4096, stream(1)), a) << "stream 2 may still read it";
  source_.marks[0].reached = true;
  EXPECT_EQ(cache_.allocate(4096, stream(1)), a);
  EXPECT_TRUE(source_.marks[0].forgotten);
  EXPECT_EQ(source_.waits, 0);
  cache_.deallocate(a);
  EXPECT_EQ(source_.marks.size(), 1U) << "the new owner is used on no other stream";
}

TEST_F(StreamCacheTest, ACaptureHasAPoolOfItsOwn) {
  void* before = cache_.allocate(4096, stream(1));
  cache_.deallocate(before);
  const auto pool = cache_.begin_capture(stream(1));
  EXPECT_EQ(cache_.capture_of(stream(1)), pool);
  void* a = cache_.allocate(4096, stream(1));
  EXPECT_NE(a, before) << "somebody else may get the shared block between two replays";
  cache_.deallocate(a);
  EXPECT_EQ(cache_.allocate(4096, stream(1)), a) << "within the capture blocks are reused";
  void* other = cache_.allocate(4096, stream(2));
  EXPECT_EQ(cache_.capture_of(stream(2)), 0U);
  cache_.end_capture(pool);

  EXPECT_EQ(cache_.allocate(4096, stream(1)), before);
  cache_.deallocate(a);
  EXPECT_NE(cache_.allocate(4096, stream(1)), a) << "the graph will write there";
  cache_.release_cached();
  EXPECT_EQ(source_.releases, 0);
  cache_.drop_pool(pool);
  EXPECT_EQ(source_.releases, 1) << "with the graph its memory goes";
  cache_.deallocate(other);
}

TEST_F(StreamCacheTest, APoolThatIsDroppedWaitsForItsLastTensor) {
  const auto pool = cache_.begin_capture(stream(1));
  void* result = cache_.allocate(4096, stream(1));
  cache_.end_capture(pool);
  cache_.drop_pool(pool);
  EXPECT_EQ(source_.releases, 0);
  cache_.deallocate(result);
  EXPECT_EQ(source_.releases, 1);
  EXPECT_EQ(cache_.memory().cached, 0U);
}

TEST_F(StreamCacheTest, ForkedStreamsJoinTheCapture) {
  const auto pool = cache_.begin_capture(stream(1));
  cache_.join_capture(pool, stream(2));
  void* a = cache_.allocate(4096, stream(2));
  cache_.used_on(a, stream(1));
  cache_.deallocate(a);
  EXPECT_TRUE(source_.marks.empty()) << "a mark in a capture would become a part of the graph";
  EXPECT_NE(cache_.allocate(4096, stream(2)), a);
  cache_.end_capture(pool);
  EXPECT_EQ(cache_.capture_of(stream(2)), 0U);
  EXPECT_TRUE(source_.marks.empty());
  EXPECT_THROW(
      {
        cache_.begin_capture(stream(3));
        cache_.begin_capture(stream(3));
      },
      Error);
}

TEST_F(StreamCacheTest, AsksNobodyWhileACaptureIsOn) {
  void* a = cache_.allocate(4096, stream(1));
  cache_.used_on(a, stream(2));
  cache_.deallocate(a);
  source_.marks[0].reached = true;
  const auto pool = cache_.begin_capture(stream(5));
  EXPECT_NE(cache_.allocate(4096, stream(1)), a);
  cache_.end_capture(pool);
  EXPECT_EQ(cache_.allocate(4096, stream(1)), a);
}

TEST_F(StreamCacheTest, OutOfMemoryGivesCachesBackAndTriesAgain) {
  source_.capacity = 40 * kMiB;
  void* a = cache_.allocate(16 * kMiB, stream(1));
  void* b = cache_.allocate(16 * kMiB, stream(1));
  cache_.deallocate(a);
  cache_.deallocate(b);
  cache_.allocate(32 * kMiB, stream(1));  // fits only where both were
  EXPECT_EQ(source_.releases, 2);
  EXPECT_EQ(source_.used, 32 * kMiB);
}

TEST_F(StreamCacheTest, OutOfMemoryWaitsForOtherStreamsFirst) {
  source_.capacity = 20 * kMiB;
  void* a = cache_.allocate(16 * kMiB, stream(1));
  cache_.used_on(a, stream(2));
  cache_.deallocate(a);
  EXPECT_EQ(cache_.allocate(16 * kMiB, stream(1)), a);
  EXPECT_EQ(source_.waits, 1);
  EXPECT_EQ(source_.releases, 0) << "waiting was enough";
}

TEST_F(StreamCacheTest, OutOfMemoryIsAnErrorWithNumbers) {
  source_.capacity = 20 * kMiB;
  void* kept = cache_.allocate(16 * kMiB, stream(1));
  try {
    cache_.allocate(512 * kMiB, stream(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::out_of_memory);
    const std::string message = error.what();
    EXPECT_NE(message.find("gpu: cannot allocate 0.50 GiB (0.02 GiB in use"), std::string::npos)
        << message;
    EXPECT_NE(message.find("smaller batch"), std::string::npos) << message;
  }
  cache_.deallocate(kept);
  EXPECT_NE(cache_.allocate(16 * kMiB, stream(1)), nullptr) << "and the cache lives on";
}

TEST_F(StreamCacheTest, CountsThePeak) {
  void* a = cache_.allocate(1024, stream(0));
  cache_.deallocate(a);
  cache_.allocate(512, stream(0));
  EXPECT_EQ(cache_.memory().peak, 1024U);
  cache_.reset_peak();
  EXPECT_EQ(cache_.memory().peak, 512U);
}

TEST(StreamCache, GivesEverythingBackInTheEnd) {
  Played source;
  {
    StreamCache cache(source, "gpu");
    cache.allocate(4096, nullptr);
    cache.allocate(4096, nullptr);
    void* a = cache.allocate(30 * kMiB, nullptr);
    cache.used_on(a, reinterpret_cast<void*>(1));
    cache.deallocate(a);
  }
  EXPECT_EQ(source.used, 0U);
  EXPECT_EQ(source.releases, 2);
  EXPECT_TRUE(source.marks.at(0).forgotten);
}

}  // namespace
}  // namespace tiller
