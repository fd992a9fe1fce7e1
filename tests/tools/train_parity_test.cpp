// The loop against guided-diffusion's: the same pictures, steps and noise give the same log, files,
// weights, averages and moments.
#include <gtest/gtest.h>

#include <cstdlib>

#include "runtime/env.h"
#include "runtime/files/npz.h"
#include "tests/tools/train_util.h"
#include "tools/flags/architecture.h"
#include "tools/network.h"
#include "tools/training/loop.h"
#include "tools/training/openai_files.h"
#include "tools/training/setup.h"

namespace tiller::testing {
namespace {

std::string reference(const std::string& name) {
  return environment("TILLER_REFERENCE_DIR") + "/" + name;
}

#define TILLER_NEEDS_REFERENCE()                   \
  if (environment("TILLER_REFERENCE_DIR").empty()) \
  GTEST_SKIP() << "set TILLER_REFERENCE_DIR to the folder of PyTorch's outputs to run this"

// Entry i of the first `dims` dimensions' product as one batch: [n, ...], pictures in our order.
Tensor entry(const Tensor& all, std::int64_t i, std::int64_t n) {
  const std::int64_t per_step = all.numel() / all.dim(0), each = per_step / n;
  const Tensor flat = all.slice(i, i + 1);
  if (all.rank() < 4) return flat.reshape({n}).clone();
  const Shape& s = all.shape();
  EXPECT_EQ(each, s[-3] * s[-2] * s[-1]);
  return channels_last(flat.reshape({n, s[-3], s[-2], s[-1]}));
}

// Elements without a gradient but rounding wander under Adam, each program's in its own way: those
// whose second moment is nothing beside the largest are only held to how far rates can carry them.
class Comparison {
 public:
  Comparison(const ParameterList& parameters, const AdamW::State& moments, double reach)
      : parameters_(parameters), v_(moments.v), reach_(reach) {
    for (const Tensor& v : v_)
      for (const float value : v.to_vector<float>()) largest_ = std::max(largest_, value);
  }
  void weights(const ParameterList& ours, const std::string& path) {
    SCOPED_TRACE(path);
    const Checkpoint theirs = Checkpoint::open(path);
    ASSERT_EQ(ours.all().size(), theirs.tensors().size());
    for (std::size_t i = 0; i < ours.all().size(); ++i) {
      const Parameter& p = ours.all()[i];
      compare(i, p.value, from_file_layout(theirs.read(p.key), p.value.shape(), p.layout), 1e-4,
              2 * reach_);
    }
  }
  void moments(const AdamW::State& ours, const std::string& path) {
    SCOPED_TRACE(path);
    const AdamW::State theirs = from_optimizer_file(read_optimizer(path), parameters_, path);
    EXPECT_EQ(ours.steps, theirs.steps);
    for (std::size_t i = 0; i < ours.m.size(); ++i) {
      compare(i, ours.m[i], theirs.m[i], 1e-3, 2e-6);
      compare(i, ours.v[i], theirs.v[i], 1e-3, 2e-6);
    }
  }

