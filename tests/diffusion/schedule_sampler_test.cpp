#include "diffusion/schedule_sampler.h"

#include "runtime/files/npz.h"
#include "tests/diffusion/util.h"

namespace tiller {
namespace {

using namespace test;

const std::string kData = TILLER_TEST_DATA;

TEST(LossSecondMoment, WeightsEqualGuidedDiffusionsAfterEveryBatch) {
  const NpzReader file = NpzReader::open(kData + "/loss_second_moment.npz");
  const auto t = file.read("t").to_vector<std::int64_t>();
  const auto losses = file.read("losses").to_vector<double>();
  const auto expected = file.read("weights").to_vector<double>();
  const std::size_t batches = 40, batch = 8, steps = 30;
  LossSecondMomentSampler sampler(30, 3, 0.01);
  for (std::size_t b = 0; b < batches; ++b) {
    sampler.update(std::span(t).subspan(b * batch, batch),
                   std::span(losses).subspan(b * batch, batch));
    const std::vector<double> weights = sampler.weights();
    for (std::size_t i = 0; i < steps; ++i)
      ASSERT_NEAR(weights[i], expected[b * steps + i], 1e-12) << "batch " << b << " step " << i;
  }
}

// The file ends before every step has three losses; one more for the last gives weights by p_t ~
// sqrt(E[L_t^2]) over each step's latest three.
TEST(LossSecondMoment, WeightsFollowTheLatestLossesOnceWarm) {
  const NpzReader file = NpzReader::open(kData + "/loss_second_moment.npz");
  auto t = file.read("t").to_vector<std::int64_t>();
  auto losses = file.read("losses").to_vector<double>();
  t.push_back(29);
  losses.push_back(0.7);
  LossSecondMomentSampler sampler(30, 3, 0.01);
  sampler.update(std::span(t).first(t.size() - 1), std::span(losses).first(t.size() - 1));
  ASSERT_FALSE(sampler.warmed_up());
  sampler.update(std::span(t).last(1), std::span(losses).last(1));
  ASSERT_TRUE(sampler.warmed_up());
  std::vector<double> root(30);
  double total = 0;
  for (std::size_t step = 0; step < root.size(); ++step) {
    int found = 0;
    for (std::size_t i = t.size(); i-- > 0 && found < 3;)
      if (t[i] == static_cast<std::int64_t>(step)) {
        root[step] += losses[i] * losses[i] / 3;
        ++found;
      }
    total += root[step] = std::sqrt(root[step]);
  }
  for (std::size_t step = 0; step < root.size(); ++step)
    EXPECT_NEAR(sampler.weights()[step], 0.99 * root[step] / total + 0.01 / 30, 1e-12) << step;
}

TEST(LossSecondMoment, ImportanceEqualsGuidedDiffusions) {
  const NpzReader file = NpzReader::open(kData + "/loss_second_moment_sample.npz");
  // A sampler whose history makes p what the file says: one loss per step, sqrt(E[L^2]) = L.
  const std::vector<double> p = file.read("p").to_vector<double>();
  LossSecondMomentSampler sampler(30, 1, 0);
  std::vector<std::int64_t> all(30);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  sampler.update(all, p);
  const auto t = file.read("t").to_vector<std::int64_t>();
  const auto expected = file.read("weights").to_vector<float>();
  const std::vector<double> weights = sampler.importance(t);
  for (std::size_t i = 0; i < t.size(); ++i)
    EXPECT_NEAR(weights[i], expected[i], 1e-6 * expected[i]);
}

TEST(LossSecondMoment, IsUniformUntilEveryHistoryIsFull) {
  LossSecondMomentSampler sampler(2);  // history 10, uniform part 0.001
  const std::vector<double> ones{1, 1};
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(sampler.weights(), ones);
    EXPECT_FALSE(sampler.warmed_up());
    sampler.update(std::vector<std::int64_t>{0, 1}, std::vector<double>{3, 1});
  }
  ASSERT_TRUE(sampler.warmed_up());
  EXPECT_NEAR(sampler.weights()[0], 0.75 * 0.999 + 0.0005, 1e-12);
  EXPECT_NEAR(sampler.weights()[1], 0.25 * 0.999 + 0.0005, 1e-12);
  // The oldest goes: ten losses of 1 later, both are alike.
  for (int i = 0; i < 10; ++i) sampler.update(std::vector<std::int64_t>{0}, std::vector<double>{1});
  EXPECT_NEAR(sampler.weights()[0], 0.5, 1e-12);
}

TEST(LossSecondMoment, LeavesOutWhatIsNotFiniteAndComesBackFromItsState) {
  LossSecondMomentSampler sampler(2, 2);
  sampler.update(std::vector<std::int64_t>{0, 0, 1, 1, 0}, std::vector<double>{1, 2, 3, 4, NAN});
  sampler.update(std::vector<std::int64_t>{1}, std::vector<double>{INFINITY});
  LossSecondMomentSampler again(2, 2);
  again.restore(sampler.state());
  EXPECT_EQ(again.weights(), sampler.weights());
  EXPECT_NEAR(sampler.weights()[0] / sampler.weights()[1], std::sqrt(5.0 / 25.0), 2e-3);
  LossSecondMomentSampler other(3, 2);
  EXPECT_NE(message_of([&] { other.restore(sampler.state()); }).find("the saved history"),
            std::string::npos);
}

TEST(ScheduleSamplers, DrawInProportionAndWeighBack) {
  LossSecondMomentSampler sampler(4, 1, 0.1);
  sampler.update(std::vector<std::int64_t>{0, 1, 2, 3}, std::vector<double>{1, 2, 3, 4});
  const std::int64_t n = 20000;
  const DrawnSteps drawn = sampler.sample(n, {.seed = 3, .stream = RandomStream::timestep});
  std::vector<double> share(4);
  double weighed = 0;
  const auto steps = drawn.step.to_vector<std::int64_t>();
  const auto weights = drawn.weight.to_vector<float>();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    share[static_cast<std::size_t>(steps[i])] += 1.0 / static_cast<double>(n);
    weighed += static_cast<double>(weights[i]) / static_cast<double>(n);
  }
  for (std::size_t t = 0; t < 4; ++t) {
    const double p = 0.9 * static_cast<double>(t + 1) / 10 + 0.025;
    EXPECT_NEAR(share[t], p, 5 * std::sqrt(p * (1 - p) / static_cast<double>(n)));
    EXPECT_NEAR(sampler.importance(std::vector<std::int64_t>{static_cast<std::int64_t>(t)})[0],
                1 / (4 * p), 1e-12);
  }
  EXPECT_NEAR(weighed, 1, 0.02);  // E[1 / (T p_t)] = 1: the loss stays unbiased
}

