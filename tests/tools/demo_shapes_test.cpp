// The demo's parts: its drawings, its training, its guided sampling, its grid.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tools/demo_shapes/networks.h"
#include "tools/demo_shapes/poster.h"
#include "tools/demo_shapes/shapes.h"
#include "tools/demo_shapes/steer.h"
#include "tools/demo_shapes/train.h"

namespace tiller::demo {
namespace {

constexpr std::int64_t kPixels = kSide * kSide;

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum;
}

// Where picture [kSide,kSide,3] shows more than a grey background, as 0 and 1: the shape without its
// colour.
std::vector<double> mask(const float* picture) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < kPixels; ++i) {
    const auto [low, high] = std::minmax({picture[3 * i], picture[3 * i + 1], picture[3 * i + 2]});
    out.push_back(high - low > 0.3f ? 1 : 0);
  }
  return out;
}

// The mean mask, and the mean colour of the masked pixels, of every n-th picture from `first`.
struct Look {
  std::vector<double> mask = std::vector<double>(kPixels);
  std::vector<double> colour = std::vector<double>(3);
};
Look mean_look(const Tensor& x, std::int64_t first, std::int64_t n) {
  Look look;
  double pictures = 0, masked = 0;
  for (std::int64_t i = first; i < x.dim(0); i += n, ++pictures) {
    const float* picture = x.data<float>() + i * kPixels * 3;
    const std::vector<double> shape = mask(picture);
    for (std::size_t p = 0; p < shape.size(); ++p) {
      look.mask[p] += shape[p];
      masked += shape[p];
      for (std::size_t c = 0; c < 3; ++c) look.colour[c] += shape[p] * picture[3 * p + c];
    }
  }
  for (double& v : look.mask) v /= pictures;
  for (double& v : look.colour) v /= masked;
  return look;
}

TEST(DemoShapes, TheSamePictureInAnyBatch) {
  const Shapes all = draw_shapes(5, 0, 24), late = draw_shapes(5, 10, 14);
  EXPECT_EQ(all.x.slice(10, 24).to_vector<float>(), late.x.to_vector<float>());
  EXPECT_EQ(all.labels.slice(10, 24).to_vector<std::int64_t>(),
            late.labels.to_vector<std::int64_t>());
  EXPECT_NE(all.x.to_vector<float>(), draw_shapes(6, 0, 24).x.to_vector<float>());
  std::set<std::vector<float>> different;
  for (std::int64_t i = 0; i < 24; ++i) different.insert(all.x.slice(i, i + 1).to_vector<float>());
  EXPECT_EQ(different.size(), 24u);
  for (const float v : all.x.to_vector<float>()) ASSERT_LE(std::abs(v), 1.f);
}

// Two halves of one class look alike; two classes differ in shape and in colour, whatever the
// jitter.
TEST(DemoShapes, ClassesDifferInShapeAndInColour) {
  const Shapes shapes = draw_shapes(1, 0, 80 * kClasses);
  std::vector<Look> even, odd;
  for (std::int64_t label = 0; label < kClasses; ++label) {
    even.push_back(mean_look(shapes.x, label, 2 * kClasses));
    odd.push_back(mean_look(shapes.x, label + kClasses, 2 * kClasses));
    EXPECT_EQ(shapes.labels.data<std::int64_t>()[label], label);
  }
  for (std::size_t a = 0; a < kClasses; ++a)
    for (std::size_t b = 0; b < kClasses; ++b) {
      if (a == b) {
        EXPECT_LT(distance(even[a].mask, odd[a].mask), 9) << kClassNames[a];
        EXPECT_LT(distance(even[a].colour, odd[a].colour), 0.1) << kClassNames[a];
      } else {
        EXPECT_GT(distance(even[a].mask, odd[b].mask), 12) << kClassNames[a] << kClassNames[b];
        EXPECT_GT(distance(even[a].colour, odd[b].colour), 0.7) << kClassNames[a] << kClassNames[b];
      }
    }
}

TrainingOptions brief(std::vector<double>& losses) {
  TrainingOptions options;
  options.steps = 14;
  options.batch = 6;
  options.seed = 3;
  options.lr = 3e-3;
  options.warmup = 2;
  options.on_step = [&losses](const TrainingStep& step) { losses.push_back(step.loss); };
  return options;
}

