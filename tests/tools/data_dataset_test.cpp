#include "tools/data/dataset.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "runtime/files/image.h"
#include "runtime/files/npz.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::write_bytes;
namespace fs = std::filesystem;

// A folder with pictures of one pixel, whose red tells which one it is.
class Folder : public TemporaryFolder {
 public:
  Folder() = default;
  explicit Folder(const std::vector<std::string>& names) {
    for (const std::string& name : names) add(name);
  }
  void add(const std::string& name) {
    fs::create_directories(fs::path(*this / name).parent_path());
    write_png(*this / name,
              Tensor::from(Bytes{static_cast<std::uint8_t>(++count_), 50, 60}, {1, 1, 3}));
  }
  std::string path() const { return *this / ""; }

 private:
  int count_ = 0;
};

std::vector<std::int64_t> labels_of(const Dataset& data) {
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < data.size(); ++i) labels.push_back(data.label(i));
  return labels;
}

std::vector<int> reds(const Dataset& data) {
  std::vector<int> values;
  for (std::int64_t i = 0; i < data.size(); ++i)
    values.push_back(data.picture(i).data<std::uint8_t>()[0]);
  return values;
}

std::string open_error(const std::string& path, const DatasetOptions& options = {}) {
  ErrorKind kind{};
  const std::string message = error_of([&] { open_dataset(path, options); }, &kind);
  EXPECT_EQ(kind, ErrorKind::failed) << message;
  return message;
}