TEST(ScheduleSamplers, SamplesDoNotDependOnTheBatchSize) {
  const UniformSampler sampler(1000);
  const RandomKey key{.seed = 9, .sample = 40, .step = 2, .stream = RandomStream::timestep};
  const auto together = sampler.sample(3, key).step.to_vector<std::int64_t>();
  for (std::uint32_t i = 0; i < 3; ++i) {
    RandomKey own = key;
    own.sample += i;
    EXPECT_EQ(sampler.sample(1, own).step.to_vector<std::int64_t>()[0], together[i]);
  }
  for (const float w : sampler.sample(3, key).weight.to_vector<float>()) EXPECT_EQ(w, 1);
  RandomKey next = key;
  next.step = 3;
  EXPECT_NE(sampler.sample(3, next).step.to_vector<std::int64_t>(), together);
}

TEST(ScheduleSamplers, ByNameAndBadInput) {
  EXPECT_EQ(named_schedule_sampler("uniform", 3)->weights(), (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(named_schedule_sampler("loss-second-moment", 2)->weights(),
            (std::vector<double>{1, 1}));
  EXPECT_EQ(message_of([] { named_schedule_sampler("all", 3); }),
            "--schedule_sampler \"all\" is unknown: use uniform or loss-second-moment");
  EXPECT_NE(message_of([] { UniformSampler(0); }), "no error");
  EXPECT_NE(message_of([] { LossSecondMomentSampler(5, 0); }), "no error");
  LossSecondMomentSampler sampler(5);
  EXPECT_EQ(message_of([&] { sampler.importance(std::vector<std::int64_t>{5}); }),
            "step 5 is not in [0, 5)");
  EXPECT_EQ(
      message_of([&] { sampler.update(std::vector<std::int64_t>{5}, std::vector<double>{1}); }),
      "step 5 is not in [0, 5)");
  EXPECT_EQ(message_of([&] {
              sampler.update(std::vector<std::int64_t>{1, 2}, std::vector<double>{1});
            }),
            "2 steps, but 1 losses");
}

}  // namespace
}  // namespace tiller
