// The parts of sampling that need no network: classes, scales, schedules, pixels, sheets.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "nn/published.h"
#include "runtime/backend.h"
#include "runtime/parallel.h"
#include "tests/runtime/files_util.h"
#include "tools/pictures/pixels.h"
#include "tools/pictures/sheet.h"
#include "tools/pictures/text.h"
#include "tools/sampling/announce.h"
#include "tools/sampling/classes.h"
#include "tools/sampling/denoiser.h"
#include "tools/sampling/draws.h"
#include "tools/sampling/process.h"
#include "tools/sampling/progress.h"

namespace tiller {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::int64_t> labels(const ClassChoice& choice, std::int64_t first, std::int64_t n,
                                 std::uint64_t seed = 0) {
  return philox_draws(seed)->labels(choice, first, n);
}

TEST(ClassChoice, CyclesOverListsByIndex) {
  const ClassChoice list = ClassChoice::parse("7, 207,3", 1000);
  EXPECT_THAT(labels(list, 0, 4), ElementsAre(7, 207, 3, 7));
  EXPECT_THAT(labels(list, 4, 2), ElementsAre(207, 3));
  EXPECT_THAT(labels(ClassChoice::parse("all", 3), 1, 4), ElementsAre(1, 2, 0, 1));
  EXPECT_THAT(labels(ClassChoice::parse("fox,1", 2, {"cat", "fox"}), 0, 2), ElementsAre(1, 1));
}

TEST(ClassChoice, RandomOnesFollowFromSeedAndIndex) {
  const ClassChoice random = ClassChoice::parse("random", 10);
  const auto all = labels(random, 0, 2000, 5);
  EXPECT_EQ(labels(random, 700, 3, 5),
            std::vector<std::int64_t>(all.begin() + 700, all.begin() + 703));
  EXPECT_NE(labels(random, 0, 2000, 6), all);
  std::vector<int> count(10);
  for (const std::int64_t label : all) ++count.at(static_cast<std::size_t>(label));
  // 200 of each, give or take five standard deviations of 13.4.
  for (const int n : count) EXPECT_NEAR(n, 200, 67);
}

TEST(Scale, PublishedModelsHaveThePapersOwn) {
  EXPECT_EQ(recommended_scale("64x64_diffusion", false).scale, 1.0);
  EXPECT_EQ(recommended_scale("128x128_diffusion", false).scale, 0.5);
  EXPECT_EQ(recommended_scale("128x128_diffusion", true).scale, 1.25);
  EXPECT_EQ(recommended_scale("256x256_diffusion", false).scale, 1.0);
  EXPECT_EQ(recommended_scale("256x256_diffusion", true).scale, 2.5);
  EXPECT_EQ(recommended_scale("512x512_diffusion", false).scale, 4.0);
  EXPECT_EQ(recommended_scale("512x512_diffusion", true).scale, 9.0);
  EXPECT_EQ(recommended_scale("256x256_diffusion_uncond, lsun_bedroom", false).scale, 10.0);
  EXPECT_EQ(recommended_scale("lsun_bedroom", false).scale, 1.0);
  EXPECT_EQ(recommended_scale("", true).scale, 1.0);
  EXPECT_THAT(recommended_scale("512x512_diffusion", true).source, HasSubstr("DDIM"));
}

// Every model that has a scale of its own is one that inference can name.
TEST(Scale, NamesAreThoseOfKnownModels) {
  int own = 0;
  for (const KnownModel& model : known_models())
    if (model.kind == NetworkKind::unet &&
        recommended_scale(model.name, false).source != "the default")
      ++own;
  EXPECT_EQ(own, 5);
}

Process process(const std::vector<std::string>& arguments, const DiffusionHints& hints) {
  Inference unet;
  unet.unet.out_channels = 6;
  unet.diffusion = hints;
  const Flags flags = Flags::parse(command_spec("sample"), arguments);
  return process_of(flags, unet);
}

TEST(Process, GivenFlagsWinOverTheCheckpointOverDefaults) {
  const DiffusionHints hints = {
      {"noise_schedule", "cosine"}, {"diffusion_steps", "4000"}, {"rescale_timesteps", "True"}};
  const Process told = process({}, hints);
  EXPECT_EQ(told.config.noise_schedule, "cosine");
  EXPECT_EQ(told.config.diffusion_steps, 4000);
  EXPECT_TRUE(told.config.rescale_timesteps);
  EXPECT_EQ(told.config.variance, VarianceType::learned_range);
  EXPECT_TRUE(told.notes.empty());

  const Process given = process({"--noise_schedule", "linear"}, hints);
  EXPECT_EQ(given.config.noise_schedule, "linear");
  EXPECT_EQ(given.config.diffusion_steps, 4000);
  ASSERT_EQ(given.notes.size(), 1u);
  EXPECT_THAT(given.notes[0], HasSubstr("trained with cosine"));

  const Process silent = process({"--diffusion_steps", "500"}, {});
  EXPECT_EQ(silent.config.noise_schedule, "linear");
  EXPECT_EQ(silent.config.diffusion_steps, 500);
  ASSERT_EQ(silent.notes.size(), 1u);
  EXPECT_THAT(silent.notes[0], HasSubstr("assumed --noise_schedule linear"));
  EXPECT_THAT(silent.notes[0], Not(HasSubstr("diffusion_steps")));
}

TEST(Process, ACheckpointsStepsMustBeANumber) {
  EXPECT_THAT(error_of([] { process({}, {{"diffusion_steps", "many"}}); }), HasSubstr("\"many\""));
}

// Timesteps count on the classifier's own scale: the same noise under another numbering is no
// mismatch.
TEST(Process, SchedulesAreComparedByTheNoiseThatTheClassifierSees) {
  const auto diffusion = [](std::int64_t steps, const char* schedule, bool rescale) {
    DiffusionConfig config;
    config.diffusion_steps = steps;
    config.noise_schedule = schedule;
    config.timestep_respacing = "20";
    config.rescale_timesteps = rescale;
    return GaussianDiffusion(config);
  };
  const auto hints = [](const char* schedule, const char* steps, const char* rescale) {
    return DiffusionHints{
        {"noise_schedule", schedule}, {"diffusion_steps", steps}, {"rescale_timesteps", rescale}};
  };
  const GaussianDiffusion cosine = diffusion(1000, "cosine", false);
  EXPECT_EQ(schedule_mismatch(cosine, {}), "");
  EXPECT_EQ(schedule_mismatch(cosine, hints("cosine", "1000", "False")), "");
  EXPECT_THAT(schedule_mismatch(cosine, hints("linear", "1000", "False")),
              HasSubstr("another noise level"));
  EXPECT_THAT(schedule_mismatch(cosine, hints("cosine", "4000", "False")),
              HasSubstr("another noise level"));
  EXPECT_EQ(schedule_mismatch(cosine, hints("cosine", "4000", "True")), "");
  EXPECT_EQ(schedule_mismatch(diffusion(4000, "cosine", true), hints("cosine", "1000", "False")),
            "");
}

// Only DDIM that begins in the cosine schedule's last steps is warned of.
TEST(Process, GuidedDdimMayNotBeginBlind) {
  const auto warning = [](const char* schedule, const char* respacing, bool ddim) {
    DiffusionConfig config;
    config.noise_schedule = schedule;
    config.timestep_respacing = respacing;
    return blind_start(GaussianDiffusion(config), ddim);
  };
  EXPECT_THAT(warning("cosine", "50", true),
              AllOf(HasSubstr("begins at timestep 999"), HasSubstr("2.4e-09"),
                    HasSubstr("--timestep_respacing ddimN")));
  EXPECT_EQ(warning("cosine", "ddim50", true), "");
  EXPECT_EQ(warning("cosine", "50", false), "");
  EXPECT_EQ(warning("linear", "50", true), "");
}

// As (x + 1) * 127.5 in f32, clamped, truncated.
TEST(Pixels, TruncateAndClamp) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {-1, -0.9999f, 0, 0.0039f, 0.999999f, 1, 1.5f, -7, nan, 1e30f};
  const Tensor pixels = to_pixels(Tensor::from(x, {10}));
  EXPECT_THAT(pixels.to_vector<std::uint8_t>(),
              ElementsAre(0, 0, 127, 127, 254, 255, 255, 0, 0, 255));
  const Tensor back = from_pixels(Tensor::from(std::vector<std::uint8_t>{0, 51, 255}, {3}));
  EXPECT_THAT(back.to_vector<float>(), ElementsAre(-1.0f, 51.0f / 127.5f - 1.0f, 1.0f));
}

