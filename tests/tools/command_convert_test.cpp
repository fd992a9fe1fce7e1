// tiller convert, through the program: names, shapes and values are kept, and what cannot be written
// leaves what was there.
#include <cmath>
#include <cstring>

#include "nn/infer.h"
#include "runtime/random.h"
#include "tests/tools/program_util.h"
#include "tools/network.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;
using testing::tensor_named;
using testing::tiller_expect;
using Words = std::vector<std::string>;

bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

// Names in their order, shapes, and values, floating-point ones as `dtype` if one is given.
void expect_kept(const Checkpoint& from, const Checkpoint& to, std::optional<DType> dtype = {}) {
  ASSERT_EQ(from.tensors().size(), to.tensors().size());
  for (std::size_t i = 0; i < from.tensors().size(); ++i) {
    const FileTensor& source = from.tensors()[i];
    ASSERT_NE(to.find(source.name), nullptr) << source.name;
    if (to.format() == FileFormat::pt_zip) {  // safetensors are sorted by dtype and name
      EXPECT_EQ(source.name, to.tensors()[i].name);
    }
    Tensor value = from.read(source);
    if (dtype && is_floating(value.dtype())) value = cast_on_host(value, *dtype);
    EXPECT_TRUE(same_bytes(value, to.read(source.name))) << source.name;
  }
}

TEST(Convert, ThereAndBackFromEveryContainer) {
  const TemporaryFolder folder;
  for (const char* name :
       {"unet_plain.pt", "unet_plain.legacy.pt", "unet_plain.flat.pt", "unet_plain.parameters.pt",
        "unet_plain.half.pt", "files/little.pt", "files/big_endian.pt"}) {
    const Checkpoint source = Checkpoint::open(data_file(name));
    tiller_expect(0, {"convert", data_file(name), folder / "a.safetensors"});
    expect_kept(source, Checkpoint::open(folder / "a.safetensors"));
    tiller_expect(0, {"convert", folder / "a.safetensors", folder / "b.pt"});
    const Checkpoint back = Checkpoint::open(folder / "b.pt");
    EXPECT_EQ(back.tensors().size(), source.tensors().size());
    for (const FileTensor& tensor : source.tensors())
      EXPECT_TRUE(same_bytes(source.read(tensor), back.read(tensor.name))) << tensor.name;
    tiller_expect(0, {"convert", data_file(name), folder / "c.pt"});
    expect_kept(source, Checkpoint::open(folder / "c.pt"));
  }
}

TEST(Convert, DtypesRoundOnceAndLeaveIntegersAlone) {
  const TemporaryFolder folder;
  const std::pair<const char*, DType> dtypes[] = {
      {"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}};
  for (const char* name : {"unet_plain.pt", "unet_plain.half.pt", "files/little.pt"})
    for (const auto& [word, dtype] : dtypes)
      for (const char* out : {"a.safetensors", "a.pt"}) {
        tiller_expect(0, {"convert", data_file(name), folder / out, "--dtype", word});
        expect_kept(Checkpoint::open(data_file(name)), Checkpoint::open(folder / out), dtype);
      }
}

TEST(Convert, ReopeningNeedsNoAssumption) {
  const TemporaryFolder folder;
  const std::string out = folder / "a.safetensors";
  const Ended converted =
      tiller_expect(0, {"convert", data_file("unet_cond.pt"), out, "--num_head_channels", "32",
                        "--use_new_attention_order", "True", "--image_size", "16"});
  EXPECT_EQ(converted.err, "");
  EXPECT_THAT(converted.out, HasSubstr("217 tensors"));
  const Ended verified =
      tiller_expect(0, {"verify", "--model_path", out, "--reference", data_file("unet_cond.npz")});
  EXPECT_EQ(verified.err, "");  // no line of what was assumed
  // From safetensors to safetensors it stays, and a flag wins over it.
  tiller_expect(0, {"convert", out, folder / "b.safetensors", "--dtype", "f16"});
  EXPECT_EQ(Checkpoint::open(folder / "b.safetensors").metadata().at("tiller.config"),
            Checkpoint::open(out).metadata().at("tiller.config"));
  tiller_expect(1, {"verify", "--model_path", out, "--reference", data_file("unet_cond.npz"),
                    "--use_new_attention_order", "False"});
}

TEST(Convert, AnAssumptionThatIsStoredIsSaid) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      tiller_expect(0, {"convert", data_file("unet_plain.pt"), folder / "a.safetensors"}).err,
      AllOf(HasSubstr("assumed 4 heads (--num_heads 4)"), HasSubstr("convert again")));
  EXPECT_THAT(tiller_expect(0, {"convert", folder / "a.safetensors", folder / "a.pt"}).err,
              HasSubstr("the stored architecture is not kept"));
  const Ended other =
      tiller_expect(0, {"convert", data_file("files/little.pt"), folder / "b.safetensors"});
  EXPECT_THAT(other.err, HasSubstr("no architecture is stored"));
  EXPECT_THAT(other.out, HasSubstr("\"module.\" stripped"));
  EXPECT_THAT(tiller_expect(2, {"convert", data_file("unet_plain.pt"), folder / "c.safetensors",
                                "--num_channels", "64"})
                  .err,
              HasSubstr("--num_channels 64 contradicts"));
  EXPECT_FALSE(std::filesystem::exists(folder / "c.safetensors"));
}

