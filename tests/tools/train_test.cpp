// tiller train through the real program: what it writes, and that no interruption shows in it.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/tools/train_util.h"

namespace tiller::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

// Everything on that has a state of its own.
Arguments everything(const std::string& data, const std::string& out) {
  return tiny_unet(data, out) + Arguments{"--class_cond",       "True",
                                          "--class_drop",       "0.3",
                                          "--dropout",          "0.1",
                                          "--diffusion_steps",  "30",
                                          "--schedule_sampler", "loss-second-moment",
                                          "--learn_sigma",      "True",
                                          "--ema_rate",         "0.9,0.5",
                                          "--ema_warmup",       "True",
                                          "--microbatch",       "3",
                                          "--random_crop",      "True",
                                          "--log_interval",     "4",
                                          "--grad_clip",        "1",
                                          "--snr_weighting",    "1,5",
                                          "--warmup_steps",     "3",
                                          "--openai_files",     "False"};
}

TEST(Train, WritesGuidedDiffusionsFilesAndAStateThatSamples) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6), out = folder / "deep/run";
  const Ended ended = tiller_expect(
      0, tiny_unet(data, out) + Arguments{"--class_cond", "True", "--lr_anneal_steps", "4",
                                          "--save_interval", "3", "--log_interval", "2",
                                          "--ema_rate", "0.9,0.99", "--grid_samples", "2",
                                          "--grid_steps", "2", "--diffusion_steps", "30"});
  EXPECT_THAT(names_in(out),
              ElementsAre("checkpoint000000.safetensors", "checkpoint000003.safetensors",
                          "ema_0.99_000000.pt", "ema_0.99_000003.pt", "ema_0.9_000000.pt",
                          "ema_0.9_000003.pt", "log.txt", "metrics.jsonl", "model000000.pt",
                          "model000003.pt", "opt000000.pt", "opt000003.pt", "progress.csv",
                          "samples000000.png", "samples000003.png"));
  EXPECT_THAT(ended.out, HasSubstr("| param_norm | "));
  for (const char* part : {"2 classes", "cat, dog", "M parameters", "GFLOP per step",
                           "the first step took", "step 3 of 4", "images/s"})
    EXPECT_THAT(ended.err, HasSubstr(part));
  const auto rows = metrics(out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].at("step"), 2);
  EXPECT_EQ(rows[1].at("samples"), 12);
  for (const char* key : {"loss", "mse", "grad_norm", "param_norm"})
    EXPECT_GT(rows[1].at(key).get<double>(), 0) << key;
  EXPECT_THAT(text_of(out + "/log.txt"), HasSubstr("saving model 0.99..."));

  // The state is a checkpoint like any other, and tells all.
  const std::string state = out + "/checkpoint000003.safetensors";
  const Ended sampled =
      tiller_expect(0, {"sample", "--model_path", state, "--num_samples", "2", "--classes",
                        "dog,cat", "--timestep_respacing", "2", "--out", folder / "o"});
  EXPECT_THAT(sampled.err, Not(HasSubstr("assumed")));
  EXPECT_EQ(sample_pixels(folder / "o").count("000000_c1.png"), 1u);
  // It samples with the first average: so do the .pt file of that average and the flags.
  tiller_expect(0, {"sample", "--model_path", out + "/ema_0.9_000003.pt", "--image_size", "8",
                    "--num_heads", "4", "--diffusion_steps", "30", "--num_samples", "2",
                    "--classes", "1,0", "--timestep_respacing", "2", "--out", folder / "p"});
  EXPECT_EQ(sample_pixels(folder / "o"), sample_pixels(folder / "p"));
  EXPECT_THAT(tiller_expect(0, {"inspect", state}).out, HasSubstr("safetensors"));
  tiller_expect(0, {"convert", state, folder / "w.safetensors"});
  EXPECT_EQ(Checkpoint::open(folder / "w.safetensors").tensors().size(),
            Checkpoint::open(out + "/ema_0.9_000003.pt").tensors().size());
}