std::uint8_t red(const Tensor& canvas, std::int64_t x, std::int64_t y) {
  return canvas.data<std::uint8_t>()[(y * canvas.dim(1) + x) * 3];
}

TEST(Sheet, ShowsPicturesInRowsWithTheirTexts) {
  Sheet sheet;
  for (const std::uint8_t value : {10, 20, 30})
    sheet.pictures.push_back(Tensor::from(std::vector<std::uint8_t>(2 * 2 * 3, value), {2, 2, 3}));
  sheet.columns = 2;
  sheet.zoom = 10;
  const Tensor plain = draw_sheet(sheet);  // margin 8, gap 4
  EXPECT_EQ(plain.shape(), Shape({8 + 20 + 4 + 20 + 8, 8 + 20 + 4 + 20 + 8, 3}));
  EXPECT_EQ(red(plain, 0, 0), 255);
  EXPECT_EQ(red(plain, 8, 8), 10);
  EXPECT_EQ(red(plain, 27, 27), 10);
  EXPECT_EQ(red(plain, 28, 8), 255);
  EXPECT_EQ(red(plain, 32, 8), 20);
  EXPECT_EQ(red(plain, 8, 32), 30);
  EXPECT_EQ(red(plain, 32, 32), 255) << "an empty cell";

  sheet.title = "title";
  sheet.captions = {"a", "b", "a much longer caption"};
  sheet.row_labels = {"one", "two"};
  sheet.column_labels = {"left", "right"};
  const Tensor full = draw_sheet(sheet);
  EXPECT_GT(full.dim(0), plain.dim(0) + 4 * 12);
  EXPECT_GT(full.dim(1), 2 * text_size("a much longer caption").width);
  int ink = 0;
  for (std::int64_t y = 0; y < full.dim(0); ++y)
    for (std::int64_t x = 0; x < full.dim(1); ++x) ink += red(full, x, y) == 10 ? 1 : 0;
  EXPECT_EQ(ink, 20 * 20) << "no text covers a picture";

  sheet.pictures[1] = Tensor::zeros({3, 2, 3}, DType::u8);
  EXPECT_THAT(error_of([&] { draw_sheet(sheet); }), HasSubstr("cannot hold"));
  EXPECT_THAT(error_of([] { draw_sheet({}); }), HasSubstr("needs a picture"));
}