TEST(Convert, ValuesTooLargeForHalfAreWarnedOf) {
  const TemporaryFolder folder;
  auto tensors = testing::all_tensors(Checkpoint::open(data_file("unet_plain.pt")));
  float* values = tensor_named(tensors, "out.2.bias").data<float>();
  values[0] = 1e5F;
  values[1] = INFINITY;  // was infinite before
  write_pt(folder / "large.pt", tensors);
  EXPECT_THAT(
      tiller_expect(0, {"convert", folder / "large.pt", folder / "a.pt", "--dtype", "f16"}).err,
      HasSubstr("warning: 1 values are too large for f16"));
  EXPECT_THAT(
      tiller_expect(0, {"convert", folder / "large.pt", folder / "a.pt", "--dtype", "bf16"}).err,
      Not(HasSubstr("too large")));
}

TEST(Convert, WhatIsNoWeightsIsRefused) {
  const TemporaryFolder folder;
  const auto says = [&](const std::string& in, const std::string& words) {
    EXPECT_THAT(tiller_expect(3, {"convert", data_file(in), folder / "a.pt"}).err,
                HasSubstr(words));
    EXPECT_EQ(folder.entries(), 0u);
  };
  says("loss_scale_opt.fp16.pt", "an optimizer's state, not weights; convert the model*.pt");
  says("files/script.pt", "TorchScript");
  says("files/page.pt", "HTML page");
  says("files/stored.npz", "numpy arrays");
  says("images/rgba.png", "picture");
  says("none.pt", "no such file");
}

TEST(Convert, WhatCannotBeWrittenLeavesWhatWasThere) {
  const TemporaryFolder folder;
  const std::string in = data_file("unet_plain.pt"), old = folder / "old.pt";
  std::ofstream(old) << "precious";
  const auto precious = [&] {
    return testing::read_bytes(old) == testing::Bytes{'p', 'r', 'e', 'c', 'i', 'o', 'u', 's'};
  };
  EXPECT_THAT(tiller_expect(1, {"convert", in, folder / "none/a.pt"}).err,
              HasSubstr("the folder does not exist"));
  std::filesystem::create_symlink("/dev/full", folder / "full.pt");
  EXPECT_THAT(tiller_expect(1, {"convert", in, folder / "full.pt"}).err,
              HasSubstr("No space left on device"));
  EXPECT_THAT(tiller_expect(1, {"convert", in, old}, {.file_limit = 100000}).err,
              HasSubstr("limit on file sizes"));
  EXPECT_TRUE(precious());
  std::filesystem::create_directory(folder / "folder.pt");
  EXPECT_THAT(tiller_expect(1, {"convert", in, folder / "folder.pt"}).err,
              HasSubstr("Is a directory"));
  EXPECT_THAT(tiller_expect(2, {"convert", in, folder / "a.bin"}).err,
              HasSubstr("the name of OUT decides the format"));
  EXPECT_EQ(folder.entries(), 3u);  // nothing half-written
}

TEST(Convert, AFoldedClassIsTheNetworkOfThatClass) {
  const TemporaryFolder folder;
  const std::string in = data_file("unet_cond.pt");
  tiller_expect(0, {"convert", in, folder / "a.safetensors", "--fold_class", "3"});
  const auto network = [](const std::string& path) {
    const Checkpoint checkpoint = Checkpoint::open(path);
    return load_network(checkpoint, infer(checkpoint));
  };
  const Network conditional = network(in), folded = network(folder / "a.safetensors");
  ASSERT_GT(conditional.num_classes(), 3);
  EXPECT_EQ(folded.num_classes(), 0);
  const std::int64_t size = conditional.image_size();
  const Tensor x = Tensor::empty({1, size, size, 3});
  fill_normal(x, {.seed = 1, .stream = RandomStream::x_start});
  const Tensor t = Tensor::from(std::vector<float>{400}, {1});
  const auto answer = [&](std::int64_t y) {
    return (*conditional.unet)(x, t, Tensor::from(std::vector<std::int64_t>{y}, {1})).value();
  };
  const Tensor out = (*folded.unet)(x, t, Tensor()).value();
  const auto difference = [&](const Tensor& a) {
    double distance = 0, norm = 0;
    const auto *p = a.data<float>(), *q = out.data<float>();
    for (std::int64_t i = 0; i < a.numel(); ++i) {
      distance += static_cast<double>((p[i] - q[i]) * (p[i] - q[i]));
      norm += static_cast<double>(p[i] * p[i]);
    }
    return std::sqrt(distance / norm);
  };
  EXPECT_LE(difference(answer(3)), 1e-5);
  EXPECT_GT(difference(answer(2)), 1e-3);
}

TEST(Convert, OnlyAClassThatIsThereIsFolded) {
  const TemporaryFolder folder;
  const std::string out = folder / "a.safetensors";
  const auto says = [&](int code, const char* file, const char* which, const char* text) {
    const std::string in = data_file(file);
    EXPECT_THAT(tiller_expect(code, {"convert", in, out, "--fold_class", which}).err,
                HasSubstr(text));
  };
  says(2, "unet_cond.pt", "100000", "no such class; there are numbers 0 to ");
  says(2, "unet_cond.pt", "cat", "no such class");
  says(3, "unet_plain.pt", "0", "has no label_emb.weight");
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(Convert, OntoItselfIsRefused) {
  const TemporaryFolder folder;
  std::filesystem::copy(data_file("unet_plain.pt"), folder / "a.pt");
  std::filesystem::create_symlink(folder / "a.pt", folder / "link.pt");
  std::filesystem::create_hard_link(folder / "a.pt", folder / "hard.pt");
  for (const char* out : {"a.pt", "link.pt", "hard.pt"})
    EXPECT_THAT(tiller_expect(2, {"convert", folder / "a.pt", folder / out}).err,
                HasSubstr("IN and OUT are the same file"));
  EXPECT_EQ(Checkpoint::open(folder / "a.pt").tensors().size(), 128u);
}

}  // namespace
}  // namespace tiller
