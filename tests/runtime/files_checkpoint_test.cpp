#include "runtime/files/checkpoint.h"

#include <gmock/gmock.h>

#include <cmath>
#include <set>

#include "runtime/files/mapped_file.h"
#include "runtime/files/torch_write.h"
#include "runtime/files/zip_directory.h"
#include "runtime/files/zip_writer.h"
#include "tests/runtime/files_util.h"

namespace tiller {
namespace {

using testing::Bytes;
using testing::data_file;
using testing::error_of;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;

Checkpoint open(const std::string& name) { return Checkpoint::open(data_file(name)); }

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.dense() && b.dense() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

void expect_equal(const Checkpoint& a, const Checkpoint& b) {
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const FileTensor& tensor : a.tensors()) {
    ASSERT_NE(b.find(tensor.name), nullptr) << tensor.name;
    EXPECT_TRUE(same_bytes(a.read(tensor), b.read(tensor.name))) << tensor.name;
  }
}

std::vector<NamedTensor> all_tensors(const Checkpoint& file) {
  std::vector<NamedTensor> tensors;
  for (const FileTensor& tensor : file.tensors())
    tensors.push_back({tensor.name, file.read(tensor)});
  return tensors;
}

// Where `part` stands in `bytes`.
std::ptrdiff_t position(const Bytes& bytes, const Bytes& part) {
  const auto found = std::search(bytes.begin(), bytes.end(), part.begin(), part.end());
  EXPECT_NE(found, bytes.end());
  return found - bytes.begin();
}

TEST(Checkpoint, StateDictOfANetwork) {
  const Checkpoint file = open("unet_plain.pt");
  EXPECT_EQ(file.format(), FileFormat::pt_zip);
  EXPECT_EQ(file.content(), FileContent::weights);
  EXPECT_EQ(file.tensors().size(), 128u);
  EXPECT_EQ(file.tensors()[0].name, "time_embed.0.weight");
  EXPECT_EQ(file.tensors()[0].shape, (std::vector<std::int64_t>{128, 32}));
  EXPECT_EQ(file.stripped(), "");
  EXPECT_TRUE(file.extras().empty());
  const Tensor stem = file.read("input_blocks.0.0.weight");
  EXPECT_EQ(stem.shape(), Shape({32, 3, 3, 3}));
  EXPECT_TRUE(stem.storage()->borrowed());  // no copy of a dense aligned tensor
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(stem.raw()) % 64, 0u);
  EXPECT_THAT(error_of([&] { file.read("input_blocks.0.0.wieght"); }),
              HasSubstr("the nearest is \"input_blocks.0.0.weight\""));
}

class Container : public ::testing::TestWithParam<const char*> {};

TEST_P(Container, HoldsTheSameWeights) { expect_equal(open("unet_plain.pt"), open(GetParam())); }

INSTANTIATE_TEST_SUITE_P(Checkpoint, Container,
                         ::testing::Values("unet_plain.legacy.pt", "unet_plain.flat.pt",
                                           "unet_plain.parameters.pt"));

TEST(Checkpoint, ContainersAreWhatTheySay) {
  EXPECT_EQ(open("unet_plain.legacy.pt").format(), FileFormat::pt_legacy);
  EXPECT_EQ(open("unet_plain.flat.pt").storages().size(), 2u);
  const Checkpoint parameters = open("unet_plain.parameters.pt");
  const auto strided = std::count_if(parameters.tensors().begin(), parameters.tensors().end(),
                                     [](const FileTensor& t) { return !t.dense(); });
  EXPECT_GT(strided, 0);  // channels last
}

TEST(Checkpoint, HalfIsTheRoundedFloat) {
  const Checkpoint full = open("unet_plain.pt"), half = open("unet_plain.half.pt");
  ASSERT_EQ(full.tensors().size(), half.tensors().size());
  for (const FileTensor& tensor : half.tensors()) {
    EXPECT_EQ(tensor.dtype, DType::f16);
    EXPECT_TRUE(same_bytes(half.read(tensor), cast_on_host(full.read(tensor.name), DType::f16)));
  }
}