 private:
  void compare(std::size_t parameter, const Tensor& ours, const Tensor& theirs, double tolerance,
               double reach) {
    SCOPED_TRACE(parameters_.all()[parameter].key);
    const auto v = v_[parameter].to_vector<float>(), a = ours.to_vector<float>(),
               b = theirs.to_vector<float>();
    ASSERT_EQ(a.size(), b.size());
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      if (v[i] < 1e-12F * largest_) {
        EXPECT_NEAR(a[i], b[i], reach);
        continue;
      }
      difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
      norm += std::pow(static_cast<double>(b[i]), 2);
    }
    EXPECT_LE(std::sqrt(difference), tolerance * std::sqrt(norm));
  }
  const ParameterList& parameters_;
  std::vector<Tensor> v_;
  double reach_;
  float largest_ = 0;
};

Arguments reference_unet(const std::string& learn_sigma, const std::string& steps) {
  return {"--image_size",     "16",        "--num_channels",          "32",
          "--num_res_blocks", "1",         "--attention_resolutions", "8",
          "--channel_mult",   "1,2",       "--use_scale_shift_norm",  "False",
          "--learn_sigma",    learn_sigma, "--diffusion_steps",       steps};
}

// A training of recorded numbers, in a folder of its own.
struct Recorded {
  Recorded(const Flags& flags, const std::string& start, TrainerOptions options)
      : source(load_parameters(Checkpoint::open(start))),
        unet(unet_config(flags), *source),
        diffusion(process_from_flags(flags, flags.get<bool>("learn_sigma"))),
        sampler(diffusion.steps()),
        trainer(unet.parameters(), options),
        files((std::filesystem::create_directory(folder / "run"), folder / "run"),
              parse_log_formats("log,csv")) {
    run.folder = folder / "run";
    run.trainer = &trainer;
    run.sampler = &sampler;
    run.files = &files;
    run.batch_size = 4;
    run.save_first_step = true;
    run.loss = [this](const StepInputs& in, std::int64_t b, std::int64_t e, LogMeans& log) {
      return diffusion_objective(unet, diffusion, in, b, e, sampler, log);
    };
  }
  TemporaryFolder folder;
  std::unique_ptr<ParameterSource> source;
  UNet unet;
  GaussianDiffusion diffusion;
  UniformSampler sampler;
  Trainer trainer;
  RunLog files;
  TrainingRun run;
};

std::vector<std::map<std::string, double>> csv_rows(const std::string& path) {
  std::ifstream file(path);
  const auto cells = [](const std::string& line) {
    std::vector<std::string> parts;
    std::stringstream text(line + ",");
    for (std::string part; std::getline(text, part, ',');) parts.push_back(part);
    return parts;
  };
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> header = cells(line);
  std::vector<std::map<std::string, double>> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> values = cells(line);
    rows.emplace_back();
    for (std::size_t i = 0; i < header.size(); ++i)
      if (!values[i].empty()) rows.back()[header[i]] = std::stod(values[i]);
  }
  return rows;
}

TEST(TrainParity, TheWholeLoop) {
  TILLER_NEEDS_REFERENCE();
  const std::string theirs = reference("trainloop/");
  const NpzReader file = NpzReader::open(theirs + "inputs.npz");
  const Tensor x0 = file.read("x0"), noise = file.read("noise"), t = file.read("t"),
               weights = file.read("weights"), lr = file.read("lr");
  const Flags flags = Flags::parse(command_spec("train"), reference_unet("True", "40"));
  const TrainerOptions options{.rate = {.base = 1e-3, .anneal_steps = 7},
                               .weight_decay = 0.05,
                               .ema_rates = {0.9, 0.99},
                               .microbatch = 2,
                               .sum_microbatches = true};
  for (std::int64_t i = 0; i < 7; ++i)
    EXPECT_NEAR(options.rate.at(i), lr.data<double>()[i], 1e-15) << i;

  Recorded r(flags, theirs + "start.pt", options);
  r.run.total = 7;
  r.run.log_interval = 2;
  r.run.save_interval = 3;
  r.run.inputs = [&](std::int64_t i) {
    return StepInputs{.x = entry(x0, i, 4),
                      .drawn = {entry(t, i, 4), entry(weights, i, 4)},
                      .noise = entry(noise, i, 4)};
  };
  run_training(r.run);

  // The log: the same keys, rows and, to rounding, numbers.
  const auto ours_rows = csv_rows(r.run.folder + "/progress.csv");
  const auto theirs_rows = csv_rows(theirs + "progress.csv");
  ASSERT_EQ(ours_rows.size(), theirs_rows.size());
  for (std::size_t i = 0; i < ours_rows.size(); ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(ours_rows[i].size(), theirs_rows[i].size());
    for (const auto& [key, value] : theirs_rows[i])
      EXPECT_NEAR(ours_rows[i].at(key), value, 1e-3 * std::abs(value)) << key;
  }
  // log.txt: line by line the same words; numbers of three digits may round the other way. The
  // reference file goes on with another run's lines.
  const auto words = [](const std::string& path) {
    std::ifstream text(path);
    std::vector<std::string> out;
    for (std::string line; std::getline(text, line);) {
      if (line.starts_with("Found NaN") || line.starts_with("Logging to")) continue;
      out.push_back(line.substr(0, line.find('|', 1)));
    }
    return out;
  };
  EXPECT_EQ(words(r.run.folder + "/log.txt"), words(theirs + "log.txt"));

  for (const char* name :
       {"ema_0.99_000000.pt", "ema_0.99_000003.pt", "ema_0.99_000006.pt", "ema_0.9_000000.pt",
        "ema_0.9_000003.pt", "ema_0.9_000006.pt", "model000000.pt", "model000003.pt",
        "model000006.pt", "opt000000.pt", "opt000003.pt", "opt000006.pt"})
    EXPECT_TRUE(std::filesystem::exists(r.run.folder + "/" + name)) << name;
  Comparison compare(r.unet.parameters(), r.trainer.optimizer().state(), 7e-3);
  compare.weights(r.unet.parameters(), theirs + "model000006.pt");
  compare.weights(r.trainer.averages()[0].ema.parameters(), theirs + "ema_0.9_000006.pt");
  compare.weights(r.trainer.averages()[1].ema.parameters(), theirs + "ema_0.99_000006.pt");
  compare.moments(r.trainer.optimizer().state(), theirs + "opt000006.pt");
  // The optimizer's file holds the rate that comes next, as theirs does.
  EXPECT_NEAR(read_optimizer(r.run.folder + "/opt000006.pt").groups[0].options.at("lr"),
              read_optimizer(theirs + "opt000006.pt").groups[0].options.at("lr"), 1e-15);
}

