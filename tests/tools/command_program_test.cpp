// The program as a whole: help, usage errors, exit codes, and what a shell can do to its streams.
#include "runtime/files/npz.h"
#include "tests/tools/program_util.h"
#include "tools/program.h"

namespace tiller {
namespace {

using ::testing::AllOf;
using testing::data_file;
using testing::Ended;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Setting;
using testing::TemporaryFolder;
using testing::tiller_expect;

TEST(Program, HelpListsEveryCommand) {
  const Ended help = tiller_expect(0, {"--help"});
  EXPECT_EQ(help.err, "");
  for (const Command& command : commands())
    EXPECT_THAT(help.out, HasSubstr(std::string("  ") + command.name));
  EXPECT_THAT(help.out, AllOf(HasSubstr("exit codes: 0 done"), HasSubstr("130 interrupted")));
  EXPECT_EQ(tiller_expect(0, {"-h"}).out, help.out);
  EXPECT_EQ(tiller_expect(0, {"help"}).out, help.out);
  EXPECT_EQ(tiller_expect(2, {}).out, help.out);
  EXPECT_EQ(tiller_expect(0, {"--version"}).out.rfind("tiller ", 0), 0u);
}

TEST(Program, EveryCommandHasItsHelp) {
  for (const Command& command : commands()) {
    const Ended help = tiller_expect(0, {command.name, "--help"});
    EXPECT_EQ(help.err, "");
    EXPECT_THAT(help.out, HasSubstr(std::string("tiller ") + command.name));
    for (const std::string_view flag : command_spec(command.name).flags)
      EXPECT_THAT(help.out, HasSubstr("--" + std::string(flag) + " "));
    EXPECT_EQ(tiller_expect(0, {"help", command.name}).out, help.out);
    EXPECT_EQ(tiller_expect(0, {command.name, "-h"}).out, help.out);
  }
}

TEST(Program, WrongWordsNameTheRightOnes) {
  const auto says = [](const std::vector<std::string>& arguments, const std::string& words) {
    const Ended ended = tiller_expect(2, arguments);
    EXPECT_THAT(ended.err, AllOf(HasSubstr("tiller: "), HasSubstr(words)));
    EXPECT_EQ(ended.out, "");
  };
  says({"verifi"}, "unknown command 'verifi'; did you mean verify?");
  says({"nonsense"}, "unknown command 'nonsense'; tiller --help lists them");
  says({"help", "inspct"}, "did you mean inspect?");
  says({"devices", "--jsn"}, "unknown flag --jsn; did you mean --json?");
  says({"verify", "--num-head-channel", "3"}, "did you mean --num_head_channels?");
  says({"verify", "--tolerance", "much"}, "--tolerance: 'much' is not allowed");
  says({"verify", "--tolerance"}, "--tolerance needs a value");
  says({"inspect"}, "FILE is missing");
  says({"inspect", "a", "b"}, "unexpected argument 'b'");
  says({"convert", "a.pt", "b.pt", "--dtype", "f8"}, "keep, f32, f16, bf16");
  says({"verify"}, "--model_path FILE or --classifier_path FILE");
  says({"verify", "--model_path", "a.pt"}, "--reference FILE.npz");
  says({"verify", "--model_path", "a", "--reference", "r", "--device", "tpu"}, "tpu");
  says({"verify", "--model_path", "a", "--reference", "r", "--device", "meta"}, "cpu");
}

TEST(Program, ZeroThreadsAreEveryCore) {
  tiller_expect(0, {"gradcheck", "silu", "--threads", "0"});
  EXPECT_THAT(tiller_expect(2, {"gradcheck", "silu", "--threads", "5000"}).err,
              HasSubstr("5000 is not a number of threads"));
}

TEST(Program, AReaderThatStopsIsNoFailure) {
  const Setting closed{.closed_pipe = true};
  const std::string model = data_file("unet_plain.pt");
  // Little text fails when it is flushed at the end, much as it is printed.
  EXPECT_EQ(tiller_expect(141, {"devices"}, closed).err, "");
  const Ended much = tiller_expect(141, {"inspect", model, "--tensors"}, closed);
  EXPECT_THAT(much.err, Not(HasSubstr("tiller: ")));
  // A verdict is not lost.
  tiller_expect(1,
                {"verify", "--model_path", model, "--reference", data_file("unet_plain.npz"),
                 "--num_heads", "2"},
                closed);
}

TEST(Program, AFullDiskBehindTheOutputIsToldAndFails) {
  const std::string model = data_file("unet_plain.pt");
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"devices"}, {"inspect", model, "--tensors"}, {"--help"}}) {
    const Ended ended = tiller_expect(1, arguments, {.out = "/dev/full"});
    EXPECT_THAT(ended.err, HasSubstr("could not write the output: No space left on device"));
  }
}

