// `tiller quality`: its samples that are kept, its report, and the command from end to end.
#include <gtest/gtest.h>

#include <sstream>

#include "tests/tools/tiny_models.h"
#include "tests/tools/train_util.h"
#include "tools/network.h"
#include "tools/quality/report.h"
#include "tools/quality/sampled.h"

namespace tiller::testing {
namespace {

using quality::Measurement;
using quality::Report;
using quality::SampledScales;
using quality::SampleFile;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(QualitySamples, AFileIsReadBackForTheSameSettingsAlone) {
  const TemporaryFolder folder;
  const quality::Settings settings = {{"seed", "1"}, {"scale", "2"}};
  EXPECT_EQ(quality::read_samples(folder / "s.npz", settings).size(), 0);
  Tensor pixels = Tensor::zeros({2, 1, 1, 3}, DType::u8);
  pixels.data<std::uint8_t>()[4] = 9;
  quality::write_samples(folder / "s.npz", {pixels, {5, 6}}, settings);
  const SampleFile back = quality::read_samples(folder / "s.npz", settings);
  EXPECT_EQ(back.pixels.to_vector<std::uint8_t>(), pixels.to_vector<std::uint8_t>());
  EXPECT_THAT(back.labels, ElementsAre(5, 6));
  ErrorKind kind{};
  EXPECT_THAT(error_of(
                  [&] {
                    quality::read_samples(folder / "s.npz", {{"seed", "2"}});
                  },
                  &kind),
              AllOf(HasSubstr("seed was 1, not 2"), HasSubstr("another --out")));
  EXPECT_EQ(kind, ErrorKind::usage);
  NpzWriter other(folder / "o.npz");
  other.write("arr_0", pixels);
  other.finish();
  EXPECT_THAT(error_of([&] { quality::read_samples(folder / "o.npz", settings); }, &kind),
              HasSubstr("no samples of this program"));
  EXPECT_EQ(kind, ErrorKind::checkpoint);
}

/// Draws with a network of random weights, counting the pictures.
class SamplesOfScales : public ::testing::Test {
 protected:
  SampledScales open(std::int64_t count, std::int64_t batch = 2) const {
    return {{0, 2},
            {.folder = folder_ / ".",
             .settings = {{"seed", "4"}},
             .guide = "g",
             .count = count,
             .batch = batch,
             .classes = 3}};
  }
  Drawer drawer() const {
    Drawer drawer;
    drawer.unet = model_.unet.get();
    drawer.guide = guide_.classifier.get();
    drawer.diffusion = &diffusion_;
    drawer.side = 8;
    drawer.seed = 4;
    return drawer;
  }
  static DiffusionConfig process() {
    DiffusionConfig config;
    config.timestep_respacing = "2";
    return config;
  }
  TemporaryFolder folder_;
  Checkpoint file_ = Checkpoint::open(write_random_unet(folder_ / "u", smallest_unet()));
  Checkpoint other_ = Checkpoint::open(write_random_classifier(folder_ / "c", 5, {"a", "b", "c"}));
  Network model_ = load_network(file_, infer(file_));
  Network guide_ = load_network(other_, infer(other_));
  GaussianDiffusion diffusion_{process()};
};

TEST_F(SamplesOfScales, OnlyWhatIsMissingIsDrawn) {
  SampledScales first = open(3);
  EXPECT_EQ(first.missing(), 6);
  std::vector<std::int64_t> steps;
  const SampleFile unguided =
      first.take(0, drawer(), [&](std::int64_t done) { steps.push_back(done); });
  EXPECT_THAT(steps, ElementsAre(2, 4, 5, 6));  // two steps of two pictures, then of one
  EXPECT_THAT(unguided.labels, ElementsAre(0, 1, 2));

  // More of the same, in other batches: the first three are not drawn again, and are the same.
  SampledScales second = open(5, 5);
  EXPECT_EQ(second.missing(), 2 + 5);
  const SampleFile more = second.take(0, drawer(), {});
  EXPECT_THAT(more.labels, ElementsAre(0, 1, 2, 0, 1));
  EXPECT_EQ(more.pixels.slice(0, 3).to_vector<std::uint8_t>(),
            unguided.pixels.to_vector<std::uint8_t>());
  const SampleFile guided = second.take(1, drawer(), {});
  EXPECT_NE(guided.pixels.to_vector<std::uint8_t>(), more.pixels.to_vector<std::uint8_t>());
  // Fewer: a part of what there is. No network runs.
  SampledScales third = open(2);
  EXPECT_EQ(third.missing(), 0);
  Drawer none;
  none.diffusion = &diffusion_;
  EXPECT_EQ(third.take(0, none, {}).pixels.to_vector<std::uint8_t>(),
            unguided.pixels.slice(0, 2).to_vector<std::uint8_t>());
}

TEST_F(SamplesOfScales, WhatStopsItLeavesTheFinishedSamples) {
  SampledScales first = open(5);
  ErrorKind kind{};
  const std::string message = error_of(
      [&] {
        first.take(0, drawer(), [](std::int64_t done) {
          if (done > 8) fail(ErrorKind::interrupted, "interrupted");  // within the third batch
        });
      },
      &kind);
  EXPECT_EQ(kind, ErrorKind::interrupted);
  EXPECT_THAT(message, AllOf(HasSubstr("4 of 5 samples of scale 0 stay"), HasSubstr("goes on")));
  EXPECT_EQ(open(5).missing(), 1 + 5);
}

TEST_F(SamplesOfScales, AnotherGuideSpoilsGuidedSamplesAlone) {
  SampledScales first = open(1);
  first.take(0, drawer(), {});
  first.take(1, drawer(), {});
  const auto reopen = [&](const std::vector<double>& scales) {
    SampledScales again(scales, {.folder = folder_ / ".",
                                 .settings = {{"seed", "4"}},
                                 .guide = "another",
                                 .count = 1,
                                 .batch = 1,
                                 .classes = 3});
    EXPECT_EQ(again.missing(), 0);
  };
  reopen({0});
  EXPECT_THAT(error_of([&] { reopen({0, 2}); }), HasSubstr("guide was g, not another"));
}

Report example() {
  return {.features = "the features of a judge",
          .notes = {"conditions"},
          .rows = {{0, 20, 9.5, 0.125, 0.5, 0.75, 1.25}, {2, 20, 7.25, 0.875, 0.8, 0.25, NAN}},
          .real = {{0, 10, 0.5, 0.95, 0.9, 0.85, 1}}};
}

TEST(QualityReport, TablesHoldEveryNumber) {
  EXPECT_EQ(quality::as_csv(example()),
            "scale,samples,frechet,accuracy,precision,recall,spread\n"
            "0,20,9.5,0.125,0.5,0.75,1.25\n"
            "2,20,7.25,0.875,0.8,0.25,\n"
            "real,10,0.5,0.95,0.9,0.85,1\n");
  const std::string text = quality::as_markdown(example());
  EXPECT_THAT(text, HasSubstr("conditions\n"));
  EXPECT_THAT(text, HasSubstr("| 0 | 20 | 9.5 | 12.5 | 0.500 | 0.750 | 1.250 |\n"
                              "| 2 | 20 | 7.25 | 87.5 | 0.800 | 0.250 | - |\n"
                              "| real pictures | 10 | 0.5 | 95.0 | 0.900 | 0.850 | 1.000 |\n"));
  EXPECT_THAT(text, HasSubstr("the features of a judge"));
  EXPECT_THAT(text, HasSubstr("none of them is comparable with an FID"));
}

TEST(QualityReport, ChartsHaveEveryQuantityOverTheScale) {
  const std::vector<Chart> charts = quality::charts(example());
  ASSERT_EQ(charts.size(), 4u);
  for (const Chart& chart : charts) EXPECT_EQ(chart.x_label, "guidance scale");
  const auto& series = charts[0].series;  // the dashed line of the real pictures, then the samples
  ASSERT_EQ(series.size(), 2u);
  EXPECT_NE(series[0].stroke.dash, 0);
  EXPECT_THAT(series[0].x, ElementsAre(0, 2));
  EXPECT_THAT(series[0].y, ElementsAre(0.5, 0.5));
  EXPECT_THAT(series[1].x, ElementsAre(0, 2));
  EXPECT_THAT(series[1].y, ElementsAre(9.5, 7.25));
  EXPECT_EQ(charts[2].series.size(), 4u);  // precision and recall share one
  Report none = example();
  none.real.clear();
  for (Measurement& row : none.rows) row.accuracy = row.spread = NAN;
  EXPECT_EQ(quality::charts(none).size(), 2u);  // nothing to draw, no chart
}

class QualityCommand : public ::testing::Test {
 protected:
  QualityCommand() {
    write_tiny_models(models_);
    make_pictures(folder_ / "data", 24, 3);
  }
  Arguments command(const Arguments& more = {}) const {
    return Arguments{"quality",
                     "--model_path",
                     models_ + "/" + demo::kUnetFile,
                     "--classifier_path",
                     models_ + "/" + demo::kGuideFile,
                     "--judge_path",
                     models_ + "/" + demo::kJudgeFile,
                     "--data_dir",
                     folder_ / "data",
                     "--scales",
                     "4,0",
                     "--num_samples",
                     "6",
                     "--timestep_respacing",
                     "2",
                     "--out",
                     folder_ / "out"} +
           more;
  }
  TemporaryFolder folder_;
  std::string models_ = folder_ / "models";
};

TEST_F(QualityCommand, MeasuresEachScaleAndDrawsNothingTwice) {
  const Ended first = tiller_expect(0, command());
  EXPECT_THAT(names_in(folder_ / "out"),
              ElementsAre("quality.csv", "quality.md", "quality.png", "quality.svg",
                          "samples_scale_0.npz", "samples_scale_4.npz"));
  const std::string table = text_of(folder_ / "out/quality.csv");
  std::istringstream lines(table);
  std::vector<std::string> scales;
  for (std::string line; std::getline(lines, line);)
    scales.push_back(line.substr(0, line.find(',')));
  EXPECT_THAT(scales, ElementsAre("scale", "0", "4", "real"));
  EXPECT_EQ(first.out, text_of(folder_ / "out/quality.md"));
  EXPECT_THAT(first.out, AllOf(HasSubstr("`tiller quality "), HasSubstr("24 pictures"),
                               HasSubstr("the features of cifar10_classifier_clean"),
                               HasSubstr("DDIM with eta 0, 2 of 1000 steps")));
  EXPECT_THAT(first.err, HasSubstr("12 are to be drawn"));
  const NpzReader kept = NpzReader::open(folder_ / "out/samples_scale_4.npz");
  EXPECT_EQ(kept.read("arr_1").to_vector<std::int64_t>(),
            (std::vector<std::int64_t>{0, 1, 2, 0, 1, 2}));

  const Ended second = tiller_expect(0, command({"--report", folder_ / "elsewhere/r"}));
  EXPECT_THAT(second.err, HasSubstr("0 are to be drawn"));
  EXPECT_EQ(text_of(folder_ / "elsewhere/r.csv"), table);
  EXPECT_THAT(tiller_expect(2, command({"--seed", "1"})).err, HasSubstr("seed was 0, not 1"));
}

TEST_F(QualityCommand, RefusesWhatDoesNotFit) {
  const auto refused = [&](int code, const Arguments& more, const std::string& why) {
    EXPECT_THAT(tiller_expect(code, command(more)).err, HasSubstr(why));
  };
  write_random_classifier(folder_ / "other.safetensors", 5, {"cat", "dog", "fox"});
  refused(2, {"--judge_path", folder_ / "other.safetensors"}, "do not tell the same classes");
  refused(2, {"--scales", ""}, "at least one scale");
  refused(2, {"--scales", "-1"}, "--scales");
  refused(2, {"--device", "meta"}, "nothing can be measured");
  refused(1, {"--data_dir", folder_ / "none"}, "there is no such file");
  refused(1, {"--neighbours", "6"}, "more than 6");
  EXPECT_THAT(
      tiller_expect(2, {"quality", "--model_path", models_ + "/" + demo::kUnetFile,
                        "--classifier_path", models_ + "/" + demo::kGuideFile, "--judge_path",
                        models_ + "/" + demo::kJudgeFile, "--out", folder_ / "fresh"})
          .err,
      HasSubstr("--data_dir"));
}

}  // namespace
}  // namespace tiller::testing