// The files that are too large for the repository.
TEST(Checkpoint, ReferenceFolder) {
  const char* folder = std::getenv("TILLER_REFERENCE_DIR");
  if (!folder) GTEST_SKIP() << "TILLER_REFERENCE_DIR is not set";
  const std::string base = folder;
  expect_equal(open("unet_plain.pt"), Checkpoint::open(base + "/unet_plain.nested.pt"));
  const Checkpoint nested = Checkpoint::open(base + "/unet_plain.nested.pt");
  EXPECT_EQ(nested.stripped(), "model");
  EXPECT_EQ(nested.extras().at("step"), "12");
  const OptimizerFile optimizer = read_optimizer(base + "/train_end_opt.pt");
  EXPECT_EQ(optimizer.state.size(), 128u);
  EXPECT_EQ(optimizer.groups.at(0).params.size(), 128u);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(base)) {
    const std::string path = entry.path().string();
    if (!path.ends_with(".pt") || entry.file_size() == 0) continue;
    const Checkpoint file = Checkpoint::open(path);
    for (const FileTensor& tensor : file.tensors())
      EXPECT_EQ(file.read(tensor).numel(), tensor.numel()) << path;
    if (file.content() == FileContent::weights) {
      EXPECT_GT(file.tensors().size(), 50u) << path;
    } else {
      EXPECT_FALSE(read_optimizer(path).state.empty()) << path;
    }
  }
}