TEST(Text, IsClippedAndDiffersByLetter) {
  const auto drawn = [](const char* text, std::int64_t x, std::int64_t y) {
    const Tensor canvas = Tensor::zeros({12, 12, 3}, DType::u8);
    draw_text(canvas, x, y, text, {255, 255, 255});
    return canvas.to_vector<std::uint8_t>();
  };
  EXPECT_NE(drawn("A", 0, 0), drawn("B", 0, 0));
  EXPECT_EQ(drawn("\xC3\xA4", 0, 0), drawn("?", 0, 0));
  EXPECT_EQ(drawn("A", 100, -40), drawn("", 0, 0));
  EXPECT_NE(drawn("A", -3, -3), drawn("", 0, 0)) << "the part that lies on the canvas";
  EXPECT_EQ(text_size("ab\nc", 2).height, 48);
}

TEST(Progress, TimesForPeople) {
  EXPECT_EQ(clock_time(0.4), "0:00");
  EXPECT_EQ(clock_time(62), "1:02");
  EXPECT_EQ(clock_time(3 * 3600 + 5 * 60 + 9), "3:05:09");
}

// The plan grows with the batch, and the batch that fits is one whose plan does.
TEST(MemoryPlan, CoversWhatTheNetworksHold) {
  Inference unet;
  for (const KnownModel& model : known_models())
    if (std::string(model.name) == "64x64_diffusion") unet.unet = unet_config(model);
  const Shape picture{64, 64, 3};
  const MemoryPlan one = plan_memory(unet, nullptr, 1, 250, picture);
  const MemoryPlan four = plan_memory(unet, nullptr, 4, 250, picture);
  EXPECT_EQ(one.weights, plan_network(unet).parameters().bytes());
  EXPECT_EQ(four.weights, one.weights);
  EXPECT_GT(four.activations, 3 * one.activations);
  EXPECT_LE(fitting_batch(unet, nullptr, 1 << 20, 250, picture), 1 << 19);
  EXPECT_EQ(fitting_batch(unet, nullptr, 1, 250, picture), 1);
}

