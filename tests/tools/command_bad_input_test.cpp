// Bad files, given to the program: exit code 3 and a sentence that says what to do; never a crash.
#include "runtime/files/image.h"
#include "tests/tools/program_util.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;
using testing::tiller_expect;
using testing::tiller_run;
using testing::write_bytes;

struct Bad {
  const char* file;
  const char* what;
  const char* remedy;
};
class BadCheckpoint : public ::testing::TestWithParam<Bad> {};

TEST_P(BadCheckpoint, IsNamedWithItsRemedyByEveryCommandThatOpensIt) {
  const TemporaryFolder folder;
  const std::string file = data_file(GetParam().file);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"inspect", file},
        {"convert", file, folder / "out.pt"},
        {"graph", "--model_path", file},
        {"verify", "--model_path", file, "--reference", data_file("unet_plain.npz")}}) {
    const Ended ended = tiller_expect(3, words);
    EXPECT_THAT(ended.err, AllOf(HasSubstr("tiller: "), HasSubstr(GetParam().file),
                                 HasSubstr(GetParam().what), HasSubstr(GetParam().remedy)));
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_EQ(folder.entries(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadCheckpoint,
    ::testing::Values(
        Bad{"files/page.pt", "is an HTML page", "Fetch the file again"},
        Bad{"files/lfs.pt", "is a Git-LFS pointer", "run git lfs pull"},
        Bad{"files/script.pt", "is a TorchScript archive", "state_dict(), \"weights.pt\""},
        Bad{"files/edm.pkl", "is a plain Python pickle", "torch.save()"},
        Bad{"files/whole.pt", "a network saved whole", "torch.save(network.state_dict()"},
        Bad{"files/evil_root.pt", "posix.system", "torch.save(network.state_dict()"},
        Bad{"files/protocol4.pt", "protocol 4", "protocol"},
        Bad{"files/complex.pt", "ComplexFloatStorage", "Convert it to float"},
        Bad{"files/legacy_big_endian.pt", "big-endian", "load it in PyTorch and save it again"},
        Bad{"files/outside.pt", "does not lie in its storage", "outside.pt"},
        Bad{"files/tensor.pt", "a single tensor", "not a state dict"},
        Bad{"files/none.pt", "no such file", "cannot read"},
        Bad{"files", "it is a folder", "not a file"}),
    [](const auto& info) {
      std::string name = info.param.file;
      for (char& c : name)
        if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
      return name;
    });

TEST(BadCheckpoint, AnOptimizerGivenAsAModel) {
  const std::string file = data_file("loss_scale_opt.fp16.pt");
  for (const char* flag : {"--model_path", "--classifier_path"}) {
    const Ended ended = tiller_expect(
        3, {"verify", flag, file, "--reference",
            data_file(flag[2] == 'm' ? "unet_plain.npz" : "classifier_attention.npz")});
    EXPECT_THAT(ended.err, AllOf(HasSubstr("optimizer"), HasSubstr("model")));
  }
}

TEST(BadCheckpoint, AnEmptyFileAndAPipe) {
  const TemporaryFolder folder;
  std::ofstream(folder / "empty.pt");
  EXPECT_THAT(tiller_expect(3, {"inspect", folder / "empty.pt"}).err,
              HasSubstr("the file is empty"));
  EXPECT_THAT(tiller_expect(3, {"inspect", "/dev/null"}).err, HasSubstr("not a regular file"));
}

// A name out of a hostile file reaches no terminal as it is.
TEST(BadCheckpoint, MessagesHoldNoControlCharacters) {
  const TemporaryFolder folder;
  write_pt(folder / "a.pt", {{"\x1b[2Jw", Tensor::zeros({2})}});
  const Ended shown = tiller_expect(0, {"inspect", folder / "a.pt", "--tensors"});
  const Ended refused = tiller_expect(3, {"graph", "--model_path", folder / "a.pt"});
  EXPECT_EQ((shown.out + shown.err + refused.err).find('\x1b'), std::string::npos);
  EXPECT_THAT(refused.err, HasSubstr("?[2Jw"));
}

TEST(BadCheckpoint, ATensorThatIsMissingIsNamed) {
  const TemporaryFolder folder;
  auto tensors = testing::all_tensors(Checkpoint::open(data_file("unet_plain.pt")));
  std::erase_if(tensors,
                [](const NamedTensor& t) { return t.name == "middle_block.0.in_layers.0.bias"; });
  write_pt(folder / "short.pt", tensors);
  const Ended ended = tiller_expect(3, {"graph", "--model_path", folder / "short.pt"});
  EXPECT_THAT(ended.err,
              HasSubstr("1 missing from the file: middle_block.0.in_layers.0.bias [64]"));
}

struct Whole {
  const char* file;  // in tests/data; "" for one that the test writes
  const char* name;
};
class Damaged : public ::testing::TestWithParam<Whole> {
 protected:
  Bytes content(const TemporaryFolder& folder) const {
    if (*GetParam().file) return read_bytes(data_file(GetParam().file));
    const std::string path = folder / GetParam().name;
    if (path.ends_with(".png"))
      write_png(path, Tensor::zeros({40, 40, 3}, DType::u8), {{"tiller", "settings"}});
    else
      write_safetensors(path, testing::all_tensors(Checkpoint::open(data_file("unet_plain.pt"))),
                        {});
    Bytes bytes = read_bytes(path);
    std::filesystem::remove(path);
    return bytes;
  }
};

// tests/runtime/files_bad_input_test.cpp walks every offset of every reader; here the program's answer
// counts. A picture is no checkpoint, hence code 1, unless nothing is left to know it by. Damage that
// does no harm may pass; a signal or a failure without a word may not.
TEST_P(Damaged, CutShortAndFlipped) {
  const TemporaryFolder folder;
  const Bytes whole = content(folder);
  const std::string path = folder / GetParam().name;
  const bool picture = path.ends_with(".png");
  const auto judge = [&](const Bytes& bytes, bool must_fail) {
    write_bytes(path, bytes);
    const Ended ended = tiller_run({"inspect", path});
    EXPECT_TRUE(ended.code == 3 || (picture && ended.code == 1) || (ended.code == 0 && !must_fail))
        << ended.code << ended.err;
    if (ended.code != 0) {
      EXPECT_THAT(ended.err, AllOf(HasSubstr("tiller: "), HasSubstr(GetParam().name)));
    }
  };
  for (std::size_t i = 0; i < 12; ++i) {
    const std::size_t at = i < 4 ? i * 9 : whole.size() * i / 12;
    judge(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(at)), true);
    Bytes flipped = whole;
    flipped[at] = static_cast<std::uint8_t>(flipped[at] ^ (1u << (i % 8)));
    judge(flipped, false);
  }
  judge(Bytes(whole.begin(), whole.end() - 1), !picture);
}

INSTANTIATE_TEST_SUITE_P(Formats, Damaged,
                         ::testing::Values(Whole{"unet_plain.pt", "zip.pt"},
                                           Whole{"unet_plain.legacy.pt", "legacy.pt"},
                                           Whole{"loss_scale_opt.fp16.pt", "opt.pt"},
                                           Whole{"unet_plain.npz", "arrays.npz"},
                                           Whole{"files/plain.npy", "array.npy"},
                                           Whole{"", "a.safetensors"}, Whole{"", "a.png"}),
                         [](const auto& info) {
                           std::string name = info.param.name;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

}  // namespace
}  // namespace tiller