void expect_little(const Checkpoint& file) {
  EXPECT_EQ(file.stripped(), "module.");
  const std::vector<float> w = file.read("w").to_vector<float>();
  const std::vector<float> t = file.read("t").to_vector<float>();
  ASSERT_EQ(w.size(), 12u);
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(w[i], static_cast<float>(i));
  EXPECT_EQ(t, (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(file.read("row").to_vector<float>(), (std::vector<float>{8, 9, 10, 11}));
  EXPECT_EQ(file.read("n").to_vector<std::int64_t>(), (std::vector<std::int64_t>{5, -6}));
  EXPECT_EQ(file.read("flag").to_vector<bool>(), (std::vector<bool>{false, true}));
  EXPECT_EQ(file.read("x").rank(), 0);
  EXPECT_EQ(file.read("x").to_vector<double>(), (std::vector<double>{0.5}));
  EXPECT_EQ(file.read("none").shape(), Shape({0, 3}));
  EXPECT_EQ(file.read("many").to_vector<double>(), (std::vector<double>(4, 0.5)));
}

TEST(Checkpoint, ViewsStridesAndTypes) {
  expect_little(open("files/little.pt"));
  expect_little(open("files/big_endian.pt"));
  expect_little(open("files/legacy.pt"));
  EXPECT_EQ(open("files/legacy_view.pt").read("row").to_vector<float>(),
            (std::vector<float>{8, 9, 10, 11}));
}

TEST(Checkpoint, WrappersAndScalarsBesideThem) {
  const TemporaryFolder folder;
  const Tensor weight = Tensor::from(std::vector<float>{1, 2}, {2});
  PickleWriter pickle;
  pickle.begin_dict().begin_items(4).text("epoch").integer(3).text("name").text("adm");
  pickle.text("state_dict").begin_dict().begin_items(1).text("model").begin_dict().begin_items(2);
  pickle.text("module._orig_mod.a").tensor(weight).text("module._orig_mod.b").tensor(weight);
  pickle.end_items(2).end_items(1).text("lr").real(0.5).end_items(4);
  write_torch_zip(folder / "a.pt", std::move(pickle));
  const Checkpoint file = Checkpoint::open(folder / "a.pt");
  EXPECT_EQ(file.stripped(), "state_dict, model, module., _orig_mod.");
  EXPECT_EQ(file.extras(),
            (std::map<std::string, std::string>{{"epoch", "3"}, {"lr", "0.5"}, {"name", "adm"}}));
  EXPECT_EQ(file.read("b").to_vector<float>(), (std::vector<float>{1, 2}));
}

TEST(Checkpoint, LoadAndSaveIsByteEqual) {
  const TemporaryFolder folder;
  for (const char* source : {"unet_plain.pt", "unet_plain.half.pt", "files/little.pt"}) {
    const Checkpoint file = open(source);
    write_pt(folder / "a.pt", all_tensors(file));
    const Checkpoint pt = Checkpoint::open(folder / "a.pt");
    expect_equal(file, pt);
    for (std::size_t i = 0; i < file.tensors().size(); ++i)
      EXPECT_EQ(file.tensors()[i].name, pt.tensors()[i].name);
    write_safetensors(folder / "a.safetensors", all_tensors(file),
                      {{"tiller", "{\"x\": \"\\u00fc\"}"}});
    const Checkpoint safe = Checkpoint::open(folder / "a.safetensors");
    EXPECT_EQ(safe.format(), FileFormat::safetensors);
    EXPECT_EQ(safe.metadata().at("format"), "pt");
    EXPECT_EQ(safe.metadata().at("tiller"), "{\"x\": \"\\u00fc\"}");
    expect_equal(file, safe);
  }
  EXPECT_EQ(folder.entries(), 2u);
}

// The pickle of a state dict is PyTorch's own, opcode for opcode; PyTorch's has its _metadata
// behind.
TEST(Checkpoint, WrittenPickleIsPyTorchs) {
  const TemporaryFolder folder;
  write_pt(folder / "a.pt", all_tensors(open("unet_plain.pt")));
  const Bytes ours = read_bytes(folder / "a.pt"), theirs = read_bytes(data_file("unet_plain.pt"));
  const Bytes start = {0x80, 0x02, 'c', 'c', 'o', 'l', 'l', 'e', 'c', 't'};
  const auto end = position(ours, {'o', 'u', 't', '.', '2', '.', 'b', 'i', 'a', 's'});
  const auto begin = position(ours, start);
  ASSERT_GT(end - begin, 10000);
  EXPECT_TRUE(std::equal(ours.begin() + begin, ours.begin() + end,
                         theirs.begin() + position(theirs, start)));
}

// The archive too: PyTorch's records packed again under their own names give PyTorch's file.
TEST(Checkpoint, WrittenArchiveIsPyTorchs) {
  const TemporaryFolder folder;
  const auto mapped = MappedFile::open(data_file("unet_plain.pt"));
  ZipWriter zip(folder / "a.pt", ZipStyle::torch);
  for (const ZipMember& member : read_zip_directory(mapped->bytes(), "a.pt")) {
    zip.begin(member.name, member.size);
    zip.append(member.data.data(), member.data.size());
    zip.end();
  }
  zip.finish();
  EXPECT_TRUE(read_bytes(folder / "a.pt") == read_bytes(data_file("unet_plain.pt")));
}

TEST(Optimizer, FlatGroupsOfHalfTrainingAndTheirFile) {
  const TemporaryFolder folder;
  const std::string path = data_file("loss_scale_opt.fp16.pt");
  EXPECT_EQ(Checkpoint::open(path).content(), FileContent::optimizer);
  EXPECT_THAT(error_of([&] { Checkpoint::open(path).read("out.2.bias"); }),
              HasSubstr("optimizer's file"));
  const OptimizerFile file = read_optimizer(path);
  ASSERT_EQ(file.state.size(), 2u);
  EXPECT_EQ(file.state.at(0).exp_avg.shape(), Shape({4}));
  EXPECT_EQ(file.state.at(1).exp_avg_sq.shape(), Shape({1, 6}));
  EXPECT_GT(file.state.at(0).step, 0);
  EXPECT_FALSE(file.state.at(0).exp_avg.storage()->borrowed());
  ASSERT_EQ(file.groups.size(), 1u);
  EXPECT_EQ(file.groups[0].options.at("lr"), 0.01);
  EXPECT_EQ(file.groups[0].options.at("beta2"), 0.999);
  EXPECT_EQ(file.groups[0].params, (std::vector<std::int64_t>{0, 1}));

  // Written again it is PyTorch's file bit for bit, but for the name of the folder inside.
  write_optimizer(folder / "opt.pt", file);
  const Bytes ours = read_bytes(folder / "opt.pt"), theirs = read_bytes(path);
  const auto pickle_of = [](const Bytes& bytes) {
    return Bytes(bytes.begin() + position(bytes, {0x80, 0x02, '}', 'q'}),
                 bytes.begin() + position(bytes, {'u', 'a', 'u', '.'}) + 4);
  };
  EXPECT_EQ(pickle_of(ours), pickle_of(theirs));
  EXPECT_GT(pickle_of(ours).size(), 600u);
}

TEST(Optimizer, StepAsAPlainNumber) {
  const OptimizerFile file = read_optimizer(data_file("files/optimizer_int_step.pt"));
  EXPECT_EQ(file.state.at(0).step, 7);
  EXPECT_EQ(file.state.at(0).exp_avg_sq.to_vector<float>(), (std::vector<float>{3, 4}));
  EXPECT_EQ(file.groups.at(0).options.at("weight_decay"), 0.05);
  EXPECT_THAT(error_of([&] { read_optimizer(data_file("unet_plain.pt")); }),
              HasSubstr("holds weights"));
}

TEST(Checkpoint, ManyTensorsAreWrittenInBatches) {
  const TemporaryFolder folder;
  for (const int count : {0, 1, 999, 1000, 1001, 2000, 2001}) {
    std::vector<NamedTensor> tensors;
    for (int i = 0; i < count; ++i)
      tensors.push_back({fmt::format("t{}", i), Tensor::from(std::vector<std::int32_t>{i}, {1})});
    write_pt(folder / "a.pt", tensors);
    const Checkpoint file = Checkpoint::open(folder / "a.pt");
    ASSERT_EQ(file.tensors().size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
      ASSERT_EQ(*file.read(fmt::format("t{}", i)).data<std::int32_t>(), i);
  }
}

TEST(Checkpoint, NothingIsExecuted) {
  const std::string witness = "/tmp/tiller_was_here";
  std::filesystem::remove(witness);
  EXPECT_EQ(open("files/evil.pt").read("w").numel(), 12);  // the inert object does not matter
  EXPECT_THAT(error_of([] { open("files/evil_root.pt"); }), HasSubstr("system"));
  EXPECT_FALSE(std::filesystem::exists(witness));
}

struct Refusal {
  const char* file;
  const char* words;
};
class Refused : public ::testing::TestWithParam<Refusal> {};
TEST_P(Refused, InWords) {
  ErrorKind kind{};
  const std::string message = error_of([] { open(GetParam().file); }, &kind);
  EXPECT_THAT(message, HasSubstr(GetParam().words));
  EXPECT_THAT(message, HasSubstr(GetParam().file));
  EXPECT_EQ(kind, ErrorKind::checkpoint);
}
INSTANTIATE_TEST_SUITE_P(
    Checkpoint, Refused,
    ::testing::Values(Refusal{"files/script.pt", "TorchScript"},
                      Refusal{"files/page.pt", "HTML page"},
                      Refusal{"files/lfs.pt", "git lfs pull"}, Refusal{"files/edm.pkl", "EDM"},
                      Refusal{"files/whole.pt", "class user.code.Net"},
                      Refusal{"files/protocol4.pt", "protocol 4"},
                      Refusal{"files/legacy_big_endian.pt", "big-endian"},
                      Refusal{"files/complex.pt", "ComplexFloatStorage"},
                      Refusal{"files/outside.pt", "does not lie in its storage"},
                      Refusal{"files/tensor.pt", "a single tensor"},
                      Refusal{"files/stored.npz", "numpy"},
                      Refusal{"files/none.pt", "no such file"}));

TEST(Checkpoint, OtherFilesAreNamed) {
  const auto parse = [](const std::string& bytes) {
    return error_of([&] {
      Checkpoint::parse(MappedFile::copy(
          ByteSpan(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), "x.pt"));
    });
  };
  std::string tar(600, '\0');
  tar.replace(257, 5, "ustar");
  EXPECT_THAT(parse(tar), HasSubstr("tar archive"));
  EXPECT_THAT(parse("PK"), HasSubstr("truncated download"));
  EXPECT_THAT(parse(std::string(5000, '\0')), HasSubstr("holds zeros"));
  EXPECT_THAT(parse("\x89PNG\r\n\x1a\n"), HasSubstr("picture"));
  EXPECT_THAT(parse("some words in a text file"), HasSubstr("no checkpoint"));
}

TEST(Checkpoint, TruncatedDownloadsSaySo) {
  for (const char* name : {"unet_plain.pt", "unet_plain.legacy.pt"}) {
    const Bytes file = read_bytes(data_file(name));
    const auto half = MappedFile::copy(ByteSpan(file).first(file.size() / 2), "half.pt");
    EXPECT_THAT(error_of([&] { Checkpoint::parse(half); }), HasSubstr("truncated download"));
  }
}

TEST(Checkpoint, DamagedWeightsAreNoticed) {
  Bytes file = read_bytes(data_file("unet_plain.pt"));
  const Checkpoint whole = open("unet_plain.pt");
  const Tensor tensor = whole.read("out.2.weight");
  const auto* first = static_cast<const std::uint8_t*>(tensor.raw());
  const auto at =
      std::search(file.begin(), file.end(), first, first + tensor.bytes()) - file.begin();
  file[static_cast<std::size_t>(at) + 5] ^= 4;
  const Checkpoint damaged = Checkpoint::parse(MappedFile::copy(file, "damaged.pt"));
  EXPECT_THAT(error_of([&] { damaged.read("out.2.weight"); }), HasSubstr("checksum"));
  EXPECT_EQ(damaged.read("out.2.bias").numel(), 3);
}

TEST(Checkpoint, FromTensors) {
  const Checkpoint made = Checkpoint::from_tensors(
      {{"a", Tensor::from(std::vector<float>{1, 2, 3, 4}, {2, 2})}}, {{"k", "v"}});
  EXPECT_EQ(made.find("a")->shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_TRUE(made.find("a")->dense());
  EXPECT_EQ(made.read("a").to_vector<float>(), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(made.metadata().at("k"), "v");
  EXPECT_EQ(made.path(), "");
}

TEST(Cast, RoundsOnceToNearestEven) {
  const auto one = [](double x, DType to) {
    return *cast_on_host(cast_on_host(Tensor::from(std::vector<double>{x}, {1}), to), DType::f64)
                .data<double>();
  };
  EXPECT_EQ(one(1 + 1.0 / 2048, DType::f16), 1.0);  // a tie goes to even
  EXPECT_EQ(one(1 + 3.0 / 2048, DType::f16), 1 + 2.0 / 1024);
  EXPECT_EQ(one(1 + 1.0 / 2048 + 1e-12, DType::f16), 1 + 1.0 / 1024);  // twice would lose the 1e-12
  EXPECT_EQ(one(1 + 1.0 / 256, DType::bf16), 1.0);
  EXPECT_EQ(one(1 + 1.0 / 256 + 1e-12, DType::bf16), 1 + 1.0 / 128);
  EXPECT_EQ(one(-(1 + 1.0 / 256 + 1e-12), DType::bf16), -(1 + 1.0 / 128));
  EXPECT_EQ(one(1e300, DType::f16), INFINITY);
  EXPECT_EQ(one(0.1, DType::f32), static_cast<double>(0.1f));
  EXPECT_TRUE(std::isnan(one(NAN, DType::bf16)));
  EXPECT_THAT(error_of([] { cast_on_host(Tensor::zeros({1}, DType::i64), DType::f32); }),
              HasSubstr("no floating-point type"));
}

// A header of safetensors, its length before it, and a buffer behind.
std::shared_ptr<const MappedFile> safetensors(const std::string& header, std::size_t buffer) {
  const std::uint64_t length = header.size();
  Bytes bytes(8);
  std::memcpy(bytes.data(), &length, 8);
  bytes.insert(bytes.end(), header.begin(), header.end());
  bytes.resize(bytes.size() + buffer);
  return MappedFile::copy(bytes, "x.safetensors");
}

TEST(Safetensors, ValidHeaders) {
  const auto file = Checkpoint::parse(safetensors(
      R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]},)"
      R"("a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},)"
      R"("e":{"dtype":"F16","shape":[3,0],"data_offsets":[9,9]},"__metadata__":{"x":"y"}}   )",
      9));
  EXPECT_EQ(file.tensors().size(), 3u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.read("b").numel(), 2);  // at an odd address: copied
  EXPECT_EQ(file.read("e").shape(), Shape({3, 0}));
  EXPECT_EQ(file.metadata().at("x"), "y");
  EXPECT_EQ(Checkpoint::parse(safetensors("{}", 0)).tensors().size(), 0u);
}

