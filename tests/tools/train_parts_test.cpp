// The parts of a training, each alone: rates, loss scale, means, log files, optimizer files.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "runtime/files/npz.h"
#include "tests/tools/train_util.h"
#include "tools/training/learning_rate.h"
#include "tools/training/log_means.h"
#include "tools/training/loss_scale.h"
#include "tools/training/objective.h"
#include "tools/training/openai_files.h"
#include "tools/training/run_log.h"
#include "tools/training/trainer.h"

namespace tiller::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(LearningRate, EachScriptLowersItInItsOrder) {
  const LearningRate image{.base = 1, .anneal_steps = 4};
  const LearningRate classifier{.base = 1, .anneal_steps = 4, .order = AnnealOrder::before_step};
  std::vector<double> a, b;
  for (int step = 0; step < 4; ++step) {
    a.push_back(image.at(step));
    b.push_back(classifier.at(step));
  }
  EXPECT_THAT(a, ElementsAre(1, 1, 0.75, 0.5));
  EXPECT_THAT(b, ElementsAre(1, 0.75, 0.5, 0.25));
  EXPECT_EQ(image.held_after(2), image.at(3));
  EXPECT_EQ(classifier.held_after(2), classifier.at(2));
  EXPECT_EQ(classifier.at(9), 0);  // never below
  const LearningRate warm{.base = 2, .warmup_steps = 4};
  EXPECT_EQ(warm.at(0), 0.5);
  EXPECT_EQ(warm.at(3), 2);
  EXPECT_EQ(warm.at(100), 2);
}

// Two parameters whose gradients were recorded with a scale that overflows at three of seven steps.
TEST(LossScaling, WalksAsPyTorchsAndWritesItsTwoBuffers) {
  const Tensor rows = NpzReader::open(data_file("loss_scale.npz")).read("rows");  // [7,6] f64
  const double* row = rows.data<double>();
  ParameterList parameters;
  parameters.add({"a", {4}, FileLayout::same, Tensor::from(std::vector<float>{0, 1, 2, 3}, {4})});
  parameters.add({"b", {2, 3}, FileLayout::same, fill({2, 3}, DType::f32, kCpu, 1)});
  Trainer trainer(parameters, {.rate = {.base = 0.01},
                               .weight_decay = 0.01,
                               .ema_rates = {0.5},
                               .loss_scale = {.enabled = true, .lg_start = 20, .growth = 0.5}});
  double k = 0;
  for (int i = 0; i < 7; ++i, row += 6) {
    SCOPED_TRACE(i);
    const bool good = row[0] == 1;
    if (good) ++k;
    const double size =
        good ? k * trainer.loss_scale().factor() : std::numeric_limits<double>::infinity();
    ParameterGradients gradients(parameters);
    Tape tape;
    gradients.watch(tape);
    gradients.accept(tape.leaves()[0], fill({4}, DType::f32, kCpu, size));
    gradients.accept(tape.leaves()[1], fill({2, 3}, DType::f32, kCpu, 2 * size));
    LogMeans log;
    const std::vector<float> average =
        trainer.averages()[0].ema.parameters().find("a")->value.to_vector<float>();
    EXPECT_EQ(trainer.apply(i, gradients, log), good);
    EXPECT_NEAR(trainer.loss_scale().lg(), row[1], 1e-12);
    const auto logged = log.take();
    EXPECT_EQ(logged.contains("grad_norm"), good);
    EXPECT_TRUE(logged.contains("lg_loss_scale"));
    if (good) {
      EXPECT_NEAR(logged.at("grad_norm"), row[2], 1e-6 * row[2]);
      EXPECT_NEAR(logged.at("param_norm"), row[3], 1e-6 * row[3]);
    } else {  // nothing moves, the average neither
      EXPECT_EQ(trainer.averages()[0].ema.parameters().find("a")->value.to_vector<float>(),
                average);
    }
    EXPECT_NEAR(parameters.find("a")->value.to_vector<float>()[1], row[4], 1e-6);
    EXPECT_NEAR(parameters.find("b")->value.to_vector<float>()[0], row[5], 1e-6);
  }
  EXPECT_EQ(trainer.averages()[0].updates, 4);

  const OptimizerFile theirs = read_optimizer(data_file("loss_scale_opt.fp16.pt"));
  const OptimizerFile ours = to_optimizer_file(trainer.optimizer(), parameters, 0.01, 0.01, true);
  ASSERT_EQ(ours.state.size(), 2u);
  for (const auto& [index, state] : theirs.state) {
    const OptimizerFile::State& mine = ours.state.at(index);
    EXPECT_EQ(mine.step, state.step);
    ASSERT_EQ(mine.exp_avg.shape(), state.exp_avg.shape());
    for (std::int64_t e = 0; e < state.exp_avg.numel(); ++e) {
      EXPECT_NEAR(mine.exp_avg.data<float>()[e], state.exp_avg.data<float>()[e], 1e-6);
      EXPECT_NEAR(mine.exp_avg_sq.data<float>()[e], state.exp_avg_sq.data<float>()[e], 1e-6);
    }
  }
  const AdamW::State back = from_optimizer_file(theirs, parameters, "opt.pt");
  EXPECT_EQ(back.steps, 4);
  EXPECT_EQ(back.m[1].shape(), (Shape{2, 3}));
  EXPECT_NEAR(back.m[1].to_vector<float>()[5], 1.8098, 1e-4);
  EXPECT_NEAR(back.v[0].to_vector<float>()[0], 0.02998, 1e-5);
}

