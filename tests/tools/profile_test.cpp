// The profiler's arithmetic on a recording typed by hand, whose sums are known.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "tools/profile/report.h"

namespace tiller {
namespace {

// Two kernels, two modules, three steps of 10 ms each: convolution 6 ms, norm 2 ms, gaps 2 ms.
Recording recording(std::int64_t scale_last_step = 1) {
  Recording r;
  constexpr std::int64_t kMs = 1'000'000;
  const auto add = [&](const char* kernel, const char* module, const char* phase, Cost cost,
                       std::int64_t begin, std::int64_t end, std::int64_t step, std::size_t live) {
    r.ops.push_back({r.names.id(kernel), r.names.id("x f32[1]"), r.names.id(module),
                     r.names.id(phase), cost, begin, end, step, live});
  };
  for (std::int64_t step = 0; step < 3; ++step) {
    const std::int64_t at = step * 1000 * kMs;  // much time between the steps does not count
    const std::int64_t stretch = step == 2 ? scale_last_step : 1;
    add("conv2d_fwd:v1", "input_blocks.1.0.in_layers.2", "unet", {6e6, 1e3, 1e3}, at,
        at + 6 * kMs * stretch, step, 500);
    add("group_norm_fwd:v1", "input_blocks.1.1.norm", "classifier backward", {1e3, 1e6, 1e6},
        at + 8 * kMs * stretch, at + 10 * kMs * stretch, step, 900);
  }
  return r;
}

// 2 GFLOP/s and 1 GB/s: the convolution's 6e6 flops take 3 ms, the norm's 2e6 bytes 2 ms.
constexpr Ceilings kCeilings{2e9, 1e9};

TEST(Profile, AddsUpByKernelModuleShapeAndPhase) {
  const Profile p = summarize(recording(), kCeilings, 2);
  EXPECT_EQ(p.steps, 3);
  EXPECT_EQ(p.operations, 6);
  EXPECT_NEAR(p.wall_seconds, 0.030, 1e-12);
  ASSERT_EQ(p.wall_per_step.size(), 3u);
  EXPECT_NEAR(p.wall_per_step[2], 0.010, 1e-12);
  EXPECT_NEAR(p.busy_seconds, 0.024, 1e-12);
  EXPECT_NEAR(p.gap_seconds(), 0.006, 1e-12);
  EXPECT_EQ(p.peak_live, 900u);
  const auto& kernels = p.tables.at(ProfileBy::kernel);
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0].name, "conv2d_fwd:v1");  // most time first
  EXPECT_EQ(kernels[0].calls, 3);
  EXPECT_NEAR(kernels[0].seconds, 0.018, 1e-12);
  EXPECT_NEAR(kernels[0].efficiency(), 0.5, 1e-9);
  EXPECT_TRUE(kernels[0].compute_bound());
  EXPECT_NEAR(kernels[0].flops_per_second(), 1e9, 1);
  EXPECT_EQ(kernels[0].peak_live, 500u);
  EXPECT_NEAR(kernels[1].efficiency(), 1.0, 1e-9);
  EXPECT_FALSE(kernels[1].compute_bound());
  EXPECT_EQ(p.tables.at(ProfileBy::module)[0].name, "input_blocks.1");
  EXPECT_EQ(p.tables.at(ProfileBy::module).size(), 1u);  // both lie in it at this depth
  EXPECT_EQ(summarize(recording(), kCeilings, 3).tables.at(ProfileBy::module).size(), 2u);
  EXPECT_EQ(p.tables.at(ProfileBy::phase)[1].name, "classifier backward");
  EXPECT_EQ(p.tables.at(ProfileBy::shape)[0].name, "conv2d_fwd:v1 x f32[1]");
  ASSERT_EQ(kernels[0].per_step.size(), 3u);
  EXPECT_NEAR(kernels[0].per_step[1], 0.006, 1e-12);
}