double mean(const std::vector<double>& v, std::size_t begin, std::size_t end) {
  return std::accumulate(v.begin() + static_cast<std::ptrdiff_t>(begin),
                         v.begin() + static_cast<std::ptrdiff_t>(end), 0.0) /
         static_cast<double>(end - begin);
}

TEST(DemoTraining, AFewStepsLowerTheLossOfTheUNet) {
  const UNet unet(unet_config(), *create_parameters(1));
  std::vector<double> losses;
  const TrainingStep end = train(unet, GaussianDiffusion(process()), brief(losses));
  EXPECT_EQ(end.step, 14);
  ASSERT_EQ(losses.size(), 14u);
  double squares = 0;  // a network that starts with a zeroed last layer predicts grey pictures
  const std::vector<float> first = draw_shapes(3, 0, 6).x.to_vector<float>();
  for (const float v : first) squares += static_cast<double>(v) * v;
  EXPECT_NEAR(losses[0], squares / static_cast<double>(first.size()), 1e-5);
  EXPECT_LT(mean(losses, 10, 14), 0.7 * losses[0]);
}

TEST(DemoTraining, AFewStepsLowerTheLossOfTheClassifier) {
  const Classifier classifier(classifier_config(), *create_parameters(1));
  std::vector<double> losses;
  TrainingOptions options = brief(losses);
  options.steps = 24;
  train(classifier, GaussianDiffusion(process()), options);
  EXPECT_NEAR(mean(losses, 0, 2), std::log(kClasses), 0.6);
  EXPECT_LT(mean(losses, 18, 24), 0.85 * mean(losses, 0, 4));
}

// What stays in the network is the average of the weights: after one step 1/11 of the start and
// 10/11 of what the step made of it, or less where ema_rate says so.
TEST(DemoTraining, LeavesTheAverageInTheNetwork) {
  const auto weights = [](double ema_rate) {
    const Classifier classifier(classifier_config(), *create_parameters(1));
    std::vector<double> losses;
    TrainingOptions options = brief(losses);
    options.ema_rate = ema_rate;
    options.steps = 1;
    train(classifier, GaussianDiffusion(process()), options);
    return classifier.parameters().all().back().value.to_vector<float>();
  };
  const std::vector<float> eleventh = weights(1.0 / 11), last = weights(0),
                           average = weights(0.995);
  const Classifier untrained(classifier_config(), *create_parameters(1));
  const std::vector<float> first = untrained.parameters().all().back().value.to_vector<float>();
  EXPECT_EQ(eleventh, average);  // a young average has a rate of its own
  EXPECT_NE(first, last);
  for (std::size_t i = 0; i < first.size(); ++i)
    ASSERT_NEAR(average[i], (first[i] + 10 * last[i]) / 11, 1e-6) << i;
}

TEST(DemoTraining, StopsWhenTheTimeIsUpOrTheCallerThrows) {
  const UNet unet(unet_config(), *create_parameters(1));
  std::vector<double> losses;
  TrainingOptions options = brief(losses);
  options.max_seconds = 1e-9;
  EXPECT_EQ(train(unet, GaussianDiffusion(process()), options).step, 1);
  options.on_step = [](const TrainingStep&) { fail(ErrorKind::interrupted, "enough"); };
  EXPECT_THROW(train(unet, GaussianDiffusion(process()), options), Error);
}

// Networks with random weights: steering changes what they draw, and nothing else does.
class DemoSteering : public ::testing::Test {
 protected:
  static Tensor labels(std::int64_t n, std::int64_t label) {
    return Tensor::from(std::vector<std::int64_t>(static_cast<std::size_t>(n), label), {n});
  }
  Tensor draw(double scale, const Tensor& y, std::uint64_t seed = 4) const {
    return steer(unet_, classifier_, diffusion_, scale, y, seed);
  }
  static double difference(const Tensor& a, const Tensor& b) {
    const std::vector<float> u = a.to_vector<float>(), v = b.to_vector<float>();
    double largest = 0;
    for (std::size_t i = 0; i < v.size(); ++i)
      largest = std::max<double>(largest, std::abs(u[i] - v[i]));
    return largest;
  }
  std::unique_ptr<ParameterSource> source_ = randomize_parameters(1);
  UNet unet_{unet_config(), *source_};
  Classifier classifier_{classifier_config(), *source_};
  GaussianDiffusion diffusion_{process("3")};
};