TEST(Dataset, ClassesFromNames) {
  const Folder folder({"dog_2.png", "cat_1.png", "big/dog_1_a.png", "cat_0.PNG"});
  const auto data = open_dataset(folder.path());
  EXPECT_THAT(data->class_names(), ElementsAre("cat", "dog"));
  EXPECT_THAT(reds(*data), ElementsAre(3, 4, 2, 1));  // in the order of their paths
  EXPECT_THAT(labels_of(*data), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(data->name(3), EndsWith("dog_2.png"));
  EXPECT_THAT(data->description(),
              AllOf(HasSubstr("4 pictures"), HasSubstr("underscore: cat, dog")));
  EXPECT_EQ(data->channels(), 3);
}

TEST(Dataset, ClassesFromFolders) {
  // Names with prefixes of their own do not count where the folders tell.
  const Folder folder({"b/img_1.png", "a/x/img_2.png", "b/shot_3.png"});
  const auto data = open_dataset(folder.path());
  EXPECT_THAT(data->class_names(), ElementsAre("a", "b"));
  EXPECT_THAT(labels_of(*data), ElementsAre(0, 1, 1));
  EXPECT_THAT(data->description(), HasSubstr("2 classes from the folders' names: a, b"));
  const auto named = open_dataset(folder.path(), {.labels = LabelSource::names});
  EXPECT_THAT(named->class_names(), ElementsAre("img", "shot"));
  const auto none = open_dataset(folder.path(), {.labels = LabelSource::none});
  EXPECT_THAT(none->class_names(), IsEmpty());
  EXPECT_THAT(labels_of(*none), ElementsAre(-1, -1, -1));
  EXPECT_THAT(none->description(), HasSubstr("no classes"));
}

TEST(Dataset, WithoutAnyClass) {
  for (const auto& names : {std::vector<std::string>{"1.png", "2.png"}, {"in/1.png", "in/2.png"}}) {
    const Folder folder(names);
    EXPECT_THAT(open_dataset(folder.path())->class_names(), IsEmpty());
    EXPECT_THAT(open_error(folder.path(), {.labels = LabelSource::names}),
                HasSubstr("1.png has no class before an underscore"));
  }
  const Folder folder({"1.png"});
  EXPECT_THAT(open_error(folder.path(), {.labels = LabelSource::folders}),
              HasSubstr("1.png stands in no folder"));
  // guided-diffusion would make an empty text a class.
  EXPECT_THAT(open_dataset(Folder({"_1.png"}).path())->class_names(), IsEmpty());
}

TEST(Dataset, SomeWithAClassAndSomeWithout) {
  EXPECT_THAT(open_error(Folder({"cat_1.png", "dog.png"}).path()),
              AllOf(HasSubstr("cat_1.png tells its class by its name and dog.png does not"),
                    HasSubstr("cat/0001.jpg")));
  EXPECT_THAT(open_error(Folder({"cat/1.png", "dog/1.png", "fish.png"}).path()),
              HasSubstr("cat/1.png tells its class by its folder and fish.png does not"));
  EXPECT_THAT(open_error(Folder({"cat/1.png", "dog_1.png"}).path()),
              HasSubstr("cat/1.png tells its class by its folder and dog_1.png does not"));
  // All have prefixes: those tell.
  EXPECT_THAT(
      open_dataset(Folder({"x/cat_1.png", "y/dog_1.png", "dog_2.png"}).path())->class_names(),
      ElementsAre("cat", "dog"));
}

TEST(Dataset, ValidationIsNumberedAsTraining) {
  const Folder folder({"dog_1.png", "ant_1.png"});
  const std::vector<std::string> table = {"ant", "bee", "cat", "dog"};
  const auto data = open_dataset(folder.path(), {.class_names = table});
  EXPECT_THAT(labels_of(*data), ElementsAre(0, 3));
  EXPECT_EQ(data->class_names(), table);
  EXPECT_THAT(open_error(folder.path(), {.class_names = {"bee", "ant"}}),
              AllOf(HasSubstr("class dog is not among the 2"), HasSubstr("bee, ant")));
  EXPECT_THAT(open_error(folder.path(), {.class_names = {"bee"}}),
              HasSubstr("classes ant, dog are not among the 1"));
}

TEST(Dataset, WhatIsNoPicture) {
  Folder folder;
  EXPECT_THAT(open_error(folder.path()), HasSubstr("no pictures"));
  write_bytes(folder / "notes.txt", {1});
  write_bytes(folder / "._cat_1.png", {1});
  EXPECT_THAT(open_error(folder.path()), HasSubstr("no pictures"));
  EXPECT_THAT(open_error(folder / "missing"), HasSubstr("no such file or folder"));
  EXPECT_THAT(open_error(folder / "notes.txt"), HasSubstr("no pictures"));
  write_bytes(folder / "all.zip", {1});
  EXPECT_THAT(open_error(folder / "all.zip"), HasSubstr("unpack it first"));
  write_bytes(folder / "data_batch_1", {1});
  EXPECT_THAT(open_error(folder.path()), HasSubstr("binary version"));
  write_bytes(folder / "bad_1.png", {1, 2, 3});
  folder.add("good_1.png");
  const auto data = open_dataset(folder.path());
  EXPECT_EQ(data->size(), 2);  // found out when it is read
  EXPECT_THAT(error_of([&] { data->picture(0); }), HasSubstr("bad_1.png"));
  EXPECT_EQ(data->picture(1).data<std::uint8_t>()[0], 1);
  EXPECT_THAT(error_of([&] { data->picture(2); }), HasSubstr("no picture 2"));
  EXPECT_EQ(open_dataset(folder / "good_1.png")->size(), 1);
}

TEST(Dataset, LinksAreFollowedButNotInCircles) {
  const Folder real({"1.png"});
  const Folder folder({"b/2.png"});
  fs::create_directory_symlink(real.path(), folder / "a");
  fs::create_directory_symlink(real.path(), folder / "c");
  fs::create_directory_symlink(folder.path(), folder / "b/back");
  const auto data = open_dataset(folder.path());
  EXPECT_THAT(data->class_names(), ElementsAre("a", "b", "c"));
  EXPECT_EQ(data->size(), 3);
}

TEST(Dataset, CachedOnlyWhereAllFit) {
  for (const std::size_t bytes : {5, 6}) {  // of the 6 that two pictures take
    const Folder folder({"1.png", "2.png"});
    const auto data = open_dataset(folder.path(), {.cache_bytes = bytes});
    EXPECT_THAT(reds(*data), ElementsAre(1, 2));
    fs::remove(folder / "1.png");
    if (bytes == 6)
      EXPECT_THAT(reds(*data), ElementsAre(1, 2));
    else
      EXPECT_THAT(error_of([&] { data->picture(0); }), HasSubstr("1.png"));
  }
}

TEST(Dataset, ChannelsAsAsked) {
  const Folder folder({"1.png"});
  const Tensor grey = open_dataset(folder.path(), {.channels = 1})->picture(0);
  EXPECT_EQ(grey.shape(), Shape({1, 1, 1}));
  EXPECT_EQ(grey.data<std::uint8_t>()[0], 36);  // 0.299 * 1 + 0.587 * 50 + 0.114 * 60 = 36.5
  EXPECT_THAT(open_error(folder.path(), {.channels = 4}), HasSubstr("3 channels"));
}

Bytes record(std::uint8_t label, std::uint8_t seed) {
  Bytes bytes = {label};
  for (int i = 0; i < 3072; ++i)
    bytes.push_back(static_cast<std::uint8_t>(i / 1024 * 64 + i % 7 + seed));
  return bytes;
}

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Dataset, CifarBatches) {
  const TemporaryFolder folder;
  write_bytes(folder / "data_batch_2.bin", record(9, 30));
  write_bytes(folder / "data_batch_1.bin", record(2, 10) + record(0, 20));
  write_bytes(folder / "test_batch.bin", record(5, 40));
  const auto plain = open_dataset(folder / "");
  EXPECT_EQ(plain->size(), 3);
  EXPECT_THAT(labels_of(*plain), ElementsAre(2, 0, 9));
  EXPECT_EQ(plain->class_names().size(), 10u);
  EXPECT_EQ(plain->class_names()[3], "3");
  EXPECT_THAT(plain->name(1), EndsWith("data_batch_1.bin[1]"));
  EXPECT_THAT(plain->name(2), EndsWith("data_batch_2.bin[0]"));
  const Tensor picture = plain->picture(2);
  ASSERT_EQ(picture.shape(), Shape({32, 32, 3}));
  for (std::int64_t p = 0; p < 1024; ++p)
    for (std::int64_t c = 0; c < 3; ++c)
      ASSERT_EQ(picture.data<std::uint8_t>()[p * 3 + c], c * 64 + (c * 1024 + p) % 7 + 30);

  std::string names = "plane\r\ncar\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
  write_bytes(folder / "batches.meta.txt", Bytes(names.begin(), names.end()));
  const auto test = open_dataset(folder / "test_batch.bin");
  EXPECT_THAT(labels_of(*test), ElementsAre(5));
  EXPECT_EQ(test->class_names()[5], "dog");
  EXPECT_EQ(test->class_names().size(), 10u);
  EXPECT_THAT(open_error(folder / "", {.class_names = {"dog"}}), HasSubstr("plane"));
  EXPECT_THAT(open_dataset(folder / "", {.labels = LabelSource::none})->class_names(), IsEmpty());

  ErrorKind kind{};
  write_bytes(folder / "test_batch.bin", record(5, 40) + Bytes{1});
  EXPECT_THAT(error_of([&] { open_dataset(folder / "test_batch.bin"); }, &kind),
              HasSubstr("3074 bytes are no multiple"));
  EXPECT_EQ(kind, ErrorKind::checkpoint);
  write_bytes(folder / "test_batch.bin", record(10, 40));
  EXPECT_THAT(error_of([&] { open_dataset(folder / "test_batch.bin"); }, &kind),
              HasSubstr("record 0 is of class 10"));
}