TEST(Program, NobodyToTellIsNoCrash) {
  tiller_expect(3, {"inspect", "none.pt"}, {.err = "/dev/full"});
  tiller_expect(2, {"nonsense"}, {.close_err = true});
}

// Without care the file that is written would get the closed stream's number, and the messages.
TEST(Program, AClosedErrorStreamIsNotTheNextFile) {
  const TemporaryFolder folder;
  tiller_expect(0, {"convert", data_file("unet_plain.pt"), folder / "a.safetensors"},
                {.close_err = true});
  EXPECT_EQ(Checkpoint::open(folder / "a.safetensors").tensors().size(), 128u);
}

TEST(Program, CtrlCIs130) {
  const Ended ended = tiller_expect(130, {"gradcheck"}, {.interrupt = true});
  EXPECT_THAT(ended.out, Not(HasSubstr("checked, ")));
}

#if !defined(__SANITIZE_ADDRESS__)  // which takes all address space there is
TEST(Program, OutOfMemoryIs4) {
  const TemporaryFolder folder;
  {
    NpzWriter writer(folder / "big.npz", true);
    writer.write("x", Tensor::zeros({600, 3, 64, 64}));
    writer.write("t", Tensor::zeros({600}));
    writer.write("out", Tensor::zeros({600, 3, 64, 64}));
    writer.finish();
  }
  const Ended ended = tiller_expect(4,
                                    {"verify", "--model_path", data_file("unet_plain.pt"),
                                     "--reference", folder / "big.npz", "--threads", "1"},
                                    {.memory_limit = std::size_t{400} << 20});
  EXPECT_THAT(ended.err, HasSubstr("use a smaller batch or smaller pictures"));
}
#endif

TEST(Program, TraceIsASetting) {
  setenv("TILLER_TRACE", "1", 1);
  const Ended traced = tiller_expect(0, {"gradcheck", "silu", "--network", "none"});
  setenv("TILLER_TRACE", "loud", 1);
  const Ended wrong = tiller_expect(2, {"devices"});
  unsetenv("TILLER_TRACE");
  EXPECT_THAT(traced.err, HasSubstr("unary:reference"));
  EXPECT_THAT(wrong.err, HasSubstr("TILLER_TRACE=loud is not 0, 1 or 2"));
}

TEST(Program, BenchIsTheProgramBesideThisOne) {
  const TemporaryFolder folder;
  const std::string alone = folder / "tiller";
  std::filesystem::copy(TILLER_PROGRAM, alone);
  const std::string command = alone + " bench --help 2>" + (folder / "err");
  const int code = std::system(command.c_str());  // NOLINT(cert-env33-c): a copy without neighbours
  EXPECT_EQ(WEXITSTATUS(code), 1);
  const testing::Bytes said = testing::read_bytes(folder / "err");
  EXPECT_THAT(std::string(said.begin(), said.end()),
              HasSubstr("tiller_bench: No such file or directory; build it"));
  const std::string beside =
      (std::filesystem::path(TILLER_PROGRAM).parent_path() / "tiller_bench").string();
  if (std::filesystem::exists(beside)) {
    const Ended ended =
        tiller_expect(0, {"bench", "--list", "--op", "conv2d_fwd", "--model", "64x64_classifier"});
    EXPECT_THAT(ended.out, HasSubstr("w [128,3,3,128]"));
  }
}

}  // namespace
}  // namespace tiller