// guided-diffusion's own files go on here: everything is taken over, nothing twice.
TEST(TrainParity, TheirFilesAreTakenOver) {
  TILLER_NEEDS_REFERENCE();
  const std::string theirs = reference("trainloop/");
  const Flags flags = Flags::parse(command_spec("train"), reference_unet("True", "40"));
  Recorded r(
      flags, theirs + "model000006.pt",
      {.rate = {.base = 1e-3, .anneal_steps = 7}, .weight_decay = 0.05, .ema_rates = {0.99, 0.5}});
  const std::vector<std::string> notes = read_openai_files(theirs + "model000006.pt", r.trainer);
  ASSERT_EQ(notes.size(), 1u) << ::testing::PrintToString(notes);
  EXPECT_THAT(notes[0], ::testing::HasSubstr("rate 0.5 starts again as a copy"));
  EXPECT_EQ(r.trainer.optimizer().state().steps, 7);
  const auto equal = [&](const ParameterList& ours, const std::string& path) {
    const Checkpoint file = Checkpoint::open(path);
    for (const Parameter& p : ours.all())
      EXPECT_EQ(p.value.to_vector<float>(),
                from_file_layout(file.read(p.key), p.value.shape(), p.layout).to_vector<float>());
  };
  equal(r.trainer.averages()[0].ema.parameters(), theirs + "ema_0.99_000006.pt");
  equal(r.trainer.averages()[1].ema.parameters(), theirs + "model000006.pt");
  // And what is written from them holds the same bytes again.
  write_openai_files(r.run.folder, 6, r.trainer, false);
  const OptimizerFile a = read_optimizer(r.run.folder + "/opt000006.pt"),
                      b = read_optimizer(theirs + "opt000006.pt");
  ASSERT_EQ(a.state.size(), b.state.size());
  for (const auto& [index, state] : b.state) {
    EXPECT_EQ(a.state.at(index).exp_avg.to_vector<float>(), state.exp_avg.to_vector<float>());
    EXPECT_EQ(a.state.at(index).exp_avg_sq.to_vector<float>(), state.exp_avg_sq.to_vector<float>());
  }
}