TEST(Safetensors, EveryRuleOfTheValidator) {
  const std::string good = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  const std::vector<std::pair<std::string, std::size_t>> bad = {
      {"{" + good + "}", 3},                                            // a byte behind
      {"{" + good + "}", 1},                                            // truncated
      {"{" + good + "," + good + "}", 4},                               // twice
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3},  // a hole
      {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}})", 2},  // wrong size
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
       R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
       3},                                                                   // overlap
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 2},       // backwards
      {R"({"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}})", 2},  // not read
      {R"({"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})", 2},
      {R"({"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}})", 2},
      {R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})",
       0},  // overflow
      {R"({"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}})", 0},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,2]}})", 2},
      {R"({"a":{"dtype":"U8","shape":[2]}})", 2},
      {R"({"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"x":[1]}})", 2},
      {R"({"a":{"dtype":"U8","shape":{},"data_offsets":[0,2]}})", 2},
      {R"({"":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2},
      {R"({"__metadata__":{"x":1}})", 0},
      {R"({"__metadata__":{"x":"1","x":"2"}})", 0},
      {R"({"__metadata__":"x"})", 0},
      {R"({"a":null})", 0},
      {R"({"a":[1]})", 0},
      {"{\"a\":{\"dtype\":\"\xff\"}}", 0},
      {"{", 0},
      {"{}x", 0},
  };
  for (const auto& [header, buffer] : bad) {
    ErrorKind kind{};
    EXPECT_NE(
        error_of([&, h = header, b = buffer] { Checkpoint::parse(safetensors(h, b)); }, &kind), "")
        << header;
    EXPECT_EQ(kind, ErrorKind::checkpoint) << header;
  }
}

}  // namespace
}  // namespace tiller