TEST(Profile, AdviceNamesWhatCouldGainMost) {
  const std::string text = advice(summarize(recording(), kCeilings, 2));
  EXPECT_NE(text.find("Look first at conv2d_fwd:v1: 60 % of the time, at 50 % of the multiply-add"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("30 % less"), std::string::npos) << text;
}

TEST(Profile, AdviceSeesGaps) {
  Recording r = recording();
  for (OpRecord& op : r.ops) op.end_ns = op.begin_ns + (op.end_ns - op.begin_ns) / 4;
  const std::string text = advice(summarize(r, kCeilings, 2));
  EXPECT_NE(text.find("between operations"), std::string::npos) << text;
}

TEST(Profile, JsonRoundTrip) {
  const Profile p = summarize(recording(), kCeilings, 2);
  const std::string path = testing::TempDir() + "tiller_profile_test.json";
  std::ofstream(path) << profile_json(p);
  const Profile back = read_profile(path);
  EXPECT_EQ(profile_json(back), profile_json(p));
  EXPECT_EQ(profile_text(back, ProfileBy::kernel, 20), profile_text(p, ProfileBy::kernel, 20));
  std::ofstream(path) << "{}";
  EXPECT_THROW(read_profile(path), Error);
  std::remove(path.c_str());
  EXPECT_THROW(read_profile(path), Error);
}

TEST(Profile, CsvHasALinePerRow) {
  const std::string csv = profile_csv(summarize(recording(), kCeilings, 2), ProfileBy::kernel);
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 3);
  EXPECT_NE(csv.find("\"conv2d_fwd:v1\",3,0.018000000,0.600000,18000000,6000,1.000,"),
            std::string::npos)
      << csv;
}

TEST(Profile, TraceIsWhatViewersRead) {
  const nlohmann::json trace = nlohmann::json::parse(chrome_trace(recording()));
  int slices = 0, counters = 0;
  double last = -1;
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "C") ++counters;
    if (event.at("ph") != "X") continue;
    EXPECT_GE(event.at("dur").get<double>(), 0);
    if (event.at("tid") != 3) continue;
    ++slices;
    EXPECT_GT(event.at("ts").get<double>(), last);
    last = event.at("ts").get<double>();
  }
  EXPECT_EQ(slices, 6);
  EXPECT_EQ(counters, 6);
}

TEST(Profile, ComparisonTellsADifferenceFromNoise) {
  const Profile before = summarize(recording(), kCeilings, 2);
  Recording slower = recording();
  for (OpRecord& op : slower.ops)
    if (slower.names[op.kernel] == "conv2d_fwd:v1") op.end_ns += 3'000'000;
  const std::string changed =
      profile_comparison(before, summarize(slower, kCeilings, 2), ProfileBy::kernel, 20);
  EXPECT_NE(changed.find("1.500  slower"), std::string::npos) << changed;
  EXPECT_NE(changed.find("1.000  same"), std::string::npos) << changed;
  // One step in three that took four times as long is noise: the medians are equal.
  const std::string noisy =
      profile_comparison(before, summarize(recording(4), kCeilings, 2), ProfileBy::kernel, 20);
  EXPECT_EQ(noisy.find("slower"), std::string::npos) << noisy;
}

TEST(Profile, StepsWindow) {
  EXPECT_TRUE(parse_steps("").contains(-1));
  EXPECT_TRUE(parse_steps("").contains(7));
  const StepWindow w = parse_steps("2:5");
  EXPECT_FALSE(w.contains(1));
  EXPECT_TRUE(w.contains(2));
  EXPECT_TRUE(w.contains(4));
  EXPECT_FALSE(w.contains(5));
  EXPECT_FALSE(w.contains(-1));
  EXPECT_TRUE(parse_steps("3").contains(3));
  EXPECT_FALSE(parse_steps("3").contains(4));
  EXPECT_TRUE(parse_steps("3:").contains(1000));
  EXPECT_TRUE(parse_steps(":2").contains(0));
  for (const char* bad : {"a", "5:2", "-1:3", "1:2:3", "3:3"}) {
    try {
      parse_steps(bad);
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2) << bad;
    }
  }
}

TEST(Profile, CeilingsAreMeasured) {
  const Ceilings c = measure_ceilings();
  EXPECT_GT(c.flops_per_second, 1e9);
  EXPECT_GT(c.bytes_per_second, 1e8);
}

}  // namespace
}  // namespace tiller
