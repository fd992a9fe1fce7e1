// `tiller demo` from the command line to the files it leaves.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "runtime/files/checkpoint.h"
#include "runtime/files/image.h"
#include "tests/runtime/files_util.h"
#include "tools/demo_shapes/networks.h"
#include "tools/demo_shapes/poster.h"
#include "tools/demo_shapes/shapes.h"
#include "tools/network.h"

namespace tiller {
namespace {

using testing::TemporaryFolder;

const char* const kProgram = TILLER_BINARY_DIR "/tiller";

// Starts the program with its output in `log`.
pid_t start(std::vector<std::string> arguments, const std::string& log) {
  arguments.insert(arguments.begin(), kProgram);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  pid_t child = -1;
  EXPECT_EQ(posix_spawn(&child, kProgram, &files, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&files);
  return child;
}

// Its exit code; -signal when a signal ended it.
int wait_for(pid_t child) {
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct Result {
  int code = 0;
  std::string output;
};
Result demo(std::vector<std::string> arguments) {
  const TemporaryFolder folder;
  arguments.insert(arguments.begin(), "demo");
  const std::string log = folder / "log";
  const int code = wait_for(start(arguments, log));
  std::ifstream file(log);
  return {code, {std::istreambuf_iterator<char>(file), {}}};
}

void expect_part(const Result& result, const std::string& part) {
  EXPECT_NE(result.output.find(part), std::string::npos) << "'" << part << "' is not in:\n"
                                                         << result.output;
}

TEST(DemoCommand, LeavesAGridAndNetworksThatLoadWithoutFlags) {
  const TemporaryFolder folder;
  const std::string out = folder / "new/demo";  // made on the way
  const Result result = demo({"--steps", "3", "--num_samples", "6", "--timestep_respacing", "2",
                              "--seed", "7", "--threads", "1", "--out", out});
  ASSERT_EQ(result.code, 0) << result.output;
  for (const char* part : {"scale 0", "scale 1", "scale 4", "second classifier", "% rightly",
                           "tiller sample --model_path"})
    expect_part(result, part);

  const Tensor grid = read_image(out + "/grid.png");
  const Tensor black = fill({demo::kClasses, demo::kSide, demo::kSide, 3}, DType::f32, kCpu, -1.0);
  const Tensor like = demo::draw_poster({{0, black, 1}, {1, black, 1}, {4, black, 1}});
  EXPECT_EQ(grid.dim(0), like.dim(0));
  EXPECT_NEAR(static_cast<double>(grid.dim(1)), static_cast<double>(like.dim(1)), 20);
  EXPECT_EQ(read_image_info(out + "/grid.png").text.at("tiller.command"),
            "tiller demo --seed 7 --steps 3 --num_samples 6 --timestep_respacing 2");

  const Checkpoint unet = Checkpoint::open(out + "/unet.safetensors");
  const Inference inference = infer(unet);
  EXPECT_EQ(inference.kind, NetworkKind::unet);
  EXPECT_EQ(inference.unet, demo::unet_config());
  EXPECT_TRUE(inference.assumed.empty());
  EXPECT_EQ(inference.diffusion.at("noise_schedule"), "cosine");
  EXPECT_EQ(load_network(unet, inference).num_classes(), 0);  // it never hears of classes
  const Checkpoint classifier = Checkpoint::open(out + "/classifier.safetensors");
  const Inference second = infer(classifier);
  EXPECT_EQ(second.kind, NetworkKind::classifier);
  EXPECT_EQ(second.diffusion, inference.diffusion);
  EXPECT_EQ(load_network(classifier, second).num_classes(), demo::kClasses);
  EXPECT_NE(classifier.metadata().at("tiller.classes").find("\"yellow ring\""), std::string::npos);
}

TEST(DemoCommand, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const std::string out = folder / "demo";
  Result result = demo({"--num_samples", "7", "--out", out});
  EXPECT_EQ(result.code, 2);
  expect_part(result, "--num_samples 7 is not a multiple of the 6 classes");
  result = demo({"--steps", "0", "--out", out});
  EXPECT_EQ(result.code, 2);
  expect_part(result, "at least 1");
  result = demo({"--minutes", "-1", "--out", out});
  EXPECT_EQ(result.code, 2);
  expect_part(result, "--minutes");
  result = demo({"--timestep_respacing", "ddim501", "--out", out});
  EXPECT_EQ(result.code, 2);
  EXPECT_FALSE(std::filesystem::exists(out));
  std::ofstream(folder / "file") << "here";
  result = demo({"--out", folder / "file/demo"});
  EXPECT_EQ(result.code, 1);
  expect_part(result, "cannot make the folder");
}

TEST(DemoCommand, CtrlCLeavesNothingHalfDone) {
  const TemporaryFolder folder;
  const std::string out = folder / "demo";
  const pid_t child =
      start({"demo", "--steps", "100000", "--threads", "1", "--out", out}, folder / "log");
  // The folder appears once the program listens to Ctrl-C.
  for (int i = 0; i < 2000 && !std::filesystem::exists(out); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(kill(child, SIGINT), 0);
  EXPECT_EQ(wait_for(child), 130);
  EXPECT_TRUE(std::filesystem::is_empty(out));
}

}  // namespace
}  // namespace tiller