TEST(LossScaling, StopsWithADiagnosisInsteadOfFallingForEver) {
  LossScale scale({.enabled = true, .lg_start = 2.5});
  scale.update(false, 0);
  scale.update(false, 1);
  EXPECT_EQ(scale.lg(), 0.5);
  EXPECT_THAT(error_of([&] { scale.update(false, 2); }),
              AllOf(HasSubstr("3 steps in a row"), HasSubstr("--use_bf16")));
  LossScale high({.enabled = true, .lg_start = LossScale::kHighest, .growth = 1});
  high.update(true, 0);
  EXPECT_EQ(high.lg(), LossScale::kHighest);
  LossScale off({.enabled = false});
  off.update(true, 0);
  EXPECT_EQ(off.factor(), 1);
  EXPECT_THAT(error_of([&] { off.update(false, 7); }), HasSubstr("step 7"));
}

TEST(Trainer, ClipsTheNormAndWarmsTheAverageUp) {
  ParameterList parameters;
  parameters.add({"a", {2}, FileLayout::same, Tensor::zeros({2})});
  const auto moment = [&](double clip) {
    Trainer trainer(parameters, {.rate = {.base = 0}, .grad_clip = clip});
    ParameterGradients gradients(parameters);
    Tape tape;
    gradients.watch(tape);
    gradients.accept(tape.leaves()[0], Tensor::from(std::vector<float>{3, 4}, {2}));
    LogMeans log;
    trainer.apply(0, gradients, log);
    EXPECT_EQ(log.take().at("grad_norm"), 5);  // as it was
    return trainer.optimizer().state().m[0].to_vector<float>();
  };
  EXPECT_NEAR(moment(0)[0], 0.3, 1e-6);
  EXPECT_NEAR(moment(10)[0], 0.3, 1e-6);
  EXPECT_NEAR(moment(1)[0], 0.06, 1e-6);
  EXPECT_NEAR(moment(1)[1], 0.08, 1e-6);

  const auto average = [&](bool warmup) {
    parameters.all()[0].value.fill_zero();
    Trainer trainer(parameters, {.rate = {.base = 1}, .ema_rates = {0.999}, .ema_warmup = warmup});
    ParameterGradients gradients(parameters);
    Tape tape;
    gradients.watch(tape);
    gradients.accept(tape.leaves()[0], fill({2}, DType::f32, kCpu, -1));
    LogMeans log;
    trainer.apply(0, gradients, log);  // the parameter becomes 1
    return trainer.averages()[0].ema.parameters().all()[0].value.to_vector<float>()[0];
  };
  EXPECT_NEAR(average(false), 0.001, 1e-5);
  EXPECT_NEAR(average(true), 0.9, 1e-4);  // min(rate, 1 / 10)
}

