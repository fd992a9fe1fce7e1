#include "tools/data/loader.h"

#include <gmock/gmock.h>

#include <map>
#include <set>

#include "tests/runtime/files_util.h"
#include "tools/data/crop.h"
#include "tools/data/order.h"

namespace tiller {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using Values = std::vector<float>;

// Pictures of 6x4 pixels in two channels: the first tells which picture it is, the second the
// pixel.
class Numbered final : public Dataset {
 public:
  explicit Numbered(std::int64_t size, std::set<std::int64_t> broken = {}, bool classes = true)
      : broken_(std::move(broken)) {
    size_ = size;
    channels_ = 2;
    description_ = "numbers";
    if (!classes) return;
    class_names_ = {"even", "odd"};
    for (std::int64_t i = 0; i < size; ++i) labels_.push_back(i % 2);
  }
  std::string name(std::int64_t i) const override { return std::to_string(i); }

 protected:
  Tensor read(std::int64_t i) const override {
    TILLER_CHECK(!broken_.contains(i), "picture {} is broken", i);
    std::vector<std::uint8_t> pixels;
    for (int p = 0; p < 24; ++p) {
      pixels.push_back(static_cast<std::uint8_t>(i));
      pixels.push_back(static_cast<std::uint8_t>(p * 10));
    }
    return Tensor::from(pixels, {6, 4, 2});
  }

 private:
  std::set<std::int64_t> broken_;
};

std::shared_ptr<const Dataset> numbered(std::int64_t size, std::set<std::int64_t> broken = {}) {
  return std::make_shared<Numbered>(size, std::move(broken));
}

// Which pictures a batch holds, by their first channel.
std::vector<int> pictures(const Batch& batch) {
  std::vector<int> out;
  if (!batch.x) return out;
  const Values x = batch.x.to_vector<float>();
  for (std::int64_t i = 0; i < batch.x.dim(0); ++i)
    out.push_back(static_cast<int>(std::lround(
        (x[static_cast<std::size_t>(i * batch.x.numel() / batch.x.dim(0))] + 1) * 127.5f)));
  return out;
}

LoaderOptions options(std::int64_t batch_size, Epochs epochs = Epochs::cycle) {
  return {.batch_size = batch_size, .image_size = 4, .epochs = epochs};
}

LoaderOptions in_order(std::int64_t batch_size, Epochs epochs = Epochs::cycle) {
  LoaderOptions out = options(batch_size, epochs);
  out.shuffle = false;
  return out;
}

TEST(Order, EachEpochIsAnotherPermutation) {
  Order order(50, 1, true), other(50, 2, true);
  std::vector<std::int64_t> first, second, seeded;
  for (std::int64_t place = 0; place < 50; ++place) {
    first.push_back(order.picture(place));
    seeded.push_back(other.picture(place));
  }
  for (std::int64_t place = 50; place < 100; ++place) second.push_back(order.picture(place));
  EXPECT_NE(first, second);
  EXPECT_NE(first, seeded);
  for (const auto& epoch : {first, second})
    EXPECT_EQ(std::set<std::int64_t>(epoch.begin(), epoch.end()).size(), 50u);
  EXPECT_EQ(order.picture(17), first[17]);  // back again
  EXPECT_EQ(Order(50, 1, false).picture(117), 17);
}

TEST(Order, EveryPictureComesEverywhere) {
  std::map<std::pair<std::int64_t, std::int64_t>, int> seen;  // (place, picture)
  Order order(5, 3, true);
  for (std::int64_t place = 0; place < 5 * 2000; ++place) ++seen[{place % 5, order.picture(place)}];
  EXPECT_EQ(seen.size(), 25u);
  for (const auto& [where, count] : seen) EXPECT_NEAR(count, 400, 80);
}

TEST(Order, ChanceBelongsToThePictureAndItsEpoch) {
  const Order order(8, 5, true);
  const auto word = [&](std::int64_t place, std::int64_t picture) {
    return order.draw(place, picture).v[0];
  };
  EXPECT_EQ(word(1, 6), word(7, 6));  // wherever it stands in the epoch
  EXPECT_NE(word(1, 6), word(9, 6));  // not in the next
  EXPECT_NE(word(1, 6), word(1, 5));
  EXPECT_NE(word(1, 6), Order(8, 6, true).draw(1, 6).v[0]);
}

TEST(Loader, NumbersAreTheNetworks) {
  Loader loader(numbered(3), in_order(2));
  const Batch batch = loader.next();
  ASSERT_EQ(batch.x.shape(), Shape({2, 4, 4, 2}));
  EXPECT_THAT(batch.y.to_vector<std::int64_t>(), ElementsAre(0, 1));
  // The middle of 6 rows starts at the second: pixel 4, whose second channel is 40.
  EXPECT_EQ(batch.x.to_vector<float>()[0], -1.0f);
  EXPECT_EQ(batch.x.to_vector<float>()[1], 40 / 127.5f - 1);
  EXPECT_EQ(batch.x.to_vector<float>()[32], 1 / 127.5f - 1);
  Loader plain(std::make_shared<Numbered>(3, std::set<std::int64_t>{}, false), in_order(2));
  EXPECT_FALSE(plain.next().y);
}

TEST(Loader, EpochsGoOnWithinABatch) {
  Loader loader(numbered(3), in_order(2));
  EXPECT_THAT(pictures(loader.next()), ElementsAre(0, 1));
  const Batch second = loader.next();
  EXPECT_THAT(pictures(second), ElementsAre(2, 0));
  EXPECT_EQ(second.first, 2);
  EXPECT_EQ(loader.position(), 4);
  Loader few(numbered(3), in_order(8));  // fewer pictures than a batch
  EXPECT_THAT(pictures(few.next()), ElementsAre(0, 1, 2, 0, 1, 2, 0, 1));
}

TEST(Loader, AnUnfinishedBatchIsDropped) {
  Loader loader(numbered(5), in_order(2, Epochs::drop));
  std::vector<std::vector<int>> batches;
  for (int i = 0; i < 3; ++i) batches.push_back(pictures(loader.next()));
  EXPECT_THAT(batches, ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(0, 1)));
  EXPECT_EQ(loader.position(), 7);
  EXPECT_EQ(loader.next().first, 7);
  Loader exact(numbered(4), in_order(2, Epochs::drop));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(exact.next().first, 2 * i);
  Loader few(numbered(3), in_order(4, Epochs::drop));
  EXPECT_THAT(pictures(few.next()), ElementsAre(0, 1, 2, 0));
}