TEST(Train, GoesOnAsIfItHadNeverStopped) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const std::string a = folder / "a", b = folder / "b";
  tiller_expect(0, everything(data, a) + Arguments{"--iterations", "11"});
  tiller_expect(0, everything(data, b) + Arguments{"--iterations", "3"});
  // Only what changes is said again.
  const Ended on = tiller_expect(0, {"train", "--out", b, "--resume", "auto", "--iterations", "7"});
  EXPECT_THAT(on.err, AllOf(HasSubstr("--iterations 7 as given; the run had 3"),
                            HasSubstr("step 3 is next")));
  tiller_expect(0, {"train", "--out", b, "--resume", b + "/checkpoint000006.safetensors",
                    "--iterations", "11"});
  expect_same_state(a + "/checkpoint000010.safetensors", b + "/checkpoint000010.safetensors");
  EXPECT_EQ(text_of(a + "/progress.csv"), text_of(b + "/progress.csv"));
  EXPECT_EQ(text_of(a + "/metrics.jsonl"), text_of(b + "/metrics.jsonl"));
  // Something was at stake: means were half-gathered, and the sampler had seen losses.
  const SavedState state = saved_state(a + "/checkpoint000010.safetensors");
  EXPECT_FALSE(state.training.at("log").empty());
  EXPECT_TRUE(state.tensors.contains("sampler/losses"));
  const auto& counts = state.tensors.at("sampler/counts");
  EXPECT_GT(std::count_if(counts.begin(), counts.end(), [](auto c) { return c > 0; }), 5);
}

// Killed at random moments, most of them within a save, which is what it does most of the time here.
TEST(Train, SurvivesBeingKilled) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const std::string a = folder / "a", b = folder / "b";
  const Arguments more = {"--iterations", "24", "--save_interval", "1", "--keep", "3"};
  tiller_expect(0, everything(data, a) + more);
  EXPECT_THAT(
      names_in(a),
      ElementsAre("checkpoint000021.safetensors", "checkpoint000022.safetensors",
                  "checkpoint000023.safetensors", "log.txt", "metrics.jsonl", "progress.csv"));
  int killed = 0;
  for (const int step : {1, 6, 11, 17}) {
    const std::string reached = fmt::format("{}/checkpoint{:06}.safetensors", b, step);
    const pid_t child = fork();
    if (child == 0) {
      const int nowhere = open("/dev/null", O_WRONLY);
      become_program(everything(data, b) + more + Arguments{"--resume", "auto"}, {}, nowhere,
                     "/dev/null");
    }
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0 && !std::filesystem::exists(reached))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::microseconds(1371 * step));
    if (kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status))
      ++killed;
  }
  EXPECT_GE(killed, 3);
  tiller_expect(0, everything(data, b) + more + Arguments{"--resume", "auto"});
  EXPECT_EQ(names_in(a), names_in(b)) << "nothing half written stays";
  expect_same_state(a + "/checkpoint000023.safetensors", b + "/checkpoint000023.safetensors");
  EXPECT_EQ(text_of(a + "/progress.csv"), text_of(b + "/progress.csv"));
}

TEST(Train, SignalsSaveAndEndWith130) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const std::string straight = folder / "straight";
  const Arguments more = {"--save_interval", "1000"};
  for (const int signal : {SIGINT, SIGTERM}) {
    SCOPED_TRACE(signal);
    const std::string out = folder / std::to_string(signal);
    const Ended ended =
        signal_when(out + "/checkpoint000000.safetensors", signal, everything(data, out) + more);
    EXPECT_EQ(ended.code, 130) << ended.err;
    EXPECT_THAT(ended.err, AllOf(HasSubstr("which is saved"), HasSubstr("--resume auto")));
    std::string last;
    for (const std::string& name : names_in(out))
      if (name.starts_with("checkpoint")) last = name;
    const int steps = std::stoi(last.substr(10, 6)) + 1;
    tiller_expect(0, everything(data, straight + std::to_string(signal)) + more +
                         Arguments{"--iterations", std::to_string(steps)});
    expect_same_state(straight + std::to_string(signal) + "/" + last, out + "/" + last);
  }
}