TEST(TrainParity, SixStepsWithTheRateLoweredBefore) {
  TILLER_NEEDS_REFERENCE();
  const NpzReader file = NpzReader::open(reference("train.npz"));
  const Tensor x0 = file.read("x0"), noise = file.read("noise"), t = file.read("t"),
               losses = file.read("losses");
  const Flags flags = Flags::parse(command_spec("train"), reference_unet("False", "1000"));
  Recorded r(flags, reference("train_start.pt"),
             {.rate = {.base = 1e-3, .anneal_steps = 10, .order = AnnealOrder::before_step},
              .weight_decay = 0.05,
              .ema_rates = {0.9},
              .microbatch = 2,
              .sum_microbatches = true});
  r.run.total = 6;
  r.run.log_interval = 1;
  r.run.inputs = [&](std::int64_t i) {
    return StepInputs{.x = entry(x0, i, 4),
                      .drawn = {entry(t, i, 4), fill({4}, DType::f32, kCpu, 1)},
                      .noise = entry(noise, i, 4)};
  };
  run_training(r.run);
  const auto rows = csv_rows(r.run.folder + "/progress.csv");
  for (std::size_t i = 0; i < 6; ++i) {
    double mean = 0;
    for (std::size_t n = 0; n < 4; ++n) mean += losses.data<float>()[4 * i + n] / 4;
    EXPECT_NEAR(rows[i].at("loss"), mean, 1e-4 * mean) << i;
  }
  Comparison compare(r.unet.parameters(), r.trainer.optimizer().state(), 6e-3);
  compare.weights(r.unet.parameters(), reference("train_end.pt"));
  compare.weights(r.trainer.averages()[0].ema.parameters(), reference("train_end_ema.pt"));
  compare.moments(r.trainer.optimizer().state(), reference("train_end_opt.pt"));
}

TEST(TrainParity, ThreeStepsOfAClassifier) {
  TILLER_NEEDS_REFERENCE();
  const NpzReader file = NpzReader::open(reference("train_classifier.npz"));
  const Tensor x0 = file.read("x0"), noise = file.read("noise"), t = file.read("t"),
               y = file.read("y"), loss = file.read("loss"), top1 = file.read("top1"),
               top5 = file.read("top5");
  const Flags flags =
      Flags::parse(command_spec("train-classifier"),
                   {"--image_size", "16", "--num_classes", "10", "--classifier_width", "32",
                    "--classifier_depth", "1", "--classifier_attention_resolutions", "8,4",
                    "--classifier_channel_mult", "1,2,2", "--classifier_num_head_channels", "32",
                    "--classifier_pool", "adaptive"});
  const auto source = load_parameters(Checkpoint::open(reference("train_classifier_start.pt")));
  const Classifier classifier(classifier_config(flags), *source);
  const GaussianDiffusion diffusion{DiffusionConfig{}};
  Trainer trainer(classifier.parameters(),
                  {.rate = {.base = 3e-4, .anneal_steps = 3, .order = AnnealOrder::before_step},
                   .weight_decay = 0.05,
                   .microbatch = 3});
  for (std::int64_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    StepInputs in;
    in.x = entry(x0, i, 4);
    in.y = entry(y, i, 4);
    in.drawn.step = entry(t, i, 4);
    in.noise = entry(noise, i, 4);
    LogMeans log;
    trainer.step(
        i, 4,
        [&](std::int64_t b, std::int64_t e) {
          return classifier_objective(classifier, diffusion, in, b, e, true, "train", log);
        },
        log);
    const auto means = log.take();
    const auto expect = [&](const char* key, const Tensor& values) {
      const float* v = values.data<float>() + 4 * i;
      const double mean = ((v[0] + v[1] + v[2]) / 3 + v[3]) / 2;  // microbatches of three and one
      EXPECT_NEAR(means.at(key), mean, 1e-4 * mean) << key;
      std::map<std::string, std::pair<double, int>> quartiles;
      for (int n = 0; n < 4; ++n) {
        auto& [sum, count] =
            quartiles[fmt::format("{}_q{}", key, 4 * t.data<std::int64_t>()[4 * i + n] / 1000)];
        sum += v[n];
        ++count;
      }
      for (const auto& [name, q] : quartiles)
        EXPECT_NEAR(means.at(name), q.first / q.second, 1e-4 * q.first) << name;
    };
    expect("train_loss", loss);
    expect("train_acc@1", top1);
    expect("train_acc@5", top5);
  }
  Comparison compare(classifier.parameters(), trainer.optimizer().state(), 3 * 3e-4);
  compare.weights(classifier.parameters(), reference("train_classifier_end.pt"));
}

}  // namespace
}  // namespace tiller::testing