TEST(Loader, OneEpoch) {
  Loader loader(numbered(5), in_order(2, Epochs::once));
  EXPECT_THAT(pictures(loader.next()), ElementsAre(0, 1));
  EXPECT_THAT(pictures(loader.next()), ElementsAre(2, 3));
  const Batch last = loader.next();
  EXPECT_THAT(pictures(last), ElementsAre(4));
  EXPECT_THAT(last.y.to_vector<std::int64_t>(), ElementsAre(0));
  EXPECT_FALSE(loader.next());
  EXPECT_FALSE(loader.next());
  EXPECT_EQ(loader.position(), 5);
  loader.seek(3);
  EXPECT_THAT(pictures(loader.next()), ElementsAre(3, 4));
  loader.seek(9);
  EXPECT_FALSE(loader.next());
}

std::vector<Values> batches(Loader& loader, int count) {
  std::vector<Values> out;
  for (int i = 0; i < count; ++i) out.push_back(loader.next().x.to_vector<float>());
  return out;
}

TEST(Loader, GoesOnFromAnyPlaceWithAnyThreads) {
  LoaderOptions random = options(17);
  random.random_crop = random.random_flip = true;
  random.seed = 11;
  random.threads = 1;
  const auto data = numbered(23, {4, 19});
  Loader straight(data, random);
  std::vector<std::int64_t> places;
  std::vector<Values> expected;
  for (int i = 0; i < 12; ++i) {
    places.push_back(straight.position());
    expected.push_back(straight.next().x.to_vector<float>());
  }
  for (const int threads : {2, 5}) {
    random.threads = threads;
    random.read_ahead = threads;
    Loader loader(data, random);
    EXPECT_EQ(batches(loader, 12), expected);
    for (const std::size_t i : {9u, 0u, 4u}) {  // forth and back
      loader.seek(places[i]);
      EXPECT_EQ(loader.position(), places[i]);
      EXPECT_EQ(batches(loader, 2), (std::vector<Values>{expected[i], expected[i + 1]}));
    }
  }
  random.seed = 12;
  Loader other(data, random);
  EXPECT_NE(batches(other, 1)[0], expected[0]);
}