// guided-diffusion's resume repeats the step in the name and lets the saved rate win.
TEST(Train, GoesOnFromModelFiles) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 8);
  const std::string a = folder / "a", b = folder / "b", c = folder / "c";
  const Arguments more = {"--ema_rate", "0.9", "--lr_anneal_steps", "6"};
  tiller_expect(0, tiny_unet(data, a) + more + Arguments{"--save_interval", "3"});
  const Ended on = tiller_expect(
      0, tiny_unet(data, b) + more + Arguments{"--resume_checkpoint", a + "/model000003.pt"});
  EXPECT_THAT(on.err, AllOf(HasSubstr("step 4 is next"), Not(HasSubstr("warning"))));
  const SavedState straight = saved_state(a + "/checkpoint000005.safetensors"),
                   resumed = saved_state(b + "/checkpoint000005.safetensors");
  EXPECT_EQ(straight.tensors, resumed.tensors) << "steps 4 and 5 once each, at their rates";
  EXPECT_EQ(straight.training.at("optimizer_steps"), 6);
  EXPECT_EQ(resumed.training.at("optimizer_steps"), 6);

  std::filesystem::remove(a + "/ema_0.9_000003.pt");
  const Ended changed =
      tiller_expect(0, tiny_unet(data, c) + more +
                           Arguments{"--lr", "0", "--weight_decay", "0.5", "--resume_checkpoint",
                                     a + "/model000003.pt"});
  EXPECT_THAT(changed.err,
              AllOf(HasSubstr("ema_0.9_000003.pt: the average of rate 0.9 starts again"),
                    HasSubstr("weight_decay 0; --weight_decay says 0.5, which counts"),
                    HasSubstr("lr (at this step) says 0, which counts")));
  const SavedState still = saved_state(c + "/checkpoint000005.safetensors");
  const Checkpoint from = Checkpoint::open(a + "/model000003.pt");
  const Tensor bias = from.read("out.2.bias");
  const auto* bytes = static_cast<const std::uint8_t*>(bias.raw());
  EXPECT_EQ(still.tensors.at("model/out.2.bias"),
            std::vector<std::uint8_t>(bytes, bytes + bias.bytes()))
      << "a rate of 0 moves nothing, whatever the file says";
}

TEST(Train, EveryLoss) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 4);
  const auto row = [&](const char* out, const Arguments& more) {
    tiller_expect(0, tiny_unet(data, folder / out) + more +
                         Arguments{"--iterations", "1", "--diffusion_steps", "40"});
    return metrics(folder / out)[0];
  };
  const auto mse = row("a", {}), hybrid = row("b", {"--learn_sigma", "True"}),
             rescaled = row("c", {"--learn_sigma", "True", "--rescale_learned_sigmas", "True"}),
             kl = row("d", {"--learn_sigma", "True", "--use_kl", "True"});
  EXPECT_FALSE(mse.contains("vb"));
  EXPECT_EQ(mse.at("loss"), mse.at("mse"));
  const double vb = hybrid.at("vb");
  EXPECT_NEAR(hybrid.at("loss").get<double>(), hybrid.at("mse").get<double>() + vb, 1e-5);
  EXPECT_NEAR(rescaled.at("vb").get<double>(), vb * 40 / 1000, 1e-5 * vb);
  EXPECT_FALSE(kl.contains("mse"));
  EXPECT_GT(kl.at("loss").get<double>(), 0);
}

// The reference's checkpointing draws another mask when it runs a block again.
TEST(Train, CheckpointingChangesNothingWithDropout) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const auto trained = [&](const char* out, const char* checkpoint) {
    tiller_expect(
        0, tiny_unet(data, folder / out) +
               Arguments{"--dropout", "0.4", "--iterations", "3", "--use_checkpoint", checkpoint});
    return folder / out + "/checkpoint000002.safetensors";
  };
  expect_same_state(trained("a", "True"), trained("b", "False"));
}

// In the reference, gradients of microbatches add up, so that their count changes the training.
TEST(Train, MicrobatchesDoNotChangeTheGradientUnlessAsked) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const auto norm = [&](const char* out, const Arguments& more) {
    tiller_expect(0, tiny_unet(data, folder / out) +
                         Arguments{"--iterations", "1", "--log_interval", "2"} + more);
    return metrics(folder / out)[0].at("grad_norm").get<double>();
  };
  const double whole = norm("a", {});
  EXPECT_NEAR(norm("b", {"--microbatch", "3"}), whole, 1e-4 * whole);
  // Nor does the mask of dropout depend on it, which shows once the zeroed layers behind it moved.
  const auto later = [&](const char* out, const Arguments& more) {
    norm(out, Arguments{"--dropout", "0.5", "--lr", "0.003", "--iterations", "5"} + more);
    return metrics(folder / out).back().at("loss").get<double>();
  };
  const double dropped = later("d", {});
  EXPECT_NEAR(later("e", {"--microbatch", "2"}), dropped, 1e-4 * dropped);
  EXPECT_NEAR(norm("c", {"--microbatch", "2", "--sum_microbatches", "True"}), 2 * whole,
              2e-4 * whole);
}