// Frozen weights are kept once, or rounded to half; nothing beside them.
TEST(MemoryPlan, OfFrozenWeightsHasNoSecondCopy) {
  Inference unet;
  for (const KnownModel& model : known_models())
    if (std::string(model.name) == "64x64_diffusion") unet.unet = unet_config(model);
  const Shape picture{64, 64, 3};
  const MemoryPlan kept = plan_memory(unet, nullptr, 1, 250, picture);
  const MemoryPlan mapped = plan_memory(unet, nullptr, 1, 250, picture, FrozenWeights::as_stored);
  const MemoryPlan halved = plan_memory(unet, nullptr, 1, 250, picture, FrozenWeights::bf16);
  EXPECT_GT(kept.packed, kept.weights);
  EXPECT_EQ(mapped.packed, 0u);
  EXPECT_EQ(mapped.weights, kept.weights);
  EXPECT_EQ(mapped.activations, kept.activations);
  EXPECT_EQ(halved.packed, 0u);
  EXPECT_NEAR(static_cast<double>(halved.weights), 0.5 * static_cast<double>(kept.weights),
              0.002 * static_cast<double>(kept.weights));
}

// What is printed before a run is what the run then takes.
TEST(MemoryPlan, IsWhatARunTakes) {
  const int usual = threads();
  set_threads(1);
  Inference unet;
  unet.unet.image_size = 32;
  unet.unet.out_channels = 6;
  unet.unet.model_channels = 64;
  unet.unet.num_res_blocks = 1;
  unet.unet.channel_mult = {1, 2};
  unet.unet.attention_downsample = {2};
  const auto source = randomize_parameters(1);
  const UNet network(unet.unet, *source);
  DiffusionConfig config;
  config.timestep_respacing = "10";
  const GaussianDiffusion diffusion(config);
  constexpr std::int64_t kBatch = 4;
  const MemoryPlan plan = plan_memory(unet, nullptr, kBatch, diffusion.steps(), {32, 32, 3});
  Denoiser denoiser(network, nullptr, 0, diffusion);
  Backend& cpu = backend(kCpu);
  const auto run = [&] {
    denoiser.start(kBatch, {});
    Sampler sampler(diffusion, denoiser.model(), {}, {}, {kBatch, 32, 32, 3}, philox_noise(0, 0));
    sampler.next();
  };
  cpu.reset_peak();
  const std::size_t before = cpu.memory().live;
  run();
  const auto taken = static_cast<double>(cpu.memory().peak - before + plan.weights);
  EXPECT_LT(taken, 1.15 * static_cast<double>(plan.total()));
  EXPECT_GT(taken, 0.7 * static_cast<double>(plan.total()));
  set_threads(usual);
}

}  // namespace
}  // namespace tiller