TEST(LogMeans, AverageOverBatchesAndOverSamplesOfAQuartile) {
  LogMeans log;
  const std::vector<float> first{1, 3}, second{10};
  log.add_by_quartile("loss", first, std::vector<std::int64_t>{0, 39}, 40);
  log.add_by_quartile("loss", second, std::vector<std::int64_t>{9}, 40);
  const auto means = log.take();
  EXPECT_EQ(means.at("loss"), 6);  // of the microbatches' means 2 and 10
  EXPECT_EQ(means.at("loss_q0"), 5.5);
  EXPECT_EQ(means.at("loss_q3"), 3);
  EXPECT_EQ(means.size(), 3u);
  EXPECT_TRUE(log.take().empty());
}

// A sample's numbers come from (seed, step, place in the batch) alone.
TEST(StepInputs, AreDrawnByCounters) {
  const UniformSampler sampler(1000);
  const Tensor x = Tensor::empty({40, 4, 4, 1});
  fill_normal(x, {.seed = 3});
  const Tensor y = Tensor::zeros({40}, DType::i64);
  const DrawOptions options{.seed = 5, .small_size = 2, .class_drop = 0.5, .no_class = 9};
  const StepInputs all = draw_inputs(x, y, 7, sampler, options);
  const StepInputs few = draw_inputs(x.slice(0, 3), y.slice(0, 3), 7, sampler, options);
  const StepInputs next = draw_inputs(x, y, 8, sampler, options);
  EXPECT_EQ(all.noise.slice(0, 3).to_vector<float>(), few.noise.to_vector<float>());
  EXPECT_EQ(all.drawn.step.slice(0, 3).to_vector<std::int64_t>(),
            few.drawn.step.to_vector<std::int64_t>());
  EXPECT_NE(all.noise.to_vector<float>(), next.noise.to_vector<float>());
  EXPECT_NE(all.drawn.step.to_vector<std::int64_t>(), next.drawn.step.to_vector<std::int64_t>());
  EXPECT_EQ(all.dropout.step, 7u);

  const std::vector<std::int64_t> labels = all.y.to_vector<std::int64_t>();
  const auto dropped = std::count(labels.begin(), labels.end(), 9);
  EXPECT_GT(dropped, 10);
  EXPECT_LT(dropped, 30);
  EXPECT_EQ(std::count(labels.begin(), labels.end(), 0), 40 - dropped);
  EXPECT_NE(labels, next.y.to_vector<std::int64_t>());

  ASSERT_EQ(all.low_res.shape(), (Shape{40, 2, 2, 1}));  // the mean of each square of four
  const float* p = x.data<float>();
  EXPECT_NEAR(all.low_res.to_vector<float>()[1], (p[2] + p[3] + p[6] + p[7]) / 4, 1e-6);
}