TEST(Train, HalfPrecisions) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const auto rows = [&](const char* out, const Arguments& more) {
    tiller_expect(0, tiny_unet(data, folder / out) +
                         Arguments{"--iterations", "3", "--log_interval", "1"} + more);
    return metrics(folder / out);
  };
  const auto f32 = rows("a", {}),
             f16 = rows("b", {"--use_fp16", "True", "--fp16_scale_growth", "0.25"}),
             bf16 = rows("c", {"--use_bf16", "True"});
  EXPECT_FALSE(f32[0].contains("lg_loss_scale"));
  EXPECT_FALSE(bf16[0].contains("lg_loss_scale"));
  EXPECT_LE(f16[0].at("lg_loss_scale"), 20);
  const double loss = f32[0].at("loss");
  EXPECT_NEAR(f16[0].at("loss").get<double>(), loss, 0.01 * loss);
  EXPECT_NEAR(bf16[0].at("loss").get<double>(), loss, 0.05 * loss);
  bool compared = false;
  for (std::size_t i = 0; i < 1; ++i)
    if (f16[i].contains("grad_norm")) {
      const double norm = f32[i].at("grad_norm");
      EXPECT_NEAR(f16[i].at("grad_norm").get<double>(), norm, 0.05 * norm) << "unscaled";
      compared = true;
    }
  EXPECT_TRUE(compared);
  EXPECT_EQ(read_optimizer(folder / "b/opt000002.pt").state.size(), 2u);
  EXPECT_THAT(tiller_expect(2, tiny_unet(data, folder / "d") +
                                   Arguments{"--use_fp16", "True", "--use_bf16", "True"})
                  .err,
              HasSubstr("exclude each other"));
}

TEST(Train, DivergenceStopsWithADiagnosis) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  const Ended ended = tiller_expect(
      1, tiny_unet(data, folder / "a") + Arguments{"--iterations", "50", "--lr", "1e18"});
  EXPECT_THAT(ended.err, AllOf(HasSubstr("the training diverged"), HasSubstr("lower --lr")));
}

TEST(Train, OneBatchIsLearnt) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  tiller_expect(
      0, tiny_unet(data, folder / "a") +
             Arguments{"--overfit_one_batch", "True", "--iterations", "121", "--log_interval", "40",
                       "--diffusion_steps", "30", "--batch_size", "8", "--lr", "4e-3"});
  const auto rows = metrics(folder / "a");
  EXPECT_LT(rows.back().at("loss").get<double>(), 0.5 * rows.front().at("loss").get<double>());
  EXPECT_EQ(saved_state(folder / "a/checkpoint000120.safetensors").training.at("data_position"), 0);
}

TEST(Train, SuperResolution) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 3), out = folder / "a";
  Arguments arguments = tiny_unet(data, out) + Arguments{"--iterations", "2", "--large_size",   "8",
                                                         "--small_size", "4", "--grid_samples", "2",
                                                         "--grid_steps", "1"};
  const Ended ended = tiller_expect(0, arguments);
  const std::string state = out + "/checkpoint000001.safetensors";
  EXPECT_EQ(Checkpoint::open(state).metadata().at("tiller.kind"), "super_resolution");
  EXPECT_TRUE(std::filesystem::exists(out + "/samples000001.png"));
  make_pictures(folder / "small", 1);
  NpzWriter base(folder / "base.npz");
  base.write("arr_0", Tensor::zeros({1, 4, 4, 3}, DType::u8));
  base.finish();
  tiller_expect(0, {"upsample", "--model_path", state, "--base_samples", folder / "base.npz",
                    "--timestep_respacing", "1", "--out", folder / "o"});
}