void write_npz(const std::string& path, const Tensor& pictures, const Tensor& labels) {
  NpzWriter file(path);
  file.write("arr_0", pictures);
  if (labels) file.write("arr_1", labels);
  file.finish();
}

TEST(Dataset, Npz) {
  const TemporaryFolder folder;
  const Tensor pictures = Tensor::from(Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {2, 3, 2, 1});
  write_npz(folder / "a.npz", pictures, Tensor::from(std::vector<std::int64_t>{4, 1}, {2}));
  const auto data = open_dataset(folder / "a.npz");
  EXPECT_EQ(data->size(), 2);
  EXPECT_EQ(data->channels(), 1);
  EXPECT_THAT(labels_of(*data), ElementsAre(4, 1));
  EXPECT_EQ(data->class_names().size(), 5u);
  EXPECT_EQ(data->picture(1).shape(), Shape({3, 2, 1}));
  EXPECT_THAT(data->picture(1).to_vector<std::uint8_t>(), ElementsAre(7, 8, 9, 10, 11, 12));
  EXPECT_THAT(open_dataset(folder / "a.npz", {.channels = 3})
                  ->picture(0)
                  .slice(0, 1)
                  .to_vector<std::uint8_t>(),
              ElementsAre(1, 1, 1, 2, 2, 2));
  // Numbers without names go by their number.
  const std::vector<std::string> table = {"a", "b", "c", "d", "e", "f"};
  const auto named = open_dataset(folder / "a.npz", {.class_names = table});
  EXPECT_EQ(named->class_names(), table);
  EXPECT_THAT(labels_of(*named), ElementsAre(4, 1));
  EXPECT_THAT(open_error(folder / "a.npz", {.class_names = {"a", "b", "c", "d"}}),
              HasSubstr("class 4 is not among the 4"));

  write_npz(folder / "b.npz", pictures, {});
  EXPECT_THAT(open_dataset(folder / "b.npz")->class_names(), IsEmpty());
  const auto damaged = [&](const Tensor& x, const Tensor& y) {
    write_npz(folder / "c.npz", x, y);
    ErrorKind kind{};
    const std::string message = error_of([&] { open_dataset(folder / "c.npz"); }, &kind);
    EXPECT_EQ(kind, ErrorKind::checkpoint);
    return message;
  };
  EXPECT_THAT(damaged(Tensor::zeros({2, 3, 2, 1}), {}), HasSubstr("arr_0 is f32"));
  EXPECT_THAT(damaged(pictures.reshape({2, 3, 2}), {}), HasSubstr("[2,3,2]"));
  EXPECT_THAT(damaged(pictures, Tensor::from(std::vector<std::int64_t>{1}, {1})),
              HasSubstr("arr_1"));
  EXPECT_THAT(damaged(pictures, Tensor::from(std::vector<std::int64_t>{1, -1}, {2})),
              HasSubstr("from -1 to 1"));
}

}  // namespace
}  // namespace tiller