TEST(RunLog, FormatsAndColumnsThatComeLater) {
  const LogFormats formats = parse_log_formats("csv,tensorboard,json");
  EXPECT_TRUE(formats.csv && formats.json && !formats.table && !formats.text);
  EXPECT_THAT(formats.unknown, ElementsAre("tensorboard"));
  const LogFormats usual = parse_log_formats("");
  EXPECT_TRUE(usual.csv && usual.table && usual.text && !usual.json);

  const TemporaryFolder folder;
  const std::string out = folder / "run";
  std::filesystem::create_directory(out);
  write_bytes(out + "/log.txt", {'o', 'l', 'd'});
  {
    RunLog log(out, formats);
    EXPECT_FALSE(std::filesystem::exists(out + "/log.txt")) << "an earlier run's";
    log.row({{"step", 0}, {"loss", 1.5}});
    log.row({{"step", 2}, {"loss", NAN}, {"loss_q0", 0.25}});
    log.row({{"step", 4}, {"loss", 2}});
  }
  EXPECT_EQ(text_of(out + "/progress.csv"), "loss,step,loss_q0\n1.5,0,\nnan,2,0.25\n2,4,\n");
  EXPECT_EQ(text_of(out + "/progress.json"), text_of(out + "/metrics.jsonl"));
  EXPECT_THAT(text_of(out + "/metrics.jsonl"), HasSubstr("{\"loss\": NaN, \"loss_q0\": 0.25"));

  // Killed within a line, and gone on from step 2: what came later is taken again.
  std::ofstream(out + "/progress.csv", std::ios::app) << "3,";
  std::ofstream(out + "/metrics.jsonl", std::ios::app) << "{\"loss\"";
  RunLog again(out, formats, 3);
  again.row({{"step", 4}, {"loss", 7}});
  EXPECT_EQ(text_of(out + "/progress.csv"), "loss,step,loss_q0\n1.5,0,\nnan,2,0.25\n7,4,\n");
  EXPECT_THAT(text_of(out + "/metrics.jsonl"), AllOf(HasSubstr("{\"loss\": 7, \"step\": 4}\n"),
                                                     ::testing::Not(HasSubstr("\": 2,"))));
}

TEST(RunLog, TableIsGuidedDiffusions) {
  EXPECT_EQ(log_table({{"grad_norm", 4.565489226113685}, {"step", 0}, {"loss", 0.98317}}),
            "------------------------\n"
            "| grad_norm | 4.57     |\n"
            "| loss      | 0.983    |\n"
            "| step      | 0        |\n"
            "------------------------\n");
}

TEST(OpenAiFiles, NamesAndSteps) {
  EXPECT_EQ(model_file("d", 3), "d/model000003.pt");
  EXPECT_EQ(ema_file("d", 0.9999, 12), "d/ema_0.9999_000012.pt");
  EXPECT_EQ(ema_file("d", 1, 12), "d/ema_1.0_000012.pt");
  EXPECT_EQ(optimizer_file("d", 1234567), "d/opt1234567.pt");
  EXPECT_EQ(step_in_name("runs/model7/model000250.pt"), 250);
  EXPECT_EQ(step_in_name("mymodel_final.pt"), std::nullopt);
  EXPECT_EQ(step_in_name("weights.pt"), std::nullopt);
}

TEST(OpenAiFiles, AnotherNetworksOptimizerIsRefused) {
  ParameterList parameters;
  for (const char* name : {"a", "b", "c"})
    parameters.add({name, {2}, FileLayout::same, Tensor::zeros({2})});
  OptimizerFile file;
  for (int i = 0; i < 3; ++i)
    file.state[i] = {1, Tensor::zeros({i == 1 ? 5 : 2}), Tensor::zeros({i == 1 ? 5 : 2})};
  const auto refusal = [&] {
    ErrorKind kind{};
    const std::string text =
        error_of([&] { from_optimizer_file(file, parameters, "o.pt"); }, &kind);
    EXPECT_EQ(kind, ErrorKind::checkpoint);
    return text;
  };
  EXPECT_THAT(refusal(), HasSubstr("parameter 1 have shape [5], b has [2]"));
  file.state.erase(1);
  EXPECT_THAT(refusal(), HasSubstr("another network's optimizer"));
  file.state.clear();
  EXPECT_THAT(refusal(), HasSubstr("before the first step"));
}

}  // namespace
}  // namespace tiller::testing