TEST_F(DemoSteering, OnlyAScaleAboveZeroLooksAtLabels) {
  EXPECT_EQ(difference(draw(0, labels(2, 0)), draw(0, labels(2, 1))), 0);
  EXPECT_GT(difference(draw(50, labels(2, 0)), draw(50, labels(2, 1))), 1e-3);
  EXPECT_GT(difference(draw(0, labels(2, 0)), draw(0, labels(2, 0), 5)), 0.1);
}

TEST_F(DemoSteering, ThePictureDoesNotDependOnTheBatch) {
  const Tensor many = draw(50, labels(50, 2)), few = draw(50, labels(2, 2));
  EXPECT_LT(difference(many.slice(0, 2), few), 1e-4);
  EXPECT_GT(difference(many.slice(0, 2), many.slice(48, 50)), 0.1);  // of the second batch
}

TEST_F(DemoSteering, AccuracyCountsTheLargestLogit) {
  const Shapes shapes = draw_shapes(2, 0, 50);
  const NoGrad no_recording;
  const Var logits = classifier_(shapes.x, Tensor::zeros({50}));
  const std::vector<float> values = logits.value().to_vector<float>();
  std::vector<std::int64_t> seen, other;
  for (std::int64_t i = 0; i < 50; ++i) {
    const auto row = values.begin() + i * kClasses;
    seen.push_back(std::max_element(row, row + kClasses) - row);
    other.push_back((seen.back() + 1) % kClasses);
  }
  EXPECT_EQ(accuracy(classifier_, shapes.x, Tensor::from(seen, {50})), 1);
  EXPECT_EQ(accuracy(classifier_, shapes.x, Tensor::from(other, {50})), 0);
  std::copy_n(other.begin(), 10, seen.begin());
  EXPECT_EQ(accuracy(classifier_, shapes.x, Tensor::from(seen, {50})), 0.8);
}

// Every picture stands in the grid, enlarged, in the row of its class and the column of its scale.
TEST(DemoPoster, HasAPlaceForEveryPicture) {
  constexpr std::int64_t kEach = 2;
  std::vector<PosterColumn> columns;
  for (std::int64_t c = 0; c < 2; ++c) {  // red says the class, green the place, blue the scale
    std::vector<float> values;
    for (std::int64_t i = 0; i < kClasses * kEach; ++i)
      for (std::int64_t p = 0; p < kPixels; ++p)
        for (const std::int64_t v : {10 * (i / kEach), 50 + 10 * (i % kEach), 100 + c})
          values.push_back(static_cast<float>(static_cast<double>(v) + 0.5) / 127.5f - 1);
    columns.push_back(
        {static_cast<double>(c), Tensor::from(values, {kClasses * kEach, kSide, kSide, 3}), 0.5});
  }
  const Tensor poster = draw_poster(columns);
  std::map<std::array<int, 3>, std::vector<std::int64_t>> places;
  const auto* p = poster.data<std::uint8_t>();
  for (std::int64_t i = 0; i < poster.dim(0) * poster.dim(1); ++i)
    places[{p[3 * i], p[3 * i + 1], p[3 * i + 2]}].push_back(i);
  std::int64_t row = -1;
  for (int label = 0; label < kClasses; ++label) {
    std::int64_t left = -1;
    for (int c = 0; c < 2; ++c)
      for (int i = 0; i < kEach; ++i) {
        const auto& place = places[{10 * label, 50 + 10 * i, 100 + c}];
        ASSERT_EQ(place.size(), static_cast<std::size_t>(9 * kPixels));
        EXPECT_GT(place.front() % poster.dim(1), left);
        left = place.front() % poster.dim(1);
      }
    const std::int64_t top = places[{10 * label, 50, 100}].front() / poster.dim(1);
    EXPECT_GT(top, row);
    row = top;
  }
}

}  // namespace
}  // namespace tiller::demo