TEST(Loader, FlipsHalfOfThePictures) {
  LoaderOptions flipping = in_order(100);
  flipping.random_flip = true;
  Loader loader(numbered(100), flipping);
  const Values first = loader.next().x.to_vector<float>(),
               second = loader.next().x.to_vector<float>();
  const Order order(100, 0, false);
  int flipped = 0, changed = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    // A row's second channel runs 40, 50, 60, 70, or back.
    const float left = first[i * 32 + 1], right = first[i * 32 + 7];
    EXPECT_EQ(std::min(left, right), 40 / 127.5f - 1);
    EXPECT_EQ(std::max(left, right), 70 / 127.5f - 1);
    flipped += left > right;
    // By a word of its own: which pictures are mirrored says nothing about where they are cut.
    EXPECT_EQ(
        left > right,
        order.draw(static_cast<std::int64_t>(i), static_cast<std::int64_t>(i)).v[3] >> 31 == 1);
    changed += left != second[i * 32 + 1];
  }
  EXPECT_NEAR(flipped, 50, 15);
  EXPECT_NEAR(changed, 50, 15);  // another choice in the next epoch
}

TEST(Loader, RandomCropsAreThose) {
  LoaderOptions cropping = in_order(6);
  cropping.random_crop = true;
  cropping.seed = 2;
  const auto data = numbered(6);
  Loader loader(data, cropping);
  loader.seek(6);
  const Values x = loader.next().x.to_vector<float>();
  const Order order(6, 2, false);
  std::set<Values> different;
  for (std::int64_t i = 0; i < 6; ++i) {
    const Tensor square = random_crop(data->picture(i), 4, order.draw(6 + i, i));
    Values expected;
    for (const std::uint8_t p : square.to_vector<std::uint8_t>())
      expected.push_back(static_cast<float>(p) / 127.5f - 1);
    EXPECT_EQ(Values(x.begin() + i * 32, x.begin() + (i + 1) * 32), expected);
    for (std::size_t p = 0; p < expected.size(); p += 2) expected[p] = 0;  // which picture it is
    different.insert(expected);
  }
  EXPECT_GT(different.size(), 2u);
}

TEST(Loader, UnreadableAreNamedOnceAndPassedOver) {
  ::testing::internal::CaptureStderr();
  Loader loader(numbered(5, {1, 3}), in_order(2));
  EXPECT_THAT(pictures(loader.next()), ElementsAre(0, 2));
  EXPECT_EQ(loader.position(), 3);
  EXPECT_THAT(pictures(loader.next()), ElementsAre(4, 0));
  EXPECT_EQ(loader.position(), 6);
  EXPECT_THAT(pictures(loader.next()), ElementsAre(2, 4));
  EXPECT_EQ(loader.unreadable(), 2);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(said,
            "warning: a picture is left out: picture 1 is broken\n"
            "warning: a picture is left out: picture 3 is broken\n");
}

TEST(Loader, NeverLoopsForEver) {
  ::testing::internal::CaptureStderr();
  const std::set<std::int64_t> all = {0, 1, 2, 3};
  for (const Epochs epochs : {Epochs::cycle, Epochs::once}) {
    Loader loader(numbered(4, all), options(2, epochs));
    EXPECT_THAT(error_of([&] { loader.next(); }), HasSubstr("none of them can be read"));
  }
  Loader none(numbered(4, all), options(2, Epochs::drop));
  EXPECT_THAT(error_of([&] { none.next(); }), HasSubstr("0 of them can be read"));
  Loader few(numbered(4, {0, 1, 2}), options(2, Epochs::drop));
  EXPECT_THAT(error_of([&] { few.next(); }), HasSubstr("1 of them can be read"));
  Loader one(numbered(4, {0, 1, 2}), options(3));
  EXPECT_THAT(pictures(one.next()), ElementsAre(3, 3, 3));
  Loader half(numbered(2, {0}), options(9));
  EXPECT_THAT(pictures(half.next()), ::testing::Each(1));
  ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(error_of([&] { Loader(numbered(4), options(0)); }), HasSubstr("at least 1"));
}

// A dataset that fails for a reason that has nothing to do with a picture.
class OutOfMemory final : public Dataset {
 public:
  OutOfMemory() { size_ = 4; }
  std::string name(std::int64_t) const override { return ""; }

 protected:
  Tensor read(std::int64_t) const override { fail(ErrorKind::out_of_memory, "no memory"); }
};

TEST(Loader, OtherFailuresReachTheCaller) {
  Loader loader(std::make_shared<OutOfMemory>(), options(2));
  ErrorKind kind{};
  EXPECT_THAT(error_of([&] { loader.next(); }, &kind), HasSubstr("no memory"));
  EXPECT_EQ(kind, ErrorKind::out_of_memory);
}

}  // namespace
}  // namespace tiller