TEST(Train, HonoursGuidedDiffusionsEnvironment) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 2);
  setenv("OPENAI_LOGDIR", (folder / "logs").c_str(), 1);
  setenv("OPENAI_LOG_FORMAT", "json,wandb", 1);
  Arguments arguments = tiny_unet(data, "unused") + Arguments{"--iterations", "1"};
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--out"));
  arguments.erase(std::find(arguments.begin(), arguments.end(), "unused"));
  const Ended ended = tiller_expect(0, arguments);  // and fewer pictures than a batch
  unsetenv("OPENAI_LOGDIR");
  unsetenv("OPENAI_LOG_FORMAT");
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, HasSubstr("wandb is not written here"));
  const std::vector<std::string> names = names_in(folder / "logs");
  EXPECT_THAT(names,
              IsSupersetOf({"progress.json", "metrics.jsonl", "checkpoint000000.safetensors"}));
  EXPECT_EQ(std::count(names.begin(), names.end(), "progress.csv"), 0);
}

TEST(Train, RefusesWhatItCannotDo) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 2), out = folder / "a";
  const auto says = [&](int code, const Arguments& more, const std::string& why) {
    EXPECT_THAT(tiller_expect(code, tiny_unet(data, out) + more).err, HasSubstr(why));
  };
  EXPECT_THAT(tiller_expect(2, {"train", "--out", out, "--image_size", "8"}).err,
              HasSubstr("needs --data_dir"));
  says(1, {"--data_dir", folder / "nothing"}, "nothing");
  says(2, {"--class_cond", "True", "--num_classes", "1"}, "the pictures have 2 classes");
  says(2, {"--class_drop", "0.1"}, "needs --class_cond");
  says(0, {"--snr_weighting", "1,5", "--dry_run", "True"}, "a lower bound over 0");
  says(2, {"--snr_weighting", "5"}, "two bounds");
  says(2, {"--snr_weighting", "5,1"}, "two bounds");
  says(2, {"--snr_weighting", "0,5", "--use_kl", "True"}, "squared errors");
  says(2, {"--device", "meta"}, "nothing can be learned");
  says(2, {"--resume", "auto", "--resume_checkpoint", "x.pt"}, "give one of them");
  says(3, {"--resume", data_file("unet_plain.pt")}, "is no state of a training");
  says(3, {"--resume_checkpoint", data_file("unet_plain.pt")}, "unet_plain.pt");  // another one
  says(2, {"--num_channels", "33"}, "32");
  says(2, {"--diffusion_steps", "10"}, "betas over 1");
  tiller_expect(0, tiny_unet(data, out) + Arguments{"--iterations", "1"});
  says(2, {"--iterations", "1"}, "holds a run already");
  // A damaged newest checkpoint is named, and the one before it serves.
  write_bytes(out + "/checkpoint000009.safetensors", Bytes(100, 7));
  const std::string torn = out + "/checkpoint000009.safetensors.tmp-999999999-3";
  write_bytes(torn, Bytes(100, 7));
  const Ended ended =
      tiller_expect(0, {"train", "--out", out, "--resume", "auto", "--iterations", "2"});
  EXPECT_THAT(ended.err, AllOf(HasSubstr("checkpoint000009"), HasSubstr("step 1 is next")));
  EXPECT_FALSE(std::filesystem::exists(torn)) << "what a killed write left";
}

TEST(Train, AProfileKnowsItsStepsAndPhases) {
  const TemporaryFolder folder;
  const std::string data = make_pictures(folder / "data", 6);
  Arguments words = {"profile", "--steps", "1:3", "--by", "phase", "--json", "--"};
  const Arguments training = tiny_unet(data, folder / "run");
  words.insert(words.end(), training.begin(), training.end());
  words.insert(words.end(), {"--iterations", "4"});
  const auto profile = tiller_expect(0, words).json();
  EXPECT_EQ(profile.at("steps"), 2);
  std::string phases;
  for (const auto& row : profile.at("by_phase")) phases += row.at("name").get<std::string>() + " ";
  for (const char* phase : {"forward", "backward", "optimizer"})
    EXPECT_THAT(phases, HasSubstr(phase));
}

}  // namespace
}  // namespace tiller::testing
